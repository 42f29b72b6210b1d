"""A real training is killed at random moments, also while it writes, and ends in the same state bit for bit."""

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from regan.artifacts.model import weights_hash
from regan.gan.log import read_log
from regan.training.checkpoint import CHECKPOINTS, newest_step
from tests.verbs.tiny_training import TINY, process, wait_until

# Adaptive augmentation that is stronger with nearly each second step, so that both of its figures count.
PRESET = TINY | {
    "batch_size": 16,
    "kimg": 0.2,
    "log_kimg": 0.03,
    "ada_interval": 2,
    "ada_target": -0.5,
    "ada_kimg": 0.4,
}
NUM_STEPS = 13
SYNC_SECONDS = 0.1
PARTIAL = f"{CHECKPOINTS}/.part-file"
OTHER_MOMENTS = ("snapshots/.kimg*/weights.safetensors", "log.jsonl", "snapshots/kimg*", f"{CHECKPOINTS}/step-*")


@dataclass
class Training:
    """One training, started again and again."""

    images: Path
    folder: Path
    preset: dict
    compiled: bool

    def process(self):
        """It writes a checkpoint at every step, and keeps its work folder."""
        return process(
            "train_gan",
            self.images,
            self.folder / "run",
            messages=self.folder / "messages",
            tiny=self.preset,
            compiled=self.compiled,
            sync_seconds=SYNC_SECONDS,
            preset="tiny",
            augment="ada",
            checkpoint_minutes=1e-9,
            checkpoint_uri=str(self.folder / "work"),
        )

    @property
    def work(self) -> Path:
        """Its work folder, or one that is not there yet."""
        return next((self.folder / "work" / "all").glob("*"), self.folder / "none")

    @property
    def steps(self) -> int:
        """Steps that the newest checkpoint has."""
        return newest_step(self.work / CHECKPOINTS)

    def finish(self) -> None:
        with self.process() as started:
            assert started.wait(1200) == 0, (self.folder / "messages").read_text()[-3000:]

    def kill(self, moment: str, chance: random.Random) -> None:
        """Kill it after a step more than it has, when such a file is written next, or a random time later."""
        before, messages = self.steps, self.folder / "messages"
        with self.process() as started:
            wait_until(lambda: self.steps > before, started, messages)
            last = newest(self.work, moment)
            wait_until(lambda: newest(self.work, moment) > last, started, messages, 0.002)
            if moment != PARTIAL:
                time.sleep(chance.choice([0, chance.uniform(0, 0.5)]))
            started.send_signal(signal.SIGKILL)
            assert started.wait(60) == -signal.SIGKILL
        assert not (self.folder / "run").exists()
        if moment == PARTIAL:
            assert (self.work / PARTIAL).is_file(), "the checkpoint was not being written"

    def state(self) -> dict[str, np.ndarray]:
        """Every tensor of the last checkpoint, and the number of its step, on which all that is drawn depends."""
        path = max((self.work / CHECKPOINTS).glob("step-*"), key=lambda path: int(path.name.split("-")[1]))
        return {**load_file(path), "step": np.int64(self.steps)}

    def outputs(self) -> tuple[dict[str, str], list[float]]:
        """Hashes of the snapshots, and the lines of the log: the means of one are of the steps since the last start."""
        run = self.folder / "run"
        hashes = {path.name: weights_hash(path) for path in sorted((run / "snapshots").iterdir())}
        return hashes, [line["kimg"] for line in read_log(run)]


def newest(work: Path, pattern: str) -> int:
    """When the newest such file was written; 0 where there is none, or one vanished while it was looked at."""
    try:
        return max((path.stat().st_mtime_ns for path in work.glob(pattern)), default=0)
    except FileNotFoundError:
        return 0


@pytest.fixture
def trainings(labelled_set, tmp_path, monkeypatch):
    """Function that makes a training which is left alone and one to be killed."""
    images = labelled_set(0, b=7, m=5)
    # Compiled functions are kept between the processes, and compiled with less effort.
    cache = f"--tf_xla_persistent_cache_directory={tmp_path / 'xla'} --tf_xla_persistent_cache_device_types=CPU"
    monkeypatch.setenv("TF_XLA_FLAGS", cache)
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    (tmp_path / "xla").mkdir()

    def make(*, compiled: bool, **changes) -> tuple[Training, Training]:
        made = []
        for name in ("whole", "killed"):
            (tmp_path / name).mkdir()
            made.append(Training(images, tmp_path / name, PRESET | changes, compiled))
        return made[0], made[1]

    return make


@pytest.fixture
def chance(record_property) -> random.Random:
    """Random numbers of a seed that the report of the tests tells; `PYTEST_SEED` gives another one."""
    seed = os.environ.get("PYTEST_SEED", "regan")
    record_property("seed", seed)
    print(f"PYTEST_SEED={seed}")
    return random.Random(seed)


def require_same(killed: Training, whole: Training) -> None:
    ours, theirs = killed.state(), whole.state()
    sections = {name.partition(":")[0] for name in theirs}
    assert sections == {
        *("generator", "discriminator", "average", "style_mean", "path_mean", "step"),
        *("generator_moment", "discriminator_moment", "generator_updates", "discriminator_updates"),
        *("augmentation_strength", "augmentation_signs"),
    }
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if ours[name].tobytes() != theirs[name].tobytes()] == []
    assert theirs["augmentation_strength"] > 0
    assert theirs["path_mean"] > 0
    assert killed.outputs() == whole.outputs()


@pytest.mark.pipeline
@pytest.mark.timeout(1200)
def test_killed_three_times_once_while_a_checkpoint_is_written_a_run_ends_in_the_same_state(trainings, chance):
    whole, killed = trainings(compiled=False)
    whole.finish()
    assert whole.steps == NUM_STEPS
    for moment in chance.sample([PARTIAL, "log.jsonl", f"{CHECKPOINTS}/step-*"], 3):
        killed.kill(moment, chance)
    assert 3 <= killed.steps < NUM_STEPS
    killed.finish()
    require_same(killed, whole)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_ten_times_a_compiled_run_ends_in_the_same_state(trainings, chance):
    whole, killed = trainings(compiled=True, kimg=2.4)
    whole.finish()
    for moment in chance.sample([PARTIAL, *OTHER_MOMENTS] * 2, 10):
        killed.kill(moment, chance)
    assert 10 <= killed.steps < 150
    killed.finish()
    require_same(killed, whole)
