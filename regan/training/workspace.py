"""The stable folder that a training works in: held by one process, kept over interruptions, pushed to an address."""

import logging
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from regan.common.system import require_posix, try_lock
from regan.storage import is_uri, latest
from regan.training.checkpoint import CHECKPOINTS, checkpoint_files, require_own_checkpoints
from regan.training.checkpoint_sync import RemoteState, StateFiles

__all__ = [
    "StateFiles",
    "Stop",
    "TrainingStoppedError",
    "Work",
    "noting_sigterm",
    "place_of",
    "require_minutes",
    "working",
]

_LOG = logging.getLogger("regan")
_DIGITS = 16  # of the identity, at the end of a place: enough that no two trainings meet by accident
_FLUSH_SECONDS = 20.0  # for the last push: whoever sends SIGTERM kills half a minute later


class TrainingStoppedError(RuntimeError):
    """SIGTERM came; the checkpoint is written."""


@dataclass(frozen=True)
class Work:
    """Where a training works, and what its trainer calls.

    Attributes:
        folder: The work folder.
        remote: The state at an address; None where it lies in the folder only.
    """

    folder: Path
    remote: RemoteState | None = None

    def keep(self) -> None:
        """Have the checkpoint that was just written pushed to the address, in the background."""
        if self.remote is not None:
            self.remote.offer()

    def check(self) -> None:
        """Raise TakenOverError if another process has taken over."""
        if self.remote is not None:
            self.remote.check()

    def settle(self) -> None:
        """Wait until all that was kept lies at the address: training is complete."""
        if self.remote is not None:
            self.remote.close()


def require_minutes(checkpoint_minutes: float) -> None:
    """Refuse a time between checkpoints that is none."""
    if not checkpoint_minutes > 0:
        raise ValueError(f"`checkpoint_minutes` must be more than 0. Received {checkpoint_minutes=}.")


@dataclass
class Stop:
    """Whether SIGTERM came."""

    requested: bool = False


@contextmanager
def noting_sigterm(stop: Stop | None = None) -> Iterator[Stop]:
    """Note SIGTERM instead of dying of it, so that the step in hand is finished and kept."""
    stop = stop or Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: FrameType | None) -> None:
        stop.requested = True

    before = signal.signal(signal.SIGTERM, request)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def place_of(checkpoint_uri: str, label: str, configuration: str) -> str:
    """Where a training has its state: `<checkpoint_uri>/<label>/<16 digits of the identity>`.

    So trainings that differ in configuration or images never meet each other's state, and a longer one finds its own.

    Args:
        checkpoint_uri: Local folder or address.
        label: Subfolder, empty for none.
        configuration: Hash of all that a resumed training must have in common with the one before.
    """
    return "/".join(filter(None, (checkpoint_uri.rstrip("/"), label, configuration[:_DIGITS])))


@contextmanager
def working(
    output: Path, checkpoint_uri: str, *, files: StateFiles, configuration: str, label: str = ""
) -> Iterator[Work]:
    """Hold the work folder of a training, with the newest state in it.

    Args:
        output: What the training makes. The folder is `<output>.checkpoint` beside it, unless `checkpoint_uri` is a
            local path.
        checkpoint_uri: Empty, a local folder to work below, or an address (`gs://`, `s3://`) below which the state is
            fetched and pushed: at `place_of`.
        files: What makes the state.
        configuration: Hash of all that a resumed training must have in common with the one before.
        label: Subfolder of `checkpoint_uri`, empty for none.

    Yields:
        The place. The folder stays behind; it is removed when an error ends the block before there was any state, and
        when all is done unless it was asked for.

    Raises:
        ValueError: The state belongs to another configuration or other images, `checkpoint_uri` is that of a single
            state, or the address is of no known kind.
        RuntimeError: Another process works in the folder.
        TakenOverError: Another process has taken over the state at the address.
        UnsupportedPlatformError: This is Windows.
    """
    require_posix("Training")
    remote, folder = None, output.with_name(f"{output.name}.checkpoint")
    if checkpoint_uri:
        _require_no_state_at(checkpoint_uri, label)
        place = place_of(checkpoint_uri, label, configuration)
        if is_uri(checkpoint_uri):
            remote = RemoteState(place, folder, files, configuration)
        else:
            folder = Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder):
        try:
            require_own_checkpoints(folder / CHECKPOINTS, configuration)
            if remote is not None:
                remote.take()
            (folder / CHECKPOINTS).mkdir(exist_ok=True)
            yield Work(folder, remote)
        except BaseException:
            _end_interrupted(folder, remote, files)
            raise
        if remote is not None:
            remote.close()
        if remote is not None or not checkpoint_uri:
            shutil.rmtree(folder)


def _require_no_state_at(checkpoint_uri: str, label: str) -> None:
    """Refuse an address that holds a state itself, of whatever training, instead of places for states."""
    for place in dict.fromkeys((checkpoint_uri.rstrip("/") or "/", place_of(checkpoint_uri, label, ""))):
        if latest(place) if is_uri(place) else checkpoint_files(Path(place) / CHECKPOINTS):
            raise ValueError(
                "`checkpoint_uri` must be a folder or address below which each training has a place of its own. "
                f"{place} itself holds a checkpoint, of another configuration or other images for all that is known. "
                "Name the folder above it, or another one."
            )


def _end_interrupted(folder: Path, remote: RemoteState | None, files: StateFiles) -> None:
    if remote is not None:
        try:
            remote.close(_FLUSH_SECONDS)
        except (OSError, RuntimeError, ValueError) as error:  # the error that ended the training is raised, not this
            _LOG.error("%s", error)
    if not files.exist_in(folder):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("wb") as lock:
        if not try_lock(lock.fileno()):
            raise RuntimeError(
                f"Only one process may train in {folder}, and another one does. Wait for it, or use another output."
            )
        yield
