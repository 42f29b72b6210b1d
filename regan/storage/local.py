"""Storage in a local folder, or on a volume that several machines mount."""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regan.common.files import PARTIAL, atomic_write, is_partial
from regan.common.system import wait_for_lock
from regan.storage.provider import ObjectStore, RetryPolicy, StoredFile


class LocalStore(ObjectStore):
    """Files below a folder."""

    workers = 8  # a disk gains less from parallel transfers than a network

    def __init__(self, uri: str, prefix: str, retry: RetryPolicy | None = None) -> None:
        super().__init__(uri, prefix.rstrip("/"), retry)
        self._start = f"{self.prefix}/"

    def _list(self, start: str, limit: int | None = None) -> Iterator[StoredFile]:
        folder, _, beginning = start.rpartition("/")
        if not beginning:
            paths: Iterator[Path] = Path(folder or "/").rglob("*")
        else:
            paths = (path for path in [Path(start)] if path.is_file())
        for path in paths:
            try:
                found = path.stat()
            except FileNotFoundError:  # another process removed it while we were listing
                continue
            if path.is_file() and not is_partial(path.name):
                yield StoredFile(path.as_posix(), found.st_size, str(found.st_mtime_ns), found.st_mtime)

    def download(self, file: StoredFile, target: Path, *, checked: bool = True) -> None:
        """Implements `ObjectStore.download`; a local file has no checksum to compare."""
        shutil.copyfile(self._key(file.name), target)

    def upload(self, source: Path, name: str) -> None:
        """Implements `ObjectStore.upload`."""
        with atomic_write(Path(self._key(name)), durable=True) as partial:
            shutil.copyfile(source, partial)

    def delete(self, file: StoredFile) -> None:
        """Implements `ObjectStore.delete`."""
        path = Path(self._key(file.name))
        try:
            if str(path.stat().st_mtime_ns) == file.version:
                path.unlink()
        except FileNotFoundError:
            return

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Implements `ObjectStore.read`."""
        try:
            data = Path(self._key(name)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return data, hashlib.sha256(data).hexdigest()

    def compare_and_swap(self, name: str, data: bytes, token: str | None) -> str:
        """Implements `ObjectStore.compare_and_swap` under a lock on the folder; the token is the SHA-256."""
        path = Path(self._key(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.parent):
            found = self.read(name)
            if (found[1] if found else None) != token:
                raise self._conflict(name)
            with atomic_write(path, durable=True) as partial:
                partial.write_bytes(data)
        return hashlib.sha256(data).hexdigest()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    if sys.platform == "win32":  # a folder cannot be opened there
        descriptor = os.open(folder / f"{PARTIAL}lock", os.O_RDWR | os.O_CREAT)
    else:
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        wait_for_lock(descriptor)
        yield
    finally:
        os.close(descriptor)
