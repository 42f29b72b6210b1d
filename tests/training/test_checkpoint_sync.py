"""Checkpoint sync, mostly with a local path as its URI, which gives the same guarantees as object storage."""

import contextlib
import json
import logging
import threading
import time

import numpy as np
import pytest

from regan.common.errors import CheckpointMismatchError, TakenOverError
from regan.storage import fetch, fetch_latest, latest, push_latest
from regan.storage.uri import open_store
from regan.training import checkpoint_sync
from regan.training.checkpoint import CHECKPOINTS, load_checkpoint, newest_step, save_checkpoint
from regan.training.checkpoint_sync import CheckpointSync, StateFiles
from tests.storage.losing import lose_one

FILES = StateFiles(fixed=("snapshots",), growing=("log.jsonl", "tensorboard"), tensorboard="tensorboard")


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "bucket" / "b")


@pytest.fixture
def begun(tmp_path, uri):
    """Function that makes a work folder and pulls the state at the URI into it."""
    opened = []

    def begin(name, configuration="a", step=-1):
        folder = tmp_path / name
        (folder / CHECKPOINTS).mkdir(parents=True)
        if step >= 0:
            train(folder, step, configuration)
        state = CheckpointSync(uri, folder, FILES, configuration)
        opened.append(state)
        state.pull()
        return folder, state

    yield begin
    for state in opened:
        with contextlib.suppress(TakenOverError):
            state.close(5)


def train(folder, step, configuration="a"):
    """Leave what a training has after so many steps."""
    state = {"weights": np.full(3, step, np.float32)}
    save_checkpoint(folder / CHECKPOINTS, configuration=configuration, step=step, seconds=1.0, state=state)
    (folder / "snapshots" / f"kimg-{step}").mkdir(parents=True)
    (folder / "snapshots" / f"kimg-{step}" / "weights").write_bytes(bytes([step]))
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": step}) + "\n")
    (folder / "tensorboard").mkdir(exist_ok=True)
    (folder / "tensorboard" / "events.1").write_text(f"up to {step}")
    (folder / "images.npy").write_text("pixels of patients")


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_pushed_state_is_pulled_onto_an_empty_disk(begun, tmp_path, uri):
    folder, state = begun("one")
    for step in (1, 2):
        train(folder, step)
        state.push()
    state.close()
    assert not list(folder.glob(".*"))

    other, _ = begun("other")
    assert load_checkpoint(other / CHECKPOINTS, configuration="a").step == 2
    newest = (folder / CHECKPOINTS).glob("step-000000002-*")
    assert names(other) == sorted(
        [
            f"checkpoints/{next(newest).name}",
            "log.jsonl",
            "snapshots/kimg-1/weights",
            "snapshots/kimg-2/weights",
            "tensorboard/events.1",
        ]
    )
    assert (other / "log.jsonl").read_bytes() == (folder / "log.jsonl").read_bytes()
    # The images stay at home, and TensorBoard's files lie there as they are.
    assert b"patients" not in b"".join(path.read_bytes() for path in tmp_path.joinpath("bucket").rglob("*.*"))
    assert names(fetch(f"{uri}/tensorboard", tmp_path / "board")) == ["events.1"]


def test_the_older_of_two_finds_out_and_changes_nothing(begun, uri):
    folder, older = begun("older")
    train(folder, 1)
    older.push()
    wait_for(lambda: step_at(uri) == 1)
    other, younger = begun("younger")
    assert newest_step(other / CHECKPOINTS) == 1

    train(folder, 2)
    older.push()
    wait_for(lambda: not older._thread.is_alive())
    with pytest.raises(TakenOverError, match=r"is now training with checkpoint .*; stopping\..*nothing is lost"):
        older.check()
    train(folder, 3)
    with pytest.raises(TakenOverError):
        older.push()
    with pytest.raises(TakenOverError):
        older.close()
    assert step_at(uri) == 1
    train(other, 2)
    younger.push()
    younger.close()
    assert step_at(uri) == 2


def test_of_two_that_find_nothing_the_one_that_came_later_stays(begun, uri):
    folder, first = begun("first")
    other, second = begun("second")
    train(folder, 1)
    first.push()
    wait_for(lambda: not first._thread.is_alive())
    train(other, 1)
    second.push()
    second.close()
    assert step_at(uri) == 1
    with pytest.raises(TakenOverError):
        first.check()


def test_a_state_pushed_between_fetch_and_claim_is_not_lost(begun, uri, monkeypatch):
    folder, older = begun("older")
    train(folder, 1)
    older.push()
    wait_for(lambda: step_at(uri) == 1)
    claim = checkpoint_sync.claim_latest

    def late(uri, version, **more):
        monkeypatch.setattr(checkpoint_sync, "claim_latest", claim)
        (folder / "snapshots" / "kimg-1" / "weights").unlink()
        (folder / "snapshots" / "kimg-1").rmdir()
        train(folder, 2)
        older.push()
        wait_for(lambda: step_at(uri) == 2)
        return claim(uri, version, **more)

    monkeypatch.setattr(checkpoint_sync, "claim_latest", late)
    other, _ = begun("other")
    assert newest_step(other / CHECKPOINTS) == 2
    assert [path.name for path in (other / "snapshots").iterdir()] == ["kimg-2"]  # the first one was thinned


def test_another_configuration_is_refused_and_does_not_claim(begun, uri):
    folder, state = begun("one")
    train(folder, 1)
    state.push()
    wait_for(lambda: step_at(uri) == 1)
    before = latest(uri)
    with pytest.raises(CheckpointMismatchError, match=r"belongs to another configuration or other images"):
        begun("other", configuration="b")
    assert latest(uri) == before


def test_a_uri_that_contains_something_else_is_refused(begun, tmp_path, uri):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    push_latest(tmp_path / "model", uri, None)
    with pytest.raises(CheckpointMismatchError, match="contains something other than checkpoints"):
        begun("one")


@pytest.mark.parametrize(("here", "there", "kept"), [(3, 2, 3), (1, 2, 2)])
def test_the_later_state_stays_whether_local_or_pushed(begun, here, there, kept):
    folder, state = begun("one")
    train(folder, there)
    state.push()
    state.close()
    other, _ = begun("other", step=here)
    assert newest_step(other / CHECKPOINTS) == kept
    assert (other / "log.jsonl").read_text() == json.dumps({"step": kept}) + "\n"
    assert not list(other.glob(".*"))


def test_leftovers_of_a_killed_fetch_or_push_do_no_harm(begun, tmp_path, uri):
    folder, state = begun("one")
    train(folder, 2)
    state.push()
    state.close()
    for name in (".fetched", ".push-1"):
        (tmp_path / "other" / name / "snapshots" / "kimg-9").mkdir(parents=True)
        (tmp_path / "other" / name / "snapshots" / "kimg-9" / "weights").write_text("old")
    (tmp_path / "other" / "snapshots" / "kimg-1").mkdir(parents=True)
    other = tmp_path / "other"
    state = CheckpointSync(uri, other, FILES, "a")
    state.pull()
    state.close()
    assert [path.name for path in (other / "snapshots").iterdir()] == ["kimg-2"]
    assert not list(other.glob(".*"))


@pytest.fixture
def slow_push(monkeypatch):
    """Pushes that begin only when told; the steps of those that did."""
    may_begin, pushed, push = threading.Event(), [], checkpoint_sync.push_latest

    def slow(folder, uri, previous, **more):
        if newest_step(folder / CHECKPOINTS) >= 0:
            may_begin.wait(30)
            pushed.append(newest_step(folder / CHECKPOINTS))
        return push(folder, uri, previous, **more)

    monkeypatch.setattr(checkpoint_sync, "push_latest", slow)
    return may_begin, pushed


def test_training_waits_for_no_push_and_the_newest_state_is_pushed_in_the_end(begun, slow_push, uri):
    may_begin, pushed = slow_push
    folder, state = begun("one")
    started = time.monotonic()
    train(folder, 1)
    state.push()
    wait_for(lambda: state._waiting is None)
    for step in (2, 3, 4):
        train(folder, step)
        state.push()
    assert time.monotonic() - started < 10
    assert step_at(uri) == -1
    may_begin.set()
    state.close()
    assert pushed == [1, 4]
    # The first was staged when it was offered: what came later is not in it.
    assert step_at(uri) == 4


def test_closing_does_not_wait_forever_for_a_push_that_hangs(begun, slow_push, caplog):
    may_begin, _ = slow_push
    folder, state = begun("one")
    train(folder, 1)
    state.push()
    started = time.monotonic()
    state.close(0.2)
    assert time.monotonic() - started < 5
    assert "could not be pushed to" in caplog.text
    may_begin.set()


def test_a_push_that_fails_is_logged_and_the_next_one_is_tried(begun, uri, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "regan")
    folder, state = begun("one")
    push = checkpoint_sync.push_latest

    def broken(*arguments, **more):
        raise ConnectionError("the line is cut.")

    monkeypatch.setattr(checkpoint_sync, "push_latest", broken)
    train(folder, 1)
    state.push()
    wait_for(lambda: "could not be pushed" in caplog.text)
    assert "the line is cut. Training continues" in caplog.text
    monkeypatch.setattr(checkpoint_sync, "push_latest", push)
    train(folder, 2)
    state.push()
    state.close()
    assert step_at(uri) == 2
    assert "was not pushed" not in caplog.text


@pytest.mark.parametrize("done", [True, False])
def test_after_any_lost_response_a_training_does_not_mistake_itself_for_another(begun, monkeypatch, caplog, done):
    caplog.set_level(logging.WARNING, "regan")
    folder, state = begun("one")
    train(folder, 1)
    state.push()
    wait_for(lambda: step_at(state.uri) == 1)
    lost, step = 0, 1
    while True:
        with monkeypatch.context() as patch:
            fault = lose_one(patch, type(open_store(state.uri)), lost, done=done)
            step += 1
            train(folder, step)
            state.push()
            wait_for(lambda: state._waiting is None)
            wait_for(lambda: not list(folder.glob(".push-*")))
        step += 1
        train(folder, step)
        state.push()
        wait_for(lambda s=step: step_at(state.uri) == s or not state._thread.is_alive())
        state.check()
        if not fault.struck:
            break
        lost += 1
    assert lost > 6
    state.close()
    other, _ = begun("other")
    assert newest_step(other / CHECKPOINTS) == step


def test_a_disk_without_hard_links_gets_copies(begun, uri, monkeypatch, tmp_path):
    def refuse(*arguments):
        raise PermissionError("no links here")

    monkeypatch.setattr("os.link", refuse)
    folder, state = begun("one")
    train(folder, 1)
    state.push()
    state.close()
    assert step_at(uri) == 1


def step_at(uri):
    version = latest(uri)
    found = [name for name in (version.files if version else ()) if name.startswith(CHECKPOINTS)]
    return max((int(name.split("-")[1]) for name in found), default=-1)


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.01)


def test_if_the_newest_version_is_corrupt_training_resumes_from_the_previous_one(begun, uri, tmp_path, caplog):
    folder, state = begun("one")
    for step in (1, 2):
        train(folder, step)
        state.push()
        wait_for(lambda s=step: step_at(uri) == s)
    state.close()
    digest = next(hash for name, hash in latest(uri).files.items() if name.startswith(CHECKPOINTS))
    next((tmp_path / "bucket" / "b" / "objects").glob(f"{digest}*")).write_bytes(b"bad")
    other, again = begun("other")
    assert newest_step(other / CHECKPOINTS) == 1
    train(other, 2)
    again.push()
    again.close()
    assert fetch_latest(uri, tmp_path / "whole").files.keys() >= {"snapshots/kimg-2/weights"}
