"""The interface of a storage provider, its retry policy, and the messages of its errors."""

import functools
import importlib
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regan.common.errors import (
    ConflictError,
    MissingLibraryError,
    NoFilesError,
    StorageAccessError,
    StorageUnavailableError,
)

_LOG = logging.getLogger("regan")


def no_credentials(uri: str, error: object, hint: str) -> StorageAccessError:
    """The error for credentials that are missing or have expired."""
    return StorageAccessError(f"No valid credentials for {uri}: {_without_stop(error)}. {hint}")


def no_permission(uri: str, error: object) -> StorageAccessError:
    """The error for credentials that do not suffice."""
    return StorageAccessError(
        f"Permission denied at {uri}: {_without_stop(error)}. The credentials must allow to list, read, write and "
        "delete there; ask the owner of the bucket."
    )


def no_bucket(uri: str, error: object) -> NoFilesError:
    """The error for a bucket that does not exist."""
    return NoFilesError(f"Bucket not found at {uri}: {_without_stop(error)}. Check its name.")


def unavailable(uri: str, error: object) -> StorageUnavailableError:
    """The error for storage that cannot be reached, or responds with a failure."""
    return StorageUnavailableError(
        f"Storage at {uri} is unavailable: {_without_stop(error)}. Check the network and try again."
    )


def _without_stop(error: object) -> str:
    return str(error).rstrip(". ")


@dataclass(frozen=True)
class StoredFile:
    """A file in storage.

    Attributes:
        name: Its path below the URI, with forward slashes.
        size: Bytes.
        version: Changes with the content, as far as the provider reports that.
        modified: When it was written, by the provider's clock, seconds since 1970.
    """

    name: str
    size: int
    version: str
    modified: float = 0.0


@dataclass(frozen=True)
class RetryPolicy:
    """How long a request is retried, with exponential backoff and full jitter.

    A delay is drawn between 0 and a bound that doubles with each failure, so that many clients that failed together do
    not return together.

    Attributes:
        seconds: Total time for one request, from its first attempt on.
        first: Bound of the first delay, seconds.
        longest: Largest bound of a delay, seconds.
        answer: Time without a byte after which an attempt is abandoned, seconds.
        attempts: How often a file is transferred again whose bytes arrived corrupt.

    References:
        Brooker, Exponential backoff and jitter, AWS Architecture Blog (2015).
    """

    # Two minutes, to outlast the restart of a storage server.
    seconds: float = 120.0
    first: float = 0.5
    longest: float = 20.0
    answer: float = 60.0
    attempts: int = 4

    def delay(self, failures: int) -> float:
        """Seconds to wait after the given number of failures, 1 or more."""
        # 2 ** 30 is far above `longest` already, and larger powers would overflow.
        return random.uniform(0.0, min(self.first * 2.0 ** min(failures - 1, 30), self.longest))


RETRY_POLICY = RetryPolicy()


class ObjectStore(ABC):
    """Files below one URI. A subclass lists and transfers them with the client library of its provider.

    Names are paths below the URI. Every method raises NoFilesError for a missing bucket, StorageAccessError for
    credentials that are missing or do not suffice, and StorageUnavailableError if storage does not respond in time.

    Attributes:
        uri: The URI, as the user gave it.
        workers: Number of parallel transfers.
    """

    workers = 16  # more than there are cores: small files wait for the network, not for the processor

    def __init__(self, uri: str, prefix: str, retry: RetryPolicy | None = None) -> None:
        self.uri, self.prefix, self.retry = uri, prefix, retry or RETRY_POLICY
        self._start = f"{prefix}/" if prefix else ""

    def files(self, below: str = "") -> Iterator[StoredFile]:
        """The files whose name begins with `below`, without placeholders of folders."""
        # The consoles of the providers make a folder as an empty object whose name ends in a slash.
        start = self._start + below
        for file in self._list(start):
            name = file.name[len(self._start) :]
            if name and not name.endswith("/"):
                yield StoredFile(name, file.size, file.version, file.modified)

    def single_file(self) -> StoredFile | None:
        """The file at the URI itself, named by the last part of the URI; None if there is none."""
        found = next(self._list(self.prefix, limit=1), None) if self.prefix else None
        if found is None or found.name != self.prefix:
            return None
        return StoredFile(self.prefix.rpartition("/")[2], found.size, found.version, found.modified)

    def parent(self) -> "ObjectStore":
        """The store one folder up, in which the file at the URI itself has the last part of the URI as its name."""
        return type(self)(self.uri, self.prefix.rpartition("/")[0], self.retry, **self._connection())

    def _connection(self) -> dict[str, object]:
        """Arguments of the constructor by which another store uses the same connection."""
        return {}

    def _key(self, name: str) -> str:
        return self._start + name

    @abstractmethod
    def _list(self, start: str, limit: int | None = None) -> Iterator[StoredFile]:
        """Files whose full key begins with `start`; `name` is the full key."""

    @abstractmethod
    def download(self, file: StoredFile, target: Path, *, checked: bool = True) -> None:
        """Write a file's bytes to a path.

        Args:
            file: The file, as it was listed.
            target: Path to write.
            checked: Whether to compare the provider's checksum; False if the caller compares a stronger one.

        Raises:
            CorruptFileError: The bytes arrived corrupt.
            NoFilesError: The file is gone.
        """

    @abstractmethod
    def upload(self, source: Path, name: str) -> None:
        """ObjectStore a file completely or not at all."""

    @abstractmethod
    def delete(self, file: StoredFile) -> None:
        """Remove a file, unless it is gone or was overwritten since it was listed."""

    @abstractmethod
    def read(self, name: str) -> tuple[bytes, str] | None:
        """Bytes of a small file and the token of this content; None if there is no such file."""

    @abstractmethod
    def compare_and_swap(self, name: str, data: bytes, token: str | None) -> str:
        """Replace a small file only if its token is still `token`, or create it only if there is none (None).

        Args:
            name: The file.
            data: New content. It must differ from everything that was ever written there, so that a lost response can
                be told from a conflict.
            token: Token of the content to replace, as `read` or the last swap returned it.

        Returns:
            The token of the new content.

        Raises:
            ConflictError: The file has another content.
        """

    def _conflict(self, name: str) -> ConflictError:
        return ConflictError(
            f"`{name}` at {self.uri} was changed by another writer since it was read. Stop one of the two, then start "
            "again from what is there."
        )


@functools.cache
def warn_once(message: str) -> None:
    """Log a warning once in the life of the process."""
    _LOG.warning("%s", message)


def provider_library(name: str, uri: str) -> Any:
    """A provider's client library, imported on first use.

    Raises:
        MissingLibraryError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingLibraryError(
            f"The library {name} is not installed, and {uri} needs it. Install it: pip install 'regan[cloud]'."
        ) from error
