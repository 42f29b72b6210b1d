"""Files of a source: a folder or a zip archive, neither of which is trusted.

Nothing is unpacked to disk, links are not followed out of the source, and files that are not used are listed with the
reason.
"""

import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Protocol

from regan.artifacts.image_set import safe_name
from regan.common.errors import NoFilesError, SourceError
from regan.common.text import printable
from regan.preparation.decoding import MAX_FILE_BYTES, RefusedFile

SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Refusal:
    """A file that is not used.

    Attributes:
        file: Its name in the source, with `?` for characters that cannot be printed.
        reason: Why, in a few fixed words, so that files can be counted by reason.
        detail: What was found in this file.
    """

    file: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class SourceFile:
    """A file of the source that may be a picture.

    Attributes:
        name: Its path within the source, with forward slashes.
        place: Its local path, or its entry in the archive.
    """

    name: str
    place: Path | zipfile.ZipInfo

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of its parent folders, the nearest first."""
        return PurePosixPath(self.name).parent.parts[::-1]


class Listing(Protocol):
    """Names of a collection of files."""

    def files(self) -> Iterator[SourceFile | Refusal]:
        """Every file, sorted by name; a refusal for each file that must not be read."""


class Source(Listing, Protocol):
    """A collection of files that are read one at a time."""

    def read(self, file: SourceFile) -> bytes:
        """All bytes of a file; RefusedFile if it cannot be read."""


@contextmanager
def open_source(path: str | Path) -> Iterator[Source]:
    """Open a folder or a zip archive.

    Raises:
        NoFilesError: The path does not exist.
        SourceError: It is neither a folder nor a zip archive that can be read.
    """
    place = Path(path)
    if place.is_dir():
        yield _Folder(place.resolve())
        return
    if not place.exists():
        raise NoFilesError(f"No files found at {place}: there is no such folder or archive. Check the path.")
    if not zipfile.is_zipfile(place):
        raise SourceError(f"{place} is neither a folder nor a zip archive. Unpack it, and use the folder as `source`.")
    try:
        archive = zipfile.ZipFile(place)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise SourceError(f"The zip archive {place} is corrupt: {error}. Pack or download it again.") from error
    with archive:
        yield _Archive(archive)


def list_pictures(source: Listing, mask_pattern: str) -> tuple[list[SourceFile], list[Refusal]]:
    """Separate the files of a source that may be pictures from those that are not used.

    Args:
        source: The source.
        mask_pattern: Shell pattern of the names (without folders) of lesion masks; case does not matter. Empty: none.

    Returns:
        The candidates, and refusals of the others.
    """
    candidates: list[SourceFile] = []
    refused: list[Refusal] = []
    for file in source.files():
        if isinstance(file, Refusal):
            refused.append(file)
        elif reason := _reason_to_skip(PurePosixPath(file.name), mask_pattern):
            refused.append(Refusal(printable(file.name), reason))
        else:
            candidates.append(file)
    return candidates, refused


def choose_classes(
    candidates: Sequence[SourceFile], negative_class: str, positive_class: str
) -> tuple[tuple[str, str], list[str | None]]:
    """Take each picture's class from its parent folders.

    Without names, the class of a picture is its nearest folder; there must be two, and the last one in the alphabet is
    positive. With names, the nearest folder with one of them counts.

    Args:
        candidates: Pictures of the source.
        negative_class: Folder name of the class without the finding, or empty.
        positive_class: Folder name of the class with the finding, or empty.

    Returns:
        `(negative, positive)`, and the class of each candidate, None if it has neither.

    Raises:
        SourceError: There are no pictures, not two classes, or not those that were named.
    """
    found = Counter(file.folders[0] for file in candidates if file.folders)
    named = [name for name in (negative_class, positive_class) if name]
    if not candidates:
        raise SourceError(
            "The source contains no PNG or JPEG files. It needs a folder for each class, such as `benign/1.png` and "
            "`malignant/1.png`. Check the path, and `mask_pattern` if it matches every file."
        )
    if len(named) == 2:
        classes = (negative_class, positive_class)
    else:
        classes = _two_classes(found, negative_class, positive_class)
    labels = [next((folder for folder in file.folders if folder in classes), None) for file in candidates]
    _check_classes(classes, labels, found)
    return classes, labels


def _two_classes(found: Counter[str], negative_class: str, positive_class: str) -> tuple[str, str]:
    names = sorted(found)
    if len(names) != 2 or not {negative_class, positive_class} <= {*names, ""}:
        raise SourceError(
            f"The two classes are not clear. Found {_list_classes(found)}. Received negative_class={negative_class!r}, "
            f"positive_class={positive_class!r}. "
            + (
                "Choose two of these by negative_class and positive_class, the finding (command line: "
                "--negative_class <negative> --positive_class <positive>; make demo: CLASSES=<negative>,<positive>)."
                if len(names) > 1
                else "Put the images of each class into a folder of its own, such as `benign` and `malignant`."
            )
        )
    if negative_class:
        return negative_class, next(name for name in names if name != negative_class)
    positive = positive_class or names[-1]
    return next(name for name in names if name != positive), positive


def _check_classes(classes: tuple[str, str], labels: list[str | None], found: Counter[str]) -> None:
    negative, positive = classes
    if safe_name(negative) == safe_name(positive):
        raise SourceError(
            f"`negative_class` and `positive_class` do not differ in their letters and digits: {negative!r} and "
            f"{positive!r}. Choose two different folders."
        )
    missing = [name for name in classes if name not in labels]
    if missing:
        raise SourceError(
            f"No PNG or JPEG files in {' or '.join(map(repr, missing))}. Found {_list_classes(found)}. Set "
            "`negative_class` and `positive_class` to two of these."
        )


def _list_classes(found: Counter[str]) -> str:
    if not found:
        return "no class folders, only files"
    listed = ", ".join(f"{printable(name)} ({count:,} files)" for name, count in sorted(found.items())[:20])
    return listed + (f" and {len(found) - 20} more" if len(found) > 20 else "")


def _reason_to_skip(name: PurePosixPath, mask_pattern: str) -> str:
    if any(part.startswith(".") or part == "__MACOSX" for part in name.parts):
        return "hidden file"
    if name.suffix.lower() not in SUFFIXES:
        return "not an image file by its name"
    if mask_pattern and fnmatchcase(name.name.lower(), mask_pattern.lower()):
        return "mask"
    return ""


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def files(self) -> Iterator[SourceFile | Refusal]:
        for folder, subfolders, names in os.walk(self._root, onerror=_raise_unreadable):
            subfolders.sort()
            for name in sorted([*names, *self._folder_links(folder, subfolders)]):
                yield self._file(Path(folder) / name)

    def read(self, file: SourceFile) -> bytes:
        try:
            with open(Path(str(file.place)), "rb") as opened:
                return _limit(opened.read(MAX_FILE_BYTES + 1))  # never more, whatever the size field says
        except OSError as error:
            raise RefusedFile("unreadable", error.strerror or str(error)) from error

    @staticmethod
    def _folder_links(folder: str, subfolders: list[str]) -> list[str]:
        return [name for name in subfolders if os.path.islink(os.path.join(folder, name))]

    def _file(self, path: Path) -> SourceFile | Refusal:
        name = path.relative_to(self._root).as_posix()
        try:
            target = path.resolve(strict=True)
            kind = target.stat().st_mode
        except (OSError, RuntimeError) as error:
            return Refusal(printable(name), "unreadable", str(error))
        if path.is_symlink() and not target.is_relative_to(self._root):
            return Refusal(printable(name), "link out of the source", "copy the file itself")
        if stat.S_ISDIR(kind):
            return Refusal(printable(name), "link to a folder", "use the folder itself")
        if not stat.S_ISREG(kind):
            return Refusal(printable(name), "not a regular file")
        return SourceFile(name, path)


class _Archive:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def files(self) -> Iterator[SourceFile | Refusal]:
        seen: set[str] = set()
        for entry in sorted(self._archive.infolist(), key=lambda entry: entry.filename):
            if entry.filename.endswith("/"):
                continue
            name = entry.filename.replace("\\", "/")  # as some programs on Windows write them
            reason, detail = self._reason_to_refuse(entry, name, seen)
            seen.add(name)
            yield Refusal(printable(name), reason, detail) if reason else SourceFile(name, entry)

    def read(self, file: SourceFile) -> bytes:
        if not isinstance(file.place, zipfile.ZipInfo):
            raise TypeError(f"{file} is not a file of this archive.")
        try:
            with self._archive.open(file.place) as opened:
                return _limit(opened.read(MAX_FILE_BYTES + 1))
        except RefusedFile:
            raise
        except Exception as error:  # a hostile archive raises errors of many kinds; all mean the same
            raise RefusedFile("corrupt", f"in the archive: {type(error).__name__}: {error}") from error

    @staticmethod
    def _reason_to_refuse(entry: zipfile.ZipInfo, name: str, seen: set[str]) -> tuple[str, str]:
        """Reason and detail for not reading an entry; empty if there is none."""
        parts = name.split("/")
        if name.startswith("/") or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
            return "unsafe name", "it would lead out of the archive"
        if stat.S_ISLNK(entry.external_attr >> 16):
            return "link in an archive", ""
        if entry.flag_bits & 0x1:
            return "encrypted", "unpack it with its password first"
        if entry.file_size > MAX_FILE_BYTES:
            return "too large", f"{entry.file_size:,} bytes; the limit is {MAX_FILE_BYTES:,}"
        if name in seen:
            return "duplicate name", "the first one counts"
        return "", ""


def _limit(data: bytes) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise RefusedFile("too large", f"more than {MAX_FILE_BYTES:,} bytes")
    return data


def _raise_unreadable(error: OSError) -> None:
    raise SourceError(
        f"{error.filename} cannot be read: {error.strerror}. Change its permissions, or remove it from the source."
    ) from error
