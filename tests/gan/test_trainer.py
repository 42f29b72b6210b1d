import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regan.gan.log import read_log
from regan.gan.sampling import Generator, snapshots

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


def test_a_run_leaves_snapshots_and_a_log(uninterrupted):
    folder, _ = uninterrupted
    assert [path.name for path in snapshots(folder)] == ["kimg-000000.1", "kimg-000000.2"]
    assert [line["kimg"] for line in read_log(folder)] == pytest.approx([0.02 * n for n in range(1, 11)])
    assert any((folder / "tensorboard").iterdir())
    generator = Generator.load(snapshots(folder)[-1])
    assert (generator.kimg, generator.labels) == (0.2, ("benign", "malignant"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_random_moments_a_run_ends_in_the_same_state_bit_for_bit(train, uninterrupted, tmp_path):
    folder = tmp_path / "work"
    draw = random.Random(os.environ.get("PYTEST_SEED", "regan"))
    # A checkpoint at every step, so that the kills also fall into the writing of one.
    for _ in range(3):
        killed(train(folder, KIMG, 0.0), signal.SIGKILL, after_steps=draw.randrange(1, 12))
    assert finished(train(folder, KIMG, 0.0)) == uninterrupted[1]
    assert [line["kimg"] for line in read_log(folder)] == [line["kimg"] for line in read_log(uninterrupted[0])]
    for ours, whole in zip(snapshots(folder), snapshots(uninterrupted[0]), strict=True):
        assert (ours / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_ten_times_a_run_ends_in_the_same_state_bit_for_bit(train, uninterrupted, tmp_path):
    folder = tmp_path / "work"
    for _ in range(10):
        killed(train(folder, KIMG, 0.0), signal.SIGKILL, after_steps=random.randrange(1, 5))
    assert finished(train(folder, KIMG, 0.0)) == uninterrupted[1]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sigterm_is_answered_with_a_checkpoint_and_a_failure(train, uninterrupted, tmp_path):
    folder = tmp_path / "work"
    process = train(folder, KIMG, 1e9)
    killed(process, signal.SIGTERM, after_steps=7)
    assert len(list((folder / "checkpoints").glob("*.safetensors"))) == 1
    assert finished(train(folder, KIMG, 1e9)) == uninterrupted[1]
