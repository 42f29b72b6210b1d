"""The listing of a source: names and sizes of its files, and a version that changes with them."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from regan.preparation.sources import SourceFile, choose_classes, list_pictures, open_source
from regan.storage import StoredFile, is_uri, list_files


@dataclass(frozen=True)
class SourceListing:
    """Listing of a folder, an archive or a URI.

    Attributes:
        uri: Absolute path or URI, as prepare_images takes it.
        names: Path of each readable file below it, or inside the archive.
        num_bytes: Bytes of all files.
        version: Hash of names, sizes and modification times; it changes with the data.
    """

    uri: str
    names: tuple[str, ...]
    num_bytes: int
    version: str

    @classmethod
    def open(cls, path: str) -> "SourceListing":
        """List a source.

        Args:
            path: Folder, zip archive, or gs:// or s3:// URI.

        Raises:
            NoFilesError: There are no files at the path or URI.
            SourceError: It is a file, but not a zip archive that can be read.
            OSError: Storage is unavailable; see `regan.storage.list_files`.
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
            Images by class, or None for an archive in object storage, which must be fetched to be opened.

        Raises:
            SourceError: There are not two classes, or not those that were named.
        """
        if is_uri(self.uri) and len(self.names) == 1:
            return None
        candidates, _ = list_pictures(self, mask_pattern)
        classes, labels = choose_classes(candidates, negative_class, positive_class)
        return {name: labels.count(name) for name in classes}


def listing_version(files: Sequence[StoredFile]) -> str:
    """Hash of a listing, 16 hexadecimal digits: the same names, sizes and versions give the same hash."""
    listing = "\n".join(f"{file.name}\t{file.size}\t{file.version}" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()[:16]


def _local_names(path: str) -> tuple[str, ...]:
    with open_source(path) as source:
        return tuple(file.name for file in source.files() if isinstance(file, SourceFile))
