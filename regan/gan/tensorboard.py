"""TensorBoard files that are on disk when their writer says so."""

import time
from pathlib import Path
from typing import Any

import numpy as np

_LARGEST_FILE = 16_000_000  # bytes; a file beyond is ended, so that storage takes it once and not again


class Board:
    """Writes scalars and pictures for TensorBoard.

    The writer of tensorboardX hands events to a thread and cannot say when they are written; here they are in order,
    and on disk after `sync`.

    Args:
        folder: Where to; made if needed.
        purge_step: What an earlier start wrote from this step on is not shown.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._open()
        self._file.write_event(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Show a number."""
        from tensorboardX.summary import scalar

        self._add(scalar(name, value), step)

    def add_picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Show a picture, uint8 `(height, width, 1 or 3)`."""
        from tensorboardX.summary import image

        self._add(image(name, picture, dataformats="HWC"), step)

    def sync(self) -> None:
        """Write all to disk."""
        self._file.flush()
        if self._path.stat().st_size > _LARGEST_FILE:
            self._file.close()
            self._open()

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _add(self, summary: Any, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._file.write_event(Event(summary=summary, step=step, wall_time=time.time()))

    def _open(self) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        # The library names files by the second: without a number, the second one of a second would erase the first.
        before = set(self._folder.iterdir())
        self._file = EventsWriter(str(self._folder / "events"), f".{len(before)}")
        self._path = next(iter(set(self._folder.iterdir()) - before))
