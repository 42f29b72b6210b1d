"""Both trainers against servers of object storage: killed at random moments, they go on with an empty disk."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import regan
from regan.storage import fetch, fetch_latest, latest, list_files
from regan.training import workspace
from regan.training.checkpoint import newest_step
from tests.servers.generations import Generations
from tests.servers.proxy import Proxy
from tests.servers.start import gs_server, s3_server, use_gs, use_s3
from tests.verbs.tiny_training import process, tiny_preset, wait_until

# Long enough that a quick machine is not done with it before two signals have come.
GAN = {"preset": "tiny", "label": "all", "kimg": 0.8}
CLASSIFIER = {"backbone": "small", "weights": "none", "epochs": 8, "batch_size": 4}
OFTEN = {"train_gan": 1e-9, "train_classifier": 0.2 / 60}  # minutes between checkpoints: each step, each 0.2 s
POLL_SECONDS = 0.02  # between questions to a server


@pytest.fixture(scope="module", autouse=True)
def uncompiled() -> Iterator[None]:
    with tiny_preset():
        yield


@pytest.fixture(scope="module")
def bucket(request) -> Iterator[str]:
    """A bucket: s3:// on moto's server, gs:// on the emulator behind the proxy that enforces preconditions."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "s3":
            with s3_server() as url:
                yield use_s3(url, patch.setenv)
        else:
            with gs_server() as url:
                proxy = Proxy(url, Generations())
                yield use_gs(proxy.url, patch.setenv)
                proxy.close()


@dataclass
class Training:
    """One of the two verbs on fixed inputs, and an undisturbed run of it whose state lies at `address`."""

    verb: str
    inputs: list[str]
    settings: dict[str, object]
    uri: str
    address: str
    folder: Path

    def run(self, output: Path, uri: str, **changes: object) -> object:
        return getattr(regan, self.verb)(*self.inputs, output, checkpoint_uri=uri, **self.settings | changes)

    def address_of(self, uri: str) -> str:
        return self.address.replace(self.uri, uri)

    def process(self, output: Path, uri: str, **changes: object) -> AbstractContextManager[subprocess.Popen]:
        """The verb in a process of its own; its messages go to `<output>.log`."""
        settings = self.settings | {"checkpoint_uri": uri, "checkpoint_minutes": OFTEN[self.verb]} | changes
        return process(self.verb, *self.inputs, output, messages=log_of(output), **settings)


def trained(verb: str, inputs: list[str], settings: dict[str, object], uri: str, folder: Path) -> Training:
    """A training whose one state lies below `uri`."""
    training = Training(verb, inputs, settings, uri, "", folder)
    training.run(folder / "run", uri)
    (pointer,) = [file.name for file in list_files(uri) if file.name.endswith("latest.json")]
    return replace(training, address=f"{uri}/{pointer.removesuffix('/latest.json')}")


@pytest.fixture(scope="module")
def gan(labelled_set, bucket, tmp_path_factory) -> Training:
    folder = tmp_path_factory.mktemp("gan")
    return trained("train_gan", [str(labelled_set(0, b=7, m=5))], GAN, f"{bucket}/whole", folder)


@pytest.fixture(scope="module")
def classifier(labelled_set, bucket, tmp_path_factory) -> Training:
    folder = tmp_path_factory.mktemp("classifier")
    inputs = [str(labelled_set(2, b=80, m=80)), str(labelled_set(3))]
    return trained("train_classifier", inputs, CLASSIFIER, f"{bucket}/whole", folder)


@pytest.fixture
def training(request) -> Training:
    return request.getfixturevalue(request.param)


on_both_servers = pytest.mark.parametrize(
    ("training", "bucket"), [("gan", "s3"), ("classifier", "gs")], indirect=True, scope="module"
)


def log_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.log")


def step_at(address: str) -> int:
    """Steps of the newest state at an address; -1 where there is none."""
    version = latest(address)
    names = version.files if version else ()
    return max((int(name.split("-")[1]) for name in names if name.startswith("checkpoints/")), default=-1)


def state_at(address: str, folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of the newest checkpoint: weights, averages, what the optimiser keeps."""
    fetch_latest(address, folder)
    return load_file(next((folder / "checkpoints").glob("step-*")))


def assert_same_state(one: str, other: str, folder: Path) -> None:
    ours, theirs = state_at(one, folder / "one"), state_at(other, folder / "other")
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []


def weights_of(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("weights.safetensors")}


def interrupted(training: Training, number: int, uri: str, output: Path, chance: random.Random) -> int:
    """Train on an empty disk until a newer state has arrived and a random time more has passed; then send a signal."""
    address = training.address_of(uri)
    before = step_at(address)
    with training.process(output, uri) as started:
        wait_until(lambda: step_at(address) > before, started, log_of(output), POLL_SECONDS)
        time.sleep(chance.uniform(0, 0.5))
        started.send_signal(number)
        told = time.monotonic()
        code = started.wait(60)
        assert time.monotonic() - told < 25
    assert not output.exists()
    folder = output.with_name(f"{output.name}.checkpoint")
    if number == signal.SIGTERM:  # the step in hand is finished, kept and pushed
        assert newest_step(folder / "checkpoints") == step_at(address)
    shutil.rmtree(folder)
    return code


@on_both_servers
def test_told_to_stop_and_killed_a_training_goes_on_with_an_empty_disk_to_the_same_bits(training, bucket, tmp_path):
    uri, chance = f"{bucket}/killed", random.Random(os.environ.get("PYTEST_SEED", "regan"))
    address = training.address_of(uri)
    assert interrupted(training, signal.SIGTERM, uri, tmp_path / "a", chance) == 1
    assert "TrainingStoppedError: Training stopped by SIGTERM" in log_of(tmp_path / "a").read_text()
    stopped_at = step_at(address)
    assert stopped_at > 0

    assert interrupted(training, signal.SIGKILL, uri, tmp_path / "b", chance) == -signal.SIGKILL
    assert f"Checkpoint after {stopped_at} steps was fetched from" in log_of(tmp_path / "b").read_text()
    assert step_at(address) > stopped_at

    training.run(tmp_path / "c", uri)
    assert weights_of(tmp_path / "c") == weights_of(training.folder / "run")
    assert_same_state(address, training.address, tmp_path)
    assert not (tmp_path / "c.checkpoint").exists()


@on_both_servers
def test_a_complete_state_stays_at_the_address_and_a_retry_trains_no_step(training, tmp_path, monkeypatch, bucket):
    import keras

    from regan.gan.trainer import Trainer

    def refuse(*arguments, **more):
        raise AssertionError("a step was trained")

    monkeypatch.setattr(Trainer, "_train_step", refuse)
    monkeypatch.setattr(keras.Model, "train_on_batch", refuse)
    before = latest(training.address)
    training.run(tmp_path / "again", training.uri)
    assert weights_of(tmp_path / "again") == weights_of(training.folder / "run")
    after = latest(training.address)
    assert (after.number, after.files) == (before.number, before.files)


@on_both_servers
def test_the_state_of_another_configuration_or_of_other_images_is_refused_and_left_alone(
    training, labelled_set, tmp_path, bucket, monkeypatch
):
    before = latest(training.address)
    # Every training looks at the address where this one is at home, as if it had been renamed each time.
    checkpoint_location, name = workspace.checkpoint_location, training.address.rpartition("/")[2]
    monkeypatch.setattr(
        workspace,
        "checkpoint_location",
        lambda uri, label, identity: checkpoint_location(uri, label, identity and name),
    )
    with pytest.raises(ValueError, match="belongs to another configuration or other images"):
        training.run(tmp_path / "out", training.uri, seed=1)
    others = [str(labelled_set(9)), *training.inputs[1:]]
    with pytest.raises(ValueError, match="belongs to another configuration or other images"):
        getattr(regan, training.verb)(*others, tmp_path / "out", checkpoint_uri=training.uri, **training.settings)
    assert latest(training.address) == before  # not even claimed: the right training goes on undisturbed
    assert list(tmp_path.iterdir()) == []


@on_both_servers
def test_an_address_that_is_itself_the_place_of_a_state_is_refused(training, tmp_path, bucket):
    before = latest(training.address)
    with pytest.raises(ValueError, match=r"itself contains a checkpoint.*folder of its own"):
        training.run(tmp_path / "out", training.address)
    assert latest(training.address) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("training", "bucket"),
    [pytest.param("gan", "s3", marks=pytest.mark.slow), ("classifier", "gs")],
    indirect=True,
    scope="module",
)
def test_of_two_writers_the_older_one_loses_and_says_why(training, bucket, tmp_path):
    uri = f"{bucket}/two"
    address = training.address_of(uri)
    # So much longer that it cannot end before the younger one takes over.
    longer = {"kimg": 5.0} if training.verb == "train_gan" else {"epochs": 500}
    with training.process(tmp_path / "older", uri, **longer) as older:
        wait_until(lambda: step_at(address) > 0, older, log_of(tmp_path / "older"), POLL_SECONDS)
        training.run(tmp_path / "younger", uri)
        assert older.wait(60) == 1
    told = log_of(tmp_path / "older").read_text()
    assert "TakenOverError: Another process is now training with checkpoint" in told
    assert not (tmp_path / "older").exists()
    assert weights_of(tmp_path / "younger") == weights_of(training.folder / "run")
    assert_same_state(address, training.address, tmp_path)


@pytest.mark.parametrize(("training", "bucket"), [("gan", "s3")], indirect=True, scope="module")
def test_tensorboard_can_read_the_bucket(training, bucket, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fetch(f"{training.address}/tensorboard", tmp_path / "board")
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [event.step for event in events.Scalars("generator_loss")] == [104 * line for line in range(1, 9)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@on_both_servers
def test_ten_signals_at_random_moments_change_no_bit(training, bucket, tmp_path):
    longer = {"kimg": 2.4} if training.verb == "train_gan" else {"epochs": 16}
    training = Training(**vars(training) | {"settings": training.settings | longer, "folder": tmp_path})
    training.run(tmp_path / "run", f"{bucket}/long")
    uri, chance = f"{bucket}/often", random.Random(os.environ.get("PYTEST_SEED", "regan"))
    signals = [signal.SIGTERM, signal.SIGKILL] * 5
    chance.shuffle(signals)
    for number in signals:
        code = interrupted(training, number, uri, tmp_path / "killed", chance)
        assert code == (1 if number == signal.SIGTERM else -signal.SIGKILL)
    training.run(tmp_path / "last", uri)
    assert weights_of(tmp_path / "last") == weights_of(tmp_path / "run")
    assert_same_state(training.address_of(uri), training.address_of(f"{bucket}/long"), tmp_path)
