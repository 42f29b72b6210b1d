"""The state of a training at an address in object storage, from which it goes on with an empty disk."""

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

from regan.storage import ConflictError, Version, claim_latest, fetch_latest, latest, push, push_latest
from regan.training.checkpoint import CHECKPOINTS, checkpoint_files, newest_step, require_own

_LOG = logging.getLogger("regan")
_NOTE = "training.json"
_FETCHED, _STAGED = ".fetched", ".push-"
_ATTEMPTS = 10


class TakenOverError(RuntimeError):
    """Another process has taken over the state at the address."""


@dataclass(frozen=True)
class StateFiles:
    """What makes the state of a training, as names in its work folder, beside the checkpoints.

    Attributes:
        fixed: Folders whose files are renamed into place and never change.
        growing: Files and folders that are written on.
        board: The folder among `growing` that TensorBoard reads; empty where there is none.
    """

    fixed: tuple[str, ...] = ()
    growing: tuple[str, ...] = ()
    board: str = ""

    def exist_in(self, folder: Path) -> bool:
        """Whether a folder holds any of them."""
        places = [folder / name for name in (CHECKPOINTS, *self.fixed, *self.growing)]
        return any(place.is_file() or any(place.glob("*")) for place in places)


class RemoteState:
    """Fetches the state of a training from an address, claims it, and pushes what is offered, in a thread.

    The address belongs to whoever claimed it last: an older process finds out by a precondition when it pushes next,
    and stops. A mark of its own tells a write whose reply was lost from another process's.

    Args:
        address: Where the state lies.
        folder: Work folder.
        files: What makes the state.
        configuration: Hash of all that a resumed training must have in common with the one before.

    Raises:
        ValueError: The address is of no known kind.
        OSError: The address cannot be read.
    """

    def __init__(self, address: str, folder: Path, files: StateFiles, configuration: str) -> None:
        self.address, self._folder, self._files, self._configuration = address, folder, files, configuration
        self._writer = uuid.uuid4().hex
        self._version: Version | None = latest(address)
        self._waiting: Path | None = None
        self._conflict: ConflictError | None = None
        self._unpushed: Exception | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._num_staged = 0

    def take(self) -> None:
        """Bring the newest state into the work folder, and claim the address.

        What lies in the folder stays where it is further on.

        Raises:
            ValueError: The state belongs to another configuration or other images; it is left alone.
            TakenOverError: Other processes write there all the time.
        """
        for left in self._folder.glob(f"{_STAGED}*"):
            shutil.rmtree(left)
        for _ in range(_ATTEMPTS):
            try:
                self._claim()
                break
            except ConflictError as error:  # the older process pushed, or another one began, in between
                conflict = error
        else:
            raise self._taken_over() from conflict
        self._adopt()
        self._thread = threading.Thread(target=self._push_what_is_offered, name="push state", daemon=True)
        self._thread.start()

    def offer(self) -> None:
        """Have the present state pushed. Takes hard links, and copies of what grows: no wait for the network.

        Raises:
            TakenOverError: Another process has taken over.
        """
        self.check()
        staged = self._stage()
        with self._changed:
            older, self._waiting = self._waiting, staged
            self._changed.notify()
        if older is not None:
            shutil.rmtree(older)

    def check(self) -> None:
        """Raise TakenOverError if the thread met another process at the address."""
        if self._conflict is not None:
            raise self._taken_over() from self._conflict

    def close(self, seconds: float | None = None) -> None:
        """Wait until what was offered lies at the address, and end the thread.

        Args:
            seconds: Longest wait; None waits as long as storage is tried.

        Raises:
            TakenOverError: Another process has taken over.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                _LOG.error(
                    "The newest state could not be pushed to %s within %g s. The one before it lies there.",
                    self.address,
                    seconds,
                )
                return
        self.check()
        if self._unpushed is not None:
            _LOG.error("The newest state does not lie at %s: %s", self.address, self._unpushed)

    def _claim(self) -> None:
        fetched = self._folder / _FETCHED
        version = fetch_latest(self.address, fetched)
        if version is None:
            note = self._staging()
            try:
                self._version = push_latest(note, self.address, None, writer=self._writer)
            finally:
                shutil.rmtree(note)
            return
        _keep_only(fetched, version.files)
        note = fetched / _NOTE
        if not note.is_file():
            raise ValueError(
                f"The state of a training must lie at `checkpoint_uri`. {self.address} holds something else. Name "
                "another address."
            )
        require_own(self._configuration, json.loads(note.read_text(encoding="utf-8"))["configuration"], self.address)
        self._version = claim_latest(self.address, version, writer=self._writer)

    def _adopt(self) -> None:
        fetched, others = self._folder / _FETCHED, (*self._files.fixed, *self._files.growing)
        step = newest_step(fetched / CHECKPOINTS)
        if step > newest_step(self._folder / CHECKPOINTS):
            # Checkpoints go first and come last: a process killed between finds none, and fetches again.
            for name in (CHECKPOINTS, *others):
                _remove(self._folder / name)
            for name in (*others, CHECKPOINTS):
                if (fetched / name).exists():
                    os.replace(fetched / name, self._folder / name)
            _LOG.info("The state after %d steps was fetched from %s", step, self.address)
        _remove(fetched)

    def _staging(self) -> Path:
        self._num_staged += 1
        staged = self._folder / f"{_STAGED}{self._num_staged}"
        staged.mkdir()
        (staged / _NOTE).write_text(json.dumps({"configuration": self._configuration}), encoding="utf-8", newline="\n")
        return staged

    def _stage(self) -> Path:
        """A folder with the state as it is now. Only the newest checkpoint: storage keeps the version before."""
        staged = self._staging()
        (staged / CHECKPOINTS).mkdir()
        newest = checkpoint_files(self._folder / CHECKPOINTS)[-1]
        _link(newest, staged / CHECKPOINTS / newest.name)
        for name in self._files.fixed:
            if (self._folder / name).is_dir():
                shutil.copytree(self._folder / name, staged / name, copy_function=_link)
        for name in self._files.growing:
            _copy(self._folder / name, staged / name)
        return staged

    def _push_what_is_offered(self) -> None:
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
            except Exception as error:  # whatever it is, training goes on, and the next state is tried
                self._unpushed = error
                _LOG.warning("The state could not be pushed to %s: %s Training goes on.", self.address, error)
            finally:
                shutil.rmtree(staged, ignore_errors=True)

    def _push(self, staged: Path) -> None:
        started = time.monotonic()
        self._version = push_latest(staged, self.address, self._version, writer=self._writer)
        step = newest_step(staged / CHECKPOINTS)
        _LOG.info("The state after %d steps lies at %s (%.1f s)", step, self.address, time.monotonic() - started)
        board = self._files.board
        if board and (staged / board).is_dir():
            try:
                push(staged / board, f"{self.address}/{board}", replace=True)
            except (OSError, ValueError) as error:
                _LOG.warning("The TensorBoard files could not be pushed: %s", error)

    def _taken_over(self) -> TakenOverError:
        return TakenOverError(
            f"Only one process may train with the state at {self.address}. Another process has taken over, and goes on "
            "from the last state that this one pushed. Nothing is lost; leave it to that one, or use another "
            "`checkpoint_uri`."
        )


def _keep_only(folder: Path, names: Collection[str]) -> None:
    """Remove what an earlier attempt fetched of an older version."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        if path.is_dir():
            with contextlib.suppress(OSError):  # it still holds something
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
