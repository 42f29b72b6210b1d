"""The source of a local run: what lies there, and a version that changes with it."""

import fnmatch
import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath

from regan.storage import is_uri, list_files

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".dcm"}


@dataclass(frozen=True)
class Source:
    """Listing of a folder, an archive or an address.

    Attributes:
        uri: Absolute path or address, as prepare_images takes it.
        names: Path of each file below it, or inside the archive.
        version: Hash of names, sizes and times of change; other data have another one.
    """

    uri: str
    names: tuple[str, ...]
    version: str

    @classmethod
    def open(cls, path: str) -> "Source":
        """List a source.

        Args:
            path: Folder, zip archive, or gs:// or s3:// address.

        Raises:
            FileNotFoundError: Nothing lies there.
            OSError: Storage does not answer; see `regan.storage.list_files`.
        """
        uri = path if is_uri(path) else os.path.abspath(os.path.expanduser(path))
        files = list_files(uri)
        listing = "\n".join(f"{file.name}\t{file.size}\t{file.version}" for file in files)
        names = tuple(file.name for file in files)
        if zipfile.is_zipfile(uri):
            with zipfile.ZipFile(uri) as archive:
                names = tuple(archive.namelist())
        return cls(uri, names, hashlib.sha256(listing.encode()).hexdigest()[:16])

    def count(self, label: str, mask_pattern: str) -> int:
        """Number of images of a class, as far as names tell.

        Args:
            label: Name of the folder that holds them.
            mask_pattern: Names of files that are no images of their own.
        """
        paths = [PurePosixPath(name) for name in self.names]
        return sum(
            path.parent.name == label
            and path.suffix.lower() in IMAGE_SUFFIXES
            and not fnmatch.fnmatch(path.name, mask_pattern)
            for path in paths
        )
