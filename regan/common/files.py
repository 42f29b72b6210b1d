"""Local files: hashes, names that stay inside a folder, writing beside and renaming, disks that are full."""

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

from regan.common.progress import Progress
from regan.common.system import sync_to_disk

PARTIAL = ".part-"  # how names begin of what is not whole yet; a process that is killed leaves them behind
_WORTH_TELLING = 10  # files: fewer are there before their progress is read
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(folder: Path, name: str, uri: str) -> Path:
    """The place of a stored name in a folder.

    Raises:
        ValueError: The name could lead out of the folder.
    """
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in name.split("/")):
        raise ValueError(
            f"Names in storage must be plain paths below the address. Received {name!r} at {uri}, which could lead out "
            f"of {folder}. Rename or remove it."
        )
    return folder / name


def files_of(folder: Path, reserved: Iterable[str]) -> dict[str, Path]:
    """The files of a folder to push, by name, without what a killed process of ours left half written.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no files, links, or a file with a reserved name.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"What is pushed must be a folder. Received {folder}, which is none.")
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    paths = {name: path for name, path in found.items() if not is_partial(name)}
    links = [name for name, path in paths.items() if path.is_symlink() or not path.is_file()]
    if links or not paths or set(paths) & set(reserved):
        raise ValueError(
            "A folder to push must hold regular files only, and at least one. Received "
            f"{folder} with {', '.join(links or paths) or 'nothing in it'}."
        )
    return paths


def is_partial(name: str) -> bool:
    """Whether a name is that of something half written."""
    return any(part.startswith(PARTIAL) for part in name.split("/"))


@contextmanager
def atomic_write(path: Path, *, durable: bool = False, single_writer: bool = False) -> Iterator[Path]:
    """Write a file beside `path` and rename it to `path` when the block succeeds, so that it is never half there.

    Args:
        path: The file to write; its folder is made if needed.
        durable: Whether the bytes must be on the disk, to survive a loss of power, before the rename.
        single_writer: Whether no other process writes into this folder. The partial file then has one name, so that
            the next write overwrites what a killed process left.

    Yields:
        The partial file to write; it is removed when the block fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f"{PARTIAL}{'file' if single_writer else uuid.uuid4().hex}"
    try:
        yield partial
        if durable:
            sync_to_disk(partial)
        os.replace(partial, path)
        if durable:
            sync_to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def room_for(folder: Path, size: int) -> Iterator[None]:
    """Says what is needed where a disk is too small, before the work or when it runs full.

    Args:
        folder: Where files are going to be written; need not exist.
        size: Bytes that are going to be written.

    Raises:
        OSError: The disk is full, or would be.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if shutil.disk_usage(there).free < size:
        raise _full(folder, size, there)
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _full(folder, size, there, error.errno) from error


def _full(folder: Path, size: int, there: Path, number: int = errno.ENOSPC) -> OSError:
    free = shutil.disk_usage(there).free
    return OSError(
        number,
        f"The disk must have room for {size:,} bytes in {folder}. It has {free:,} left, or a limit on the size of "
        "files. Make room, or name a folder on a larger disk",
    )


def in_parallel(what: str, do: Callable[[Any], None], jobs: Iterable[Any], workers: int) -> None:
    """Do all jobs, some at a time. After the first failure no other is begun, and it is raised."""
    jobs = list(jobs)
    if not jobs:
        return
    told = Progress(what, total=len(jobs), unit="files") if len(jobs) >= _WORTH_TELLING else nullcontext()
    with told as progress, ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(do, job) for job in jobs]
        try:
            for future in as_completed(waiting):
                future.result()
                if progress:
                    progress.advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
