"""What Linux, macOS and Windows do differently: locks, writing to the disk, and what does not run on Windows at all."""

import os
import sys
import time
from pathlib import Path

from regan.common.errors import UnsupportedPlatformError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_RETRY_SECONDS = 0.05  # between attempts where the system cannot wait for a lock itself


def require_posix(work: str) -> None:
    """Refuse work that Windows cannot do.

    There an open file, such as the lock in a training's folder, cannot be removed, no process receives SIGTERM, and a
    child process inherits no open file.

    Args:
        work: What was asked for, to begin a sentence with, such as "Training".

    Raises:
        UnsupportedPlatformError: This is Windows.
    """
    if sys.platform == "win32":
        raise UnsupportedPlatformError(
            f"{work} does not run on Windows. Use Linux, macOS, or Linux inside Windows (WSL 2); all other commands "
            "run here."
        )


def try_lock(descriptor: int) -> bool:
    """Lock an open file, unless another process holds its lock.

    The system releases the lock when the file is closed, also when the process is killed. On Linux and macOS a child
    process that inherits the descriptor holds the lock too.

    Args:
        descriptor: Of a file that is open at its start; on Linux and macOS also of a folder.

    Returns:
        Whether this process holds the lock now.

    Raises:
        OSError: The file system has no locks.
    """
    if sys.platform == "win32":
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # one byte is enough, and it need not exist
        except PermissionError:
            return False
    else:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def wait_for_lock(descriptor: int) -> None:
    """Lock an open file as soon as no other process holds its lock; see `try_lock`."""
    if sys.platform == "win32":
        while not try_lock(descriptor):  # LK_LOCK would give up after ten seconds
            time.sleep(_RETRY_SECONDS)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def sync_to_disk(path: Path) -> None:
    """Wait until the bytes of a file, or the names in a folder, are on the disk, to survive a loss of power."""
    if sys.platform == "win32":
        if path.is_dir():
            return  # cannot be opened there; NTFS keeps a journal of its names
        flags = os.O_RDWR  # only a file that is open for writing can be flushed
    else:
        flags = os.O_RDONLY
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
