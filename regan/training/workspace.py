"""The work folder of a training: locked by one process, kept over interruptions, synced to object storage."""

import logging
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from regan.common.errors import CheckpointMismatchError, ConflictError, SettingError
from regan.common.system import require_posix, try_lock
from regan.storage import is_uri, latest
from regan.training.checkpoint import CHECKPOINTS, checkpoint_files, require_matching_checkpoints
from regan.training.checkpoint_sync import CheckpointSync, StateFiles

__all__ = [
    "StateFiles",
    "StopRequest",
    "Workspace",
    "catch_sigterm",
    "checkpoint_location",
    "open_workspace",
    "require_checkpoint_minutes",
]

_LOG = logging.getLogger("regan")
_DIGITS = 16  # of the identity hash, 64 bits: two trainings do not get the same location by accident
_FLUSH_SECONDS = 20.0  # for the last push: Kubernetes sends SIGKILL 30 s after SIGTERM


@dataclass(frozen=True)
class Workspace:
    """The work folder of a training, and the calls that its trainer makes.

    Attributes:
        folder: The work folder.
        checkpoint_sync: Sync to object storage; None if checkpoints are local only.
    """

    folder: Path
    checkpoint_sync: CheckpointSync | None = None

    def sync(self) -> None:
        """Push the checkpoint that was just written, in the background."""
        if self.checkpoint_sync is not None:
            self.checkpoint_sync.push()

    def check(self) -> None:
        """Raise TakenOverError if another process has taken over."""
        if self.checkpoint_sync is not None:
            self.checkpoint_sync.check()

    def finish(self) -> None:
        """Wait until all checkpoints are pushed: training is complete."""
        if self.checkpoint_sync is not None:
            self.checkpoint_sync.close()


def require_checkpoint_minutes(checkpoint_minutes: float) -> None:
    """SettingError unless the time between checkpoints, minutes, is more than 0."""
    if not checkpoint_minutes > 0:  # not `<= 0`, which lets NaN pass
        raise SettingError(f"`checkpoint_minutes` must be more than 0. Received {checkpoint_minutes=}.")


@dataclass
class StopRequest:
    """Whether SIGTERM was received."""

    requested: bool = False


@contextmanager
def catch_sigterm(stop: StopRequest | None = None) -> Iterator[StopRequest]:
    """Record SIGTERM instead of ending, so that the current step is finished and its checkpoint written.

    Args:
        stop: Request to set; None makes one.

    Yields:
        The request. Outside the main thread it is never set, because Python handles signals in the main thread only.
    """
    stop = stop or StopRequest()
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


def checkpoint_location(checkpoint_uri: str, label: str, configuration: str) -> str:
    """Where a training stores its checkpoints: `<checkpoint_uri>/<label>/<16 digits of the identity hash>`.

    So trainings that differ in configuration or images never find each other's checkpoints, and a longer run of
    the same training finds its own.

    Args:
        checkpoint_uri: Local folder or URI.
        label: Subfolder, empty for none.
        configuration: `identity_hash` of the training.
    """
    return "/".join(filter(None, (checkpoint_uri.rstrip("/"), label, configuration[:_DIGITS])))


@contextmanager
def open_workspace(
    output: Path, checkpoint_uri: str, *, files: StateFiles, configuration: str, label: str = ""
) -> Iterator[Workspace]:
    """Lock the work folder of a training, with the newest checkpoint in it.

    Args:
        output: The output of the training. The work folder is `<output>.checkpoint` beside it, unless `checkpoint_uri`
            is a local path.
        checkpoint_uri: Empty, a local folder to work in, or a URI (`gs://`, `s3://`) to sync checkpoints with, at
            `checkpoint_location` below it.
        files: The files of the state beside the checkpoints.
        configuration: `identity_hash` of the training.
        label: Subfolder of `checkpoint_uri`, empty for none.

    Yields:
        The workspace. Its folder is removed after the block, unless the user named it as `checkpoint_uri`. After an
        error it stays if it contains any state.

    Raises:
        CheckpointMismatchError: The checkpoint belongs to another configuration or other images, or `checkpoint_uri`
            itself contains a checkpoint.
        UnsupportedURIError: `checkpoint_uri` has an unsupported scheme.
        ConflictError: Another process trains in the folder.
        TakenOverError: Another process has taken over the checkpoints at the URI.
        UnsupportedPlatformError: This is Windows.
    """
    require_posix("Training")
    sync, folder = None, output.with_name(f"{output.name}.checkpoint")
    if checkpoint_uri:
        _require_no_checkpoint_at(checkpoint_uri, label)
        location = checkpoint_location(checkpoint_uri, label, configuration)
        if is_uri(checkpoint_uri):
            sync = CheckpointSync(location, folder, files, configuration)
        else:
            folder = Path(location)
    folder.mkdir(parents=True, exist_ok=True)
    with _hold(folder):
        try:
            require_matching_checkpoints(folder / CHECKPOINTS, configuration)
            if sync is not None:
                sync.pull()
            (folder / CHECKPOINTS).mkdir(exist_ok=True)
            yield Workspace(folder, sync)
        except BaseException:
            _end_interrupted(folder, sync, files)
            raise
        if sync is not None:
            sync.close()
        if sync is not None or not checkpoint_uri:
            shutil.rmtree(folder)


def _require_no_checkpoint_at(checkpoint_uri: str, label: str) -> None:
    """Refuse a URI that is itself the location of checkpoints.

    Below such a URI, copied from a log for example, this training would find no checkpoint and start from nothing.
    """
    for location in dict.fromkeys((checkpoint_uri.rstrip("/") or "/", checkpoint_location(checkpoint_uri, label, ""))):
        if latest(location) if is_uri(location) else checkpoint_files(Path(location) / CHECKPOINTS):
            raise CheckpointMismatchError(
                f"{location} itself contains a checkpoint, possibly of another configuration or other images. Each "
                "training uses a folder of its own below `checkpoint_uri`: use the parent folder, or another one."
            )


def _end_interrupted(folder: Path, sync: CheckpointSync | None, files: StateFiles) -> None:
    if sync is not None:
        try:
            sync.close(_FLUSH_SECONDS)
        # Logged only: the training's own error, which the caller raises, says what happened first.
        except (OSError, RuntimeError, ValueError) as error:
            _LOG.error("%s", error)
    if not files.exist_in(folder):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _hold(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("wb") as lock:
        if not try_lock(lock.fileno()):
            raise ConflictError(f"Another process is training in {folder}. Wait until it ends, or use another output.")
        yield
