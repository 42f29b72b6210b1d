"""TensorBoard files with a `sync` that guarantees that all events are on disk."""

import time
from pathlib import Path
from typing import Any

import numpy as np

_LARGEST_FILE = 16_000_000  # bytes; then a new file begins, so that checkpoint sync uploads the old one only once


class TensorBoardWriter:
    """Writes scalars and images for TensorBoard.

    The writer of tensorboardX passes events to a thread and cannot report when they are written. Here they are written
    in order, and are on disk after `sync`.

    Args:
        folder: Folder for the files; created if needed.
        purge_step: TensorBoard hides events of an earlier start from this step on.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._open()
        self._file.write_event(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Write a number."""
        from tensorboardX.summary import scalar

        self._add(scalar(name, value), step)

    def add_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Write an image, uint8 `(height, width, 1 or 3)`."""
        from tensorboardX import summary

        self._add(summary.image(name, image, dataformats="HWC"), step)

    def sync(self) -> None:
        """Write all events to disk."""
        self._file.flush()
        if self._path.stat().st_size > _LARGEST_FILE:
            self._file.close()
            self._open()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, summary: Any, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._file.write_event(Event(summary=summary, step=step, wall_time=time.time()))

    def _open(self) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        # The library names files by the second: without a number, a second file within one second replaces the first.
        before = set(self._folder.iterdir())
        self._file = EventsWriter(str(self._folder / "events"), f".{len(before)}")
        self._path = next(iter(set(self._folder.iterdir()) - before))
