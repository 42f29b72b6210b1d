import os
import signal

import numpy as np
import pytest

from regan.data.checkpoint import CHECKPOINTS, save_checkpoint
from regan.data.work import StateFiles, TrainingStoppedError, noting_sigterm, require_minutes, working

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
        assert place.folder == tmp_path / "mounted" / "b"
        checkpoint(place.folder)
    assert len(list((tmp_path / "mounted" / "b" / CHECKPOINTS).iterdir())) == 1


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
