"""The source of a local run: what lies there, and a version that changes with it."""

import fnmatch
import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

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
        """
        from regan.storage import is_uri, list_files

        if is_uri(path):
            return cls._of(path, [(file.name, file.size, file.version) for file in list_files(path)])
        folder = Path(path).expanduser().absolute()
        if not folder.exists():
            raise FileNotFoundError(
                f"The source must be a folder or an archive with one folder of images for each class. Received {path}, "
                f"which does not exist (looked in {folder.parent})."
            )
        if folder.is_dir():
            files = [(file.relative_to(folder).as_posix(), file) for file in sorted(folder.rglob("*"))]
        else:
            files = [(folder.name, folder)]
        listing = [(name, file.stat().st_size, file.stat().st_mtime_ns) for name, file in files if file.is_file()]
        source = cls._of(str(folder), listing)
        if zipfile.is_zipfile(folder):
            with zipfile.ZipFile(folder) as archive:
                return cls(source.uri, tuple(archive.namelist()), source.version)
        return source

    @classmethod
    def _of(cls, uri: str, listing: Sequence[tuple[str, int, object]]) -> "Source":
        version = hashlib.sha256(repr(listing).encode()).hexdigest()[:16]
        return cls(uri, tuple(name for name, *_ in listing), version)

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
