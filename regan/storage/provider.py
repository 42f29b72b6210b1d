"""What each provider of storage offers, and how its failures are told."""

import functools
import importlib
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LOG = logging.getLogger("regan")

CREDENTIALS = "Storage needs credentials. Found none that are valid for {uri}: {error}. {hint}"
PERMISSION = "The credentials must allow to list, read and write {uri}. It refused: {error}. Ask the bucket's owner."
BUCKET = "The bucket must exist. Nothing was found at {uri}: {error}. Check its name."
ANSWER = "The storage at {uri} must answer. It did not: {error}. Check the network and try again."


def told(sentence: str, uri: str, error: object, **rest: str) -> str:
    """One of the sentences above, whose error may end in a full stop of its own."""
    return sentence.format(uri=uri, error=str(error).rstrip(". "), **rest)


class ConflictError(RuntimeError):
    """Another writer changed what lies at the address since it was read."""


class DamageError(ValueError):
    """Bytes that arrived are not those that were stored."""


@dataclass(frozen=True)
class StoredFile:
    """A file in storage.

    Attributes:
        name: Its path below the address, with forward slashes.
        size: Bytes.
        version: Changes when the content does, as far as the provider says.
        modified: When it was written, by the provider's clock, seconds since 1970.
    """

    name: str
    size: int
    version: str
    modified: float = 0.0


@dataclass(frozen=True)
class Patience:
    """How long a request is tried again, with delays drawn between 0 and a bound that doubles (full jitter).

    Attributes:
        seconds: Total time for one request, from its first attempt on.
        first: Bound of the first delay, seconds.
        longest: Bound that no delay exceeds, seconds.
        answer: Time without a byte after which an attempt is given up, seconds.
        attempts: How often a file is moved again whose bytes arrived damaged.
    """

    seconds: float = 120.0
    first: float = 0.5
    longest: float = 20.0
    answer: float = 60.0
    attempts: int = 4

    def delay(self, failures: int) -> float:
        """Seconds to wait after the given number of failures, 1 or more."""
        return random.uniform(0.0, min(self.first * 2.0 ** min(failures - 1, 30), self.longest))


PATIENCE = Patience()


class Store(ABC):
    """Files below one address. A subclass says how its provider lists and moves them.

    Names are paths below the address. Every method raises FileNotFoundError for a missing bucket, PermissionError for
    credentials that are missing or do not suffice, and ConnectionError where storage does not answer in time.

    Attributes:
        uri: The address, as the user gave it.
        workers: Transfers that are worth having at a time.
    """

    workers = 16  # small files wait for the network, not for the processor

    def __init__(self, uri: str, prefix: str, patience: Patience | None = None) -> None:
        self.uri, self.prefix, self.patience = uri, prefix, patience or PATIENCE
        self._start = f"{prefix}/" if prefix else ""

    def files(self, below: str = "") -> Iterator[StoredFile]:
        """The files whose name begins with `below`, without marks of folders."""
        # Providers show a folder that was made by hand as an empty object whose name ends in a slash.
        start = self._start + below
        for file in self._listed(start):
            name = file.name[len(self._start) :]
            if name and not name.endswith("/"):
                yield StoredFile(name, file.size, file.version, file.modified)

    def itself(self) -> StoredFile | None:
        """The one file whose name is the address itself, named by its last part."""
        found = next(self._listed(self.prefix, limit=1), None) if self.prefix else None
        if found is None or found.name != self.prefix:
            return None
        return StoredFile(self.prefix.rpartition("/")[2], found.size, found.version, found.modified)

    def parent(self) -> "Store":
        """The store one folder up, where a file that is the address itself has its last part as a name."""
        return type(self)(self.uri, self.prefix.rpartition("/")[0], self.patience, **self._shared())

    def _shared(self) -> dict[str, object]:
        return {}

    def _key(self, name: str) -> str:
        return self._start + name

    @abstractmethod
    def _listed(self, start: str, limit: int | None = None) -> Iterator[StoredFile]:
        """Files whose whole key begins with `start`; `name` is the whole key."""

    @abstractmethod
    def download(self, file: StoredFile, target: Path, *, checked: bool = True) -> None:
        """Write a file's bytes to a path, checked against the provider's checksum unless the caller knows a better one.

        Raises:
            DamageError: They arrived damaged.
            FileNotFoundError: It is gone.
        """

    @abstractmethod
    def upload(self, source: Path, name: str) -> None:
        """Store a file whole or not at all."""

    @abstractmethod
    def delete(self, file: StoredFile) -> None:
        """Remove a file, unless it is gone or was written anew since it was listed."""

    @abstractmethod
    def read(self, name: str) -> tuple[bytes, str] | None:
        """Bytes of a small file and the mark of this very content; None where there is no such file."""

    @abstractmethod
    def swap(self, name: str, data: bytes, token: str | None) -> str:
        """Replace a small file only if its mark is still `token`, or only if there is none where `token` is None.

        `data` must differ from all that was ever written there, so that a lost reply is told from a conflict.

        Returns:
            The mark of the new content.

        Raises:
            ConflictError: Another content lies there.
        """

    def _conflict(self, name: str) -> ConflictError:
        return ConflictError(
            f"`{name}` at {self.uri} must be as it was last read, so that no writer undoes another's work. "
            "Another writer changed it. Stop one of the two, then start again from what lies there."
        )


@functools.cache
def warn_once(message: str) -> None:
    """Log a warning, once in the life of the process."""
    _LOG.warning("%s", message)


def provider_library(name: str, uri: str) -> Any:
    """A provider's library, imported on first use.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{uri} needs the library {name}. Install it: pip install 'regan[cloud]'.") from error
