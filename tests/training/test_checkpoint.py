import numpy as np
import pytest

from regan.common.errors import CheckpointMismatchError, CorruptFileError
from regan.training.checkpoint import load_checkpoint, save_checkpoint

STATE = {
    "generator": {"mapping/dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "generator_updates": np.float32(7),
    "style_mean": np.ones(3, np.float32),
}


def save(folder, step, state=STATE, configuration="a"):
    return save_checkpoint(folder, configuration=configuration, step=step, seconds=1.5, state=state)


def test_all_of_the_state_comes_back_bit_for_bit(tmp_path):
    save(tmp_path, 12)
    checkpoint = load_checkpoint(tmp_path, configuration="a")
    assert (checkpoint.step, checkpoint.seconds) == (12, 1.5)
    assert checkpoint.state.keys() == STATE.keys()
    assert np.array_equal(
        checkpoint.state["generator"]["mapping/dense/kernel"], STATE["generator"]["mapping/dense/kernel"]
    )
    assert checkpoint.state["generator_updates"].shape == ()
    assert checkpoint.state["generator_updates"] == 7


def test_without_a_checkpoint_there_is_nothing_to_resume_from(tmp_path):
    assert load_checkpoint(tmp_path, configuration="a") is None


def test_the_last_two_are_kept_and_the_newest_is_read(tmp_path):
    for step in (1, 2, 10):
        save(tmp_path, step)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert load_checkpoint(tmp_path, configuration="a").step == 10


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_corrupt_checkpoint_is_noticed_and_the_previous_one_used(tmp_path, damage, caplog):
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    data = newest.read_bytes()
    damaged = {"truncated": data[:-5], "flipped": data[:-1] + bytes([data[-1] ^ 1]), "empty": b""}
    newest.write_bytes(damaged[damage])
    assert load_checkpoint(tmp_path, configuration="a").step == 1
    assert "corrupt" in caplog.text


def test_if_all_checkpoints_are_corrupt_training_does_not_start_again(tmp_path):
    for step in (1, 2):
        path = save(tmp_path, step)
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CorruptFileError, match=r"All 2 checkpoints in .* are corrupt\."):
        load_checkpoint(tmp_path, configuration="a")


def test_an_incomplete_file_of_a_killed_process_is_not_taken_for_a_checkpoint(tmp_path):
    save(tmp_path, 1)
    (tmp_path / ".part-file").write_bytes(b"half of a checkpo")
    assert load_checkpoint(tmp_path, configuration="a").step == 1
    save(tmp_path, 2)
    assert load_checkpoint(tmp_path, configuration="a").step == 2


def test_the_state_of_another_configuration_is_refused(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(CheckpointMismatchError, match="belongs to another configuration or other images"):
        load_checkpoint(tmp_path, configuration="b")
