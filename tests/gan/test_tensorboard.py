import numpy as np
import pytest

from regan.gan import tensorboard
from regan.gan.tensorboard import TensorBoardWriter


def shown(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def steps(folder):
    return [event.step for event in shown(folder).Scalars("loss")]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tensorboard"


def test_what_was_added_can_be_read_as_soon_as_it_is_synced(folder):
    writer = TensorBoardWriter(folder, 0)
    for step in (1, 2):
        writer.add_scalar("loss", 0.5, step)
        writer.sync()
        assert steps(folder)[-1] == step
    assert shown(folder).Scalars("loss")[0].value == 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_shown(folder, channels):
    writer = TensorBoardWriter(folder, 0)
    writer.add_image("samples", np.zeros((8, 16, channels), np.uint8), 1)
    writer.close()
    picture = shown(folder).Images("samples")[0]
    assert (picture.height, picture.width) == (8, 16)
    assert picture.encoded_image_string.startswith(b"\x89PNG")


def test_a_resumed_run_hides_what_came_later(folder):
    for first, last in ((1, 3), (2, 2)):
        writer = TensorBoardWriter(folder, first)
        for step in range(first, last + 1):
            writer.add_scalar("loss", 0.5, step)
        writer.close()
    assert steps(folder) == [1, 2]


def test_two_starts_in_one_second_write_two_files_and_a_large_file_is_ended(folder, monkeypatch):
    monkeypatch.setattr(tensorboard, "_LARGEST_FILE", 120)
    for start in range(2):
        writer = TensorBoardWriter(folder, 3 * start)
        for step in range(3 * start, 3 * start + 3):
            writer.add_scalar("loss", 0.5, step)
            writer.sync()
        writer.close()
    assert len(list(folder.iterdir())) > 2
    assert steps(folder) == list(range(6))
