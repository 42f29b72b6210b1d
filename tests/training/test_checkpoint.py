import numpy as np
import pytest

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


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(tmp_path):
    assert load_checkpoint(tmp_path, configuration="a") is None


def test_the_last_two_are_kept_and_the_newest_is_read(tmp_path):
    for step in (1, 2, 10):
        save(tmp_path, step)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert load_checkpoint(tmp_path, configuration="a").step == 10


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_one_is_noticed_and_the_one_before_it_used(tmp_path, damage, caplog):
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    data = newest.read_bytes()
    damaged = {"truncated": data[:-5], "flipped": data[:-1] + bytes([data[-1] ^ 1]), "empty": b""}
    newest.write_bytes(damaged[damage])
    assert load_checkpoint(tmp_path, configuration="a").step == 1
    assert "damaged" in caplog.text


def test_where_no_checkpoint_is_whole_nothing_begins_anew(tmp_path):
    for step in (1, 2):
        path = save(tmp_path, step)
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"must be whole, to go on from it\. Received 2"):
        load_checkpoint(tmp_path, configuration="a")


def test_a_process_killed_while_writing_leaves_nothing_that_is_taken_for_whole(tmp_path):
    save(tmp_path, 1)
    (tmp_path / ".part-file").write_bytes(b"half of a checkpo")
    assert load_checkpoint(tmp_path, configuration="a").step == 1
    save(tmp_path, 2)
    assert load_checkpoint(tmp_path, configuration="a").step == 2


def test_the_state_of_another_configuration_is_refused(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(ValueError, match="configuration and the images it began with"):
        load_checkpoint(tmp_path, configuration="b")
