import os
import signal

import numpy as np
import pytest

from regan.common.errors import CheckpointMismatchError, ConflictError, TrainingStoppedError, UnsupportedURIError
from regan.training.checkpoint import CHECKPOINTS, save_checkpoint
from regan.training.workspace import (
    StateFiles,
    catch_sigterm,
    checkpoint_location,
    open_workspace,
    require_checkpoint_minutes,
)

FILES = StateFiles()


def work(output, uri="", configuration="a", label=""):
    return open_workspace(output, uri, files=FILES, configuration=configuration, label=label)


def checkpoint(folder, step=1, configuration="a"):
    save_checkpoint(folder / CHECKPOINTS, configuration=configuration, step=step, seconds=1.0, state={"w": np.zeros(2)})


def test_the_folder_is_beside_the_output_and_is_removed_at_the_end(tmp_path):
    with work(tmp_path / "run") as place:
        assert place.folder == tmp_path / "run.checkpoint"
        checkpoint(place.folder)
        for call in (place.sync, place.check, place.finish):
            call()
    assert list(tmp_path.iterdir()) == []


def test_a_local_checkpoint_uri_is_the_work_folder_and_stays(tmp_path):
    with work(tmp_path / "run", str(tmp_path / "mounted"), label="b") as place:
        assert place.folder == tmp_path / "mounted" / "b" / "a"
        checkpoint(place.folder)
    assert len(list((tmp_path / "mounted" / "b" / "a" / CHECKPOINTS).iterdir())) == 1


@pytest.mark.parametrize("label", ["", "b"])
def test_trainings_share_a_checkpoint_uri_and_none_finds_the_state_of_another(tmp_path, label):
    uri, seen = str(tmp_path / "mounted"), set()
    for configuration in ("a", "other", "a"):
        with work(tmp_path / "run", uri, configuration, label) as place:
            assert str(place.folder) == checkpoint_location(uri, label, configuration)
            assert any(place.folder.glob(f"{CHECKPOINTS}/step-*")) == (place.folder in seen)
            seen.add(place.folder)
            checkpoint(place.folder, configuration=configuration)


def test_a_location_that_was_renamed_is_refused(tmp_path):
    uri = str(tmp_path / "mounted")
    with work(tmp_path / "run", uri) as place:
        checkpoint(place.folder)
    place.folder.rename(checkpoint_location(uri, "", "b"))
    refused_as_another(work(tmp_path / "run", uri, "b"), "belongs to another configuration or other images")
    assert any(tmp_path.glob(f"mounted/b/{CHECKPOINTS}/step-*"))


@pytest.mark.parametrize("given", ["", "/b", "/b/a", "/b/a/"])
def test_a_uri_that_itself_contains_a_checkpoint_is_refused(tmp_path, given):
    """Whether the label is part of the URI, or given again."""
    uri = str(tmp_path / "mounted")
    checkpoint_at = tmp_path / "mounted" / "b" / ("" if given in ("", "/b") else "a")
    (checkpoint_at / CHECKPOINTS).mkdir(parents=True)
    checkpoint(checkpoint_at)
    label = "b" if given == "" else "c"
    refused_as_another(work(tmp_path / "run", uri + given, label=label), "itself contains a checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["mounted"]


def refused_as_another(begun, message):
    with pytest.raises(CheckpointMismatchError, match=message), begun:
        pytest.fail("the training began")


def test_after_an_error_the_folder_stays_if_it_holds_a_state(tmp_path):
    with pytest.raises(TrainingStoppedError), work(tmp_path / "run"):
        raise TrainingStoppedError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrainingStoppedError), work(tmp_path / "run") as place:
        checkpoint(place.folder)
        raise TrainingStoppedError
    assert (tmp_path / "run.checkpoint" / CHECKPOINTS).is_dir()


def test_one_process_locks_the_folder_and_another_leaves_it_alone(tmp_path):
    with work(tmp_path / "run") as place:
        with pytest.raises(ConflictError, match="Another process is training in"), work(tmp_path / "run"):
            pass
        assert place.folder.is_dir()


@pytest.mark.parametrize("damage", [None, b"", b"\xff" * 40])
def test_another_configuration_is_refused_before_anything_is_done(tmp_path, damage):
    with pytest.raises(KeyError), work(tmp_path / "run") as place:
        checkpoint(place.folder)
        raise KeyError
    checkpoint(place.folder, step=2)
    if damage is not None:
        max((place.folder / CHECKPOINTS).iterdir()).write_bytes(damage)
    with (
        pytest.raises(CheckpointMismatchError, match="belongs to another configuration"),
        work(tmp_path / "run", configuration="b"),
    ):
        pytest.fail("the training began")
    with work(tmp_path / "run"):
        pass


def test_an_unsupported_uri_is_refused_and_nothing_is_made(tmp_path):
    with (
        pytest.raises(UnsupportedURIError, match=r"Unsupported URI ftp://host/x"),
        work(tmp_path / "run", "ftp://host/x"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_the_time_between_checkpoints_must_be_positive(minutes):
    require_checkpoint_minutes(0.1)
    with pytest.raises(ValueError, match="`checkpoint_minutes` must be more than 0"):
        require_checkpoint_minutes(minutes)


def test_sigterm_is_recorded_and_then_handled_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with catch_sigterm() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    assert signal.getsignal(signal.SIGTERM) == before
