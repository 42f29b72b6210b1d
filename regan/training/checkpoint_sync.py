"""Checkpoint sync: pushes the state of a training to object storage, from where it resumes on an empty disk.

A preempted pod starts again on another node, without the disk of the first one. Pushing happens in a thread, so that
training never waits for the network.
"""

import contextlib
import json
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from regan.common.errors import CheckpointMismatchError, ConflictError, TakenOverError
from regan.storage import Version, claim_latest, fetch_latest, latest, push, push_latest
from regan.training.checkpoint import CHECKPOINTS, checkpoint_files, newest_step, require_match

_LOG = logging.getLogger("regan")
_DESCRIPTION = "training.json"
_FETCHED, _STAGED = ".fetched", ".push-"
_CLAIM_ATTEMPTS = 10  # each fails only if another process pushed or claimed between our fetch and our claim


@dataclass(frozen=True)
class StateFiles:
    """The files that make the state of a training beside its checkpoints, as names in its work folder.

    Attributes:
        fixed: Folders whose files are renamed into place and never change: hard links suffice to push them.
        growing: Files and folders that training appends to: they are copied before a push.
        tensorboard: The folder among `growing` that TensorBoard reads; empty if there is none.
    """

    fixed: tuple[str, ...] = ()
    growing: tuple[str, ...] = ()
    tensorboard: str = ""

    def exist_in(self, folder: Path) -> bool:
        """Whether a folder contains any of them."""
        paths = [folder / name for name in (CHECKPOINTS, *self.fixed, *self.growing)]
        return any(path.is_file() or any(path.glob("*")) for path in paths)


class CheckpointSync:
    """Pulls the state of a training from a URI, claims the URI, and pushes new states in a thread.

    The URI belongs to the process that claimed it last. An older process, such as one on a node that was only believed
    lost, meets a conflict at its next push, and stops. Each process writes with an ID of its own, which tells a lost
    response to its own write from a write of another process.

    Args:
        uri: Where the state is stored.
        folder: Work folder.
        files: The files of the state.
        configuration: `identity_hash` of the training.

    Raises:
        UnsupportedURIError: The URI has an unsupported scheme.
        OSError: The URI cannot be read.
    """

    def __init__(self, uri: str, folder: Path, files: StateFiles, configuration: str) -> None:
        self.uri, self._folder, self._files, self._configuration = uri, folder, files, configuration
        self._writer = uuid.uuid4().hex
        self._version: Version | None = latest(uri)
        self._waiting: Path | None = None
        self._conflict: ConflictError | None = None
        self._unpushed: Exception | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._num_staged = 0

    def pull(self) -> None:
        """Fetch the newest state into the work folder, claim the URI, and start the thread.

        If the work folder contains a later state, as after a restart on the same disk, that one stays.

        Raises:
            CheckpointMismatchError: The state belongs to another configuration or other images. It is not changed.
            TakenOverError: Other processes keep writing to the URI.
        """
        for stale in self._folder.glob(f"{_STAGED}*"):  # left by a process that was killed
            shutil.rmtree(stale)
        for _ in range(_CLAIM_ATTEMPTS):
            try:
                self._claim()
                break
            except ConflictError as error:  # the older process pushed, or another one started, meanwhile
                conflict = error
        else:
            raise self._taken_over() from conflict
        self._adopt()
        self._thread = threading.Thread(target=self._push_states, name="checkpoint sync", daemon=True)
        self._thread.start()

    def push(self) -> None:
        """Stage the current state for the thread to push, without waiting for the network.

        A state that is still waiting is replaced: only the newest one is worth the transfer.

        Raises:
            TakenOverError: Another process has taken over.
        """
        self.check()
        staged = self._stage()
        with self._changed:
            older, self._waiting = self._waiting, staged
            self._changed.notify()
        if older is not None:  # outside the lock, because removing many files takes time
            shutil.rmtree(older)

    def check(self) -> None:
        """Raise TakenOverError if another process has claimed the URI."""
        if self._conflict is not None:
            raise self._taken_over() from self._conflict

    def close(self, seconds: float | None = None) -> None:
        """Wait until the last staged state is pushed, and end the thread.

        Args:
            seconds: Longest wait; None waits as long as storage retries.

        Raises:
            TakenOverError: Another process has taken over.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():  # a daemon, so that it does not keep the process from ending
                _LOG.error(
                    "The newest checkpoint could not be pushed to %s within %g s. The previous one is there.",
                    self.uri,
                    seconds,
                )
                return
        self.check()
        if self._unpushed is not None:
            _LOG.error("The newest checkpoint was not pushed to %s: %s", self.uri, self._unpushed)

    def _claim(self) -> None:
        fetched = self._folder / _FETCHED
        version = fetch_latest(self.uri, fetched)
        if version is None:
            # A version without a checkpoint claims the URI before the first checkpoint is written.
            claim = self._new_stage()
            try:
                self._version = push_latest(claim, self.uri, None, writer=self._writer)
            finally:
                shutil.rmtree(claim)
            return
        _keep_only(fetched, version.files)
        description = fetched / _DESCRIPTION
        if not description.is_file():
            raise CheckpointMismatchError(
                f"{self.uri} contains something other than checkpoints of a training. Use another `checkpoint_uri`."
            )
        require_match(
            self._configuration, json.loads(description.read_text(encoding="utf-8"))["configuration"], self.uri
        )
        self._version = claim_latest(self.uri, version, writer=self._writer)

    def _adopt(self) -> None:
        fetched, others = self._folder / _FETCHED, (*self._files.fixed, *self._files.growing)
        step = newest_step(fetched / CHECKPOINTS)
        if step > newest_step(self._folder / CHECKPOINTS):
            # Checkpoints are removed first and moved last: a process killed in between finds none, and fetches again.
            for name in (CHECKPOINTS, *others):
                _remove(self._folder / name)
            for name in (*others, CHECKPOINTS):
                if (fetched / name).exists():
                    os.replace(fetched / name, self._folder / name)
            _LOG.info("Checkpoint after %d steps was fetched from %s", step, self.uri)
        _remove(fetched)

    def _new_stage(self) -> Path:
        self._num_staged += 1
        staged = self._folder / f"{_STAGED}{self._num_staged}"
        staged.mkdir()
        (staged / _DESCRIPTION).write_text(
            json.dumps({"configuration": self._configuration}), encoding="utf-8", newline="\n"
        )
        return staged

    def _stage(self) -> Path:
        """A folder with the current state. Only the newest checkpoint: storage keeps the previous version."""
        staged = self._new_stage()
        (staged / CHECKPOINTS).mkdir()
        newest = checkpoint_files(self._folder / CHECKPOINTS)[-1]
        _link(newest, staged / CHECKPOINTS / newest.name)
        for name in self._files.fixed:
            if (self._folder / name).is_dir():
                shutil.copytree(self._folder / name, staged / name, copy_function=_link)
        for name in self._files.growing:
            _copy(self._folder / name, staged / name)
        return staged

    def _push_states(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                staged, self._waiting = self._waiting, None
            if staged is None:
                return
            try:
                self._push(staged)
                self._unpushed = None
            except ConflictError as error:
                self._conflict = error
                return
            except Exception as error:  # training is worth more than this push; the next state is pushed instead
                self._unpushed = error
                _LOG.warning("The checkpoint could not be pushed to %s: %s Training continues.", self.uri, error)
            finally:
                shutil.rmtree(staged, ignore_errors=True)

    def _push(self, staged: Path) -> None:
        started = time.monotonic()
        self._version = push_latest(staged, self.uri, self._version, writer=self._writer)
        step = newest_step(staged / CHECKPOINTS)
        _LOG.info("Checkpoint after %d steps was pushed to %s (%.1f s)", step, self.uri, time.monotonic() - started)
        tensorboard = self._files.tensorboard
        if tensorboard and (staged / tensorboard).is_dir():
            try:  # once more as plain files, because TensorBoard reads a folder and no versions
                push(staged / tensorboard, f"{self.uri}/{tensorboard}", replace=True)
            except (OSError, ValueError) as error:
                _LOG.warning("The TensorBoard files could not be pushed: %s", error)

    def _taken_over(self) -> TakenOverError:
        return TakenOverError(
            f"Another process is now training with checkpoint {self.uri}; stopping. It resumed from the last "
            "checkpoint that this one pushed, so nothing is lost. Let it finish, or use another `checkpoint_uri`."
        )


def _keep_only(folder: Path, names: Collection[str]) -> None:
    """Remove files of an older version that an earlier attempt fetched."""
    for path in sorted(folder.rglob("*"), reverse=True):  # files before their folder
        if path.is_dir():
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in names:
            path.unlink()


def _link(source: str | Path, target: str | Path) -> str:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
    return str(target)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.is_file():
        shutil.copyfile(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
