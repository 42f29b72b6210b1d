"""The listing of a source: what lies there, and a version that changes with it."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from regan.preparation.sources import SourceFile, choose_classes, list_pictures, open_source
from regan.storage import StoredFile, is_uri, list_files


@dataclass(frozen=True)
class SourceListing:
    """Listing of a folder, an archive or an address.

    Attributes:
        uri: Absolute path or address, as prepare_images takes it.
        names: Path of each file below it, or inside the archive, that may be read.
        num_bytes: Bytes of all files.
        version: Hash of names, sizes and times of change; other data have another one.
    """

    uri: str
    names: tuple[str, ...]
    num_bytes: int
    version: str

    @classmethod
    def open(cls, path: str) -> "SourceListing":
        """List a source.

        Args:
            path: Folder, zip archive, or gs:// or s3:// address.

        Raises:
            FileNotFoundError: Nothing lies there.
            ValueError: It is a file, but no zip archive that can be read.
            OSError: Storage does not answer; see `regan.storage.list_files`.
        """
        uri = path if is_uri(path) else os.path.abspath(os.path.expanduser(path))
        names = () if is_uri(uri) else _local_names(uri)
        files = list_files(uri)
        names = names or tuple(file.name for file in files)
        return cls(uri, names, sum(file.size for file in files), listing_version(files))

    def files(self) -> Iterator[SourceFile]:
        """The files by name, as `regan.preparation.sources` takes them."""
        return (SourceFile(name, Path(name)) for name in self.names)

    def counts(self, negative_class: str, positive_class: str, mask_pattern: str) -> dict[str, int] | None:
        """Number of images of each class that prepare_images would read.

        Args:
            negative_class: See `regan.preparation.sources.choose_classes`.
            positive_class: See `regan.preparation.sources.choose_classes`.
            mask_pattern: See `regan.preparation.sources.list_pictures`.

        Returns:
            Images by class, or None where the source is an archive at an address, which only its fetching opens.

        Raises:
            ValueError: There are not two classes, or not those that were named.
        """
        if is_uri(self.uri) and len(self.names) == 1:
            return None
        candidates, _ = list_pictures(self, mask_pattern)
        classes, labels = choose_classes(candidates, negative_class, positive_class)
        return {name: labels.count(name) for name in classes}


def listing_version(files: Sequence[StoredFile]) -> str:
    """Hash of a listing, 16 hexadecimal digits: the same names, sizes and versions give the same."""
    listing = "\n".join(f"{file.name}\t{file.size}\t{file.version}" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()[:16]


def _local_names(path: str) -> tuple[str, ...]:
    with open_source(path) as source:
        return tuple(file.name for file in source.files() if isinstance(file, SourceFile))
