import os
import re
import signal

import numpy as np
import pytest

from regan.runs.error_table import CAUSES
from regan.training.checkpoint import CHECKPOINTS, save_checkpoint
from regan.training.workspace import (
    StateFiles,
    TrainingStoppedError,
    noting_sigterm,
    place_of,
    require_minutes,
    working,
)

FILES = StateFiles()


def work(output, uri="", configuration="a", label=""):
    return working(output, uri, files=FILES, configuration=configuration, label=label)


def checkpoint(folder, step=1, configuration="a"):
    save_checkpoint(folder / CHECKPOINTS, configuration=configuration, step=step, seconds=1.0, state={"w": np.zeros(2)})


def test_the_folder_lies_beside_the_output_and_goes_when_all_is_done(tmp_path):
    with work(tmp_path / "run") as place:
        assert place.folder == tmp_path / "run.checkpoint"
        checkpoint(place.folder)
        for call in (place.keep, place.check, place.settle):
            call()
    assert list(tmp_path.iterdir()) == []


def test_a_local_address_is_worked_in_and_kept(tmp_path):
    with work(tmp_path / "run", str(tmp_path / "mounted"), label="b") as place:
        assert place.folder == tmp_path / "mounted" / "b" / "a"
        checkpoint(place.folder)
    assert len(list((tmp_path / "mounted" / "b" / "a" / CHECKPOINTS).iterdir())) == 1


@pytest.mark.parametrize("label", ["", "b"])
def test_trainings_share_an_address_and_none_meets_the_state_of_another(tmp_path, label):
    uri, seen = str(tmp_path / "mounted"), set()
    for configuration in ("a", "other", "a"):
        with work(tmp_path / "run", uri, configuration, label) as place:
            assert str(place.folder) == place_of(uri, label, configuration)
            assert any(place.folder.glob(f"{CHECKPOINTS}/step-*")) == (place.folder in seen)
            seen.add(place.folder)
            checkpoint(place.folder, configuration=configuration)


def test_a_place_that_was_renamed_is_refused(tmp_path):
    uri = str(tmp_path / "mounted")
    with work(tmp_path / "run", uri) as place:
        checkpoint(place.folder)
    place.folder.rename(place_of(uri, "", "b"))
    refused_as_another(work(tmp_path / "run", uri, "b"), "only with the configuration and the images it began with")
    assert any(tmp_path.glob(f"mounted/b/{CHECKPOINTS}/step-*"))


@pytest.mark.parametrize("given", ["", "/b", "/b/a", "/b/a/"])
def test_an_address_that_is_itself_the_place_of_a_state_is_refused(tmp_path, given):
    """Whether the label is named with the address, or again by itself."""
    uri = str(tmp_path / "mounted")
    checkpoint_at = tmp_path / "mounted" / "b" / ("" if given in ("", "/b") else "a")
    (checkpoint_at / CHECKPOINTS).mkdir(parents=True)
    checkpoint(checkpoint_at)
    label = "b" if given == "" else "c"
    refused_as_another(work(tmp_path / "run", uri + given, label=label), "itself holds a checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["mounted"]


def refused_as_another(begun, told):
    with pytest.raises(ValueError, match=told) as refused, begun:
        pytest.fail("the work began")
    (cause,) = [cause for cause in CAUSES if cause.name == "a checkpoint of something else"]
    assert re.search(cause.pattern, str(refused.value))


def test_after_an_error_the_folder_stays_if_it_holds_a_state(tmp_path):
    with pytest.raises(TrainingStoppedError), work(tmp_path / "run"):
        raise TrainingStoppedError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrainingStoppedError), work(tmp_path / "run") as place:
        checkpoint(place.folder)
        raise TrainingStoppedError
    assert (tmp_path / "run.checkpoint" / CHECKPOINTS).is_dir()


def test_one_process_holds_the_folder_and_another_leaves_it_alone(tmp_path):
    with work(tmp_path / "run") as place:
        with pytest.raises(RuntimeError, match="Only one process may train in"), work(tmp_path / "run"):
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
    with pytest.raises(ValueError, match="only with the configuration"), work(tmp_path / "run", configuration="b"):
        pytest.fail("the work began")
    with work(tmp_path / "run"):
        pass


def test_an_address_of_an_unknown_kind_is_refused_and_nothing_is_made(tmp_path):
    with pytest.raises(ValueError, match="An address must be"), work(tmp_path / "run", "ftp://host/x"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_a_time_between_checkpoints_must_be_one(minutes):
    require_minutes(0.1)
    with pytest.raises(ValueError, match="`checkpoint_minutes` must be more than 0"):
        require_minutes(minutes)


def test_sigterm_is_noted_and_then_answered_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with noting_sigterm() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    assert signal.getsignal(signal.SIGTERM) == before
