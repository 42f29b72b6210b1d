import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from regan import backend
from regan.gan.inputs import TrainingImages
from regan.gan.log import read_log
from regan.gan.sampling import Generator, snapshots
from regan.gan.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
KIMG = 0.2  # fifty steps of four images


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Compiled functions are kept between the processes of these tests, and compiled with less effort."""
    cache = tmp_path_factory.mktemp("xla")
    return os.environ | {
        "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={cache} --tf_xla_persistent_cache_device_types=CPU",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }


@pytest.fixture(scope="session")
def train(environment):
    def start(folder: Path, *settings: object) -> subprocess.Popen:
        command = [sys.executable, Path(__file__).with_name("train_tiny.py"), folder, *map(str, settings)]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )

    return start


@pytest.fixture(scope="session")
def uninterrupted(train, tmp_path_factory):
    """Folder and state of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "work"
    return folder, finished(train(folder, KIMG))


def finished(process: subprocess.Popen) -> str:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    return re.search(r"state (\w+)", output)[1]


def killed(process: subprocess.Popen, number: int, after_steps: int) -> list[str]:
    """The lines of a process that gets a signal after so many steps."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if sum(seen.startswith("step") for seen in lines) > after_steps:
            process.send_signal(number)
            break
    process.communicate(timeout=300)
    assert process.returncode != 0
    return lines


@dataclass
class SlowArray:
    """Images that a disk takes a while to give."""

    pixels: np.ndarray
    seconds: float

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, chosen):
        time.sleep(self.seconds)
        return self.pixels[chosen]


@pytest.mark.parametrize(("seconds", "least", "most"), [(0.0, 0.0, 0.15), (0.3, 0.55, 0.8)])
def test_the_log_tells_the_share_of_time_that_images_were_waited_for(
    seconds, least, most, config, tmp_path, monkeypatch
):
    # Each of five steps takes 0.1 s; while one runs the next images come. 0.3 s for those is (0.3 + 4 * 0.2) / 1.6.
    monkeypatch.setattr(backend, "jit", lambda function: function)
    images = TrainingImages(SlowArray(np.zeros((9, 32, 32, 1), np.uint8), seconds), np.arange(9) % 2)
    trainer = Trainer(
        replace(config, kimg=0.1, batch_size=20, log_kimg=0.1),
        images,
        tmp_path,
        classes=("benign", "malignant"),
        configuration="nine",
        training_index=set(),
    )
    figures = {"generator_loss": 1.0, "discriminator_loss": 1.0}
    monkeypatch.setattr(trainer, "_train_step", lambda batches: (time.sleep(0.1), figures)[1])
    trainer.run()
    (line,) = read_log(tmp_path)
    assert least <= line["waited_for_inputs"] <= most
    assert line["images_per_second"] == pytest.approx(20 * (1 - line["waited_for_inputs"]) / 0.1, rel=0.1)


def test_a_run_leaves_snapshots_and_a_log(uninterrupted):
    folder, _ = uninterrupted
    assert [path.name for path in snapshots(folder)] == ["kimg-000000.1", "kimg-000000.2"]
    assert [line["kimg"] for line in read_log(folder)] == pytest.approx([0.02 * n for n in range(1, 11)])
    assert any((folder / "tensorboard").iterdir())
    generator = Generator.load(snapshots(folder)[-1])
    assert (generator.kimg, generator.labels) == (0.2, ("benign", "malignant"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sigterm_is_answered_with_a_checkpoint_and_a_failure(train, uninterrupted, tmp_path):
    folder = tmp_path / "work"
    process = train(folder, KIMG, 1e9)
    killed(process, signal.SIGTERM, after_steps=7)
    assert len(list((folder / "checkpoints").glob("*.safetensors"))) == 1
    assert finished(train(folder, KIMG, 1e9)) == uninterrupted[1]
