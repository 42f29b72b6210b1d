"""Local files: hashes, names that stay inside a folder, atomic writes, full disks, parallel work."""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from regan.common.errors import DiskFullError, NoFilesError, UnsafeFileError, WrongArtifactError
from regan.common.progress import Progress
from regan.common.system import sync_to_disk

PARTIAL = ".part-"  # prefix of incomplete files and folders; a killed process leaves them behind
_MIN_FILES_FOR_PROGRESS = 10  # fewer files finish before anybody has read a progress line
# Full disk, exhausted quota, and a limit on the size of one file: the user needs the same advice for all three.
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_inside(folder: Path, name: str, uri: str) -> Path:
    """Local path of a stored name below a folder.

    Args:
        folder: Folder to stay in.
        name: Stored name with forward slashes, not trusted.
        uri: Where the name comes from, for the message.

    Raises:
        UnsafeFileError: The name could lead out of the folder.
    """
    # A backslash separates folders on Windows, and a null byte ends a path in C: neither is in a name that we wrote.
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in name.split("/")):
        raise UnsafeFileError(
            f"Unsafe file name {name!r} at {uri}: it could lead out of {folder}. Rename or remove it."
        )
    return folder / name


def files_to_push(folder: Path, reserved: Iterable[str]) -> dict[str, Path]:
    """The files of a folder to push, by name, without the incomplete files that a killed process left.

    Args:
        folder: Folder to push.
        reserved: Names that the folder must not contain, because the push itself writes them.

    Raises:
        NoFilesError: The path is not a directory.
        WrongArtifactError: The folder contains no files, links, or a file with a reserved name.
    """
    if not folder.is_dir():
        raise NoFilesError(f"{folder} is not a directory.")
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    paths = {name: path for name, path in found.items() if not is_partial(name)}
    links = [name for name, path in paths.items() if path.is_symlink() or not path.is_file()]
    if links or not paths or set(paths) & set(reserved):
        raise WrongArtifactError(
            f"{folder} cannot be pushed. Found: {', '.join(links or paths) or 'no files'}. A folder to push contains "
            "regular files only, at least one, and none with a reserved name."
        )
    return paths


def is_partial(name: str) -> bool:
    """Whether a name belongs to an incomplete file."""
    return any(part.startswith(PARTIAL) for part in name.split("/"))


@contextmanager
def atomic_write(path: Path, *, durable: bool = False, single_writer: bool = False) -> Iterator[Path]:
    """Write a temporary file beside `path` and rename it when the block succeeds, so that `path` is never incomplete.

    Args:
        path: The file to write; its folder is made if needed.
        durable: Whether to sync the bytes to disk before the rename, so that they survive a loss of power.
        single_writer: Whether no other process writes into this folder. The partial file then has one name, so that
            the next write overwrites what a killed process left.

    Yields:
        The temporary file to write; it is removed when the block fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f"{PARTIAL}{'file' if single_writer else uuid.uuid4().hex}"
    try:
        yield partial
        if durable:
            sync_to_disk(partial)
        os.replace(partial, path)
        if durable:
            sync_to_disk(path.parent)  # the new name is in the folder, which has a cache of its own
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def disk_space_for(folder: Path, size: int) -> Iterator[None]:
    """Check free disk space before the block, and explain the error if the disk runs full inside it.

    Args:
        folder: Where files will be written; it need not exist.
        size: Bytes that will be written.

    Raises:
        DiskFullError: The disk is full, or would be.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if shutil.disk_usage(existing).free < size:
        raise _disk_full(folder, size, existing)
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL_DISK:
            raise
        raise _disk_full(folder, size, existing, error.errno) from error


def _disk_full(folder: Path, size: int, existing: Path, number: int = errno.ENOSPC) -> DiskFullError:
    free = shutil.disk_usage(existing).free
    return DiskFullError(
        number,
        f"Not enough disk space for {size:,} bytes in {folder}: {free:,} bytes are free, or the size of files is "
        "limited. Free space, or use a folder on a larger disk",
    )


def in_parallel(what: str, do: Callable[[Any], None], jobs: Iterable[Any], workers: int) -> None:
    """Run `do` on all jobs in `workers` threads. After the first error no further job starts, and it is raised.

    Args:
        what: The work, for its progress lines, such as "Push files".
        do: Function of one job.
        jobs: The jobs.
        workers: Number of threads.
    """
    jobs = list(jobs)
    if not jobs:
        return
    reporting = Progress(what, total=len(jobs), unit="files") if len(jobs) >= _MIN_FILES_FOR_PROGRESS else nullcontext()
    with reporting as progress, ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(do, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
                if progress:
                    progress.advance()
        except BaseException:  # an interrupt from the keyboard too
            pool.shutdown(wait=False, cancel_futures=True)
            raise
