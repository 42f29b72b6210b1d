"""Image sets: labelled square images in a few shard archives, read as a stream.

An image set is a folder with `images-00000-of-00008.zip` ... (PNG, stored), `imageset.json` and `index.csv`. Each shard
is also a dataset archive as NVIDIA's tools read it: its `dataset.json` gives every name its class number. A plain
folder `<label>/*.png` is read as an image set too.
"""

import csv
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from regan.artifacts.pixels import encode_png, pixel_hash, read_png, require_size
from regan.common.errors import CorruptFileError, NoFilesError, SettingError, UnsafeFileError, WrongArtifactError
from regan.common.files import file_hash

FORMAT = 1
MANIFEST = "imageset.json"
INDEX = "index.csv"
# Manifests are not trusted: only files with this name, in the same folder, are opened.
_SHARD_NAME = re.compile(r"images-\d{5}-of-\d{5}\.zip")


@dataclass(frozen=True)
class ImageRow:
    """One line of `index.csv`.

    Attributes:
        shard: Archive that contains the image; empty for a plain folder.
        name: Name inside the archive, such as `benign/000017.png`.
        label: Class of the image.
        sha256: `pixel_hash` of the image.
        group: Images of one patient or lesion share a group; empty where unknown.
        source: First 16 hex digits of the SHA-256 of the source file; empty for synthetic images.
        generator: SHA-256 of the generator's weights; empty for real images.
        seed: Latent seed; empty for real images.
        psi: Truncation psi; empty for real images.
    """

    shard: str
    name: str
    label: str
    sha256: str
    group: str = ""
    source: str = ""
    generator: str = ""
    seed: str = ""
    psi: str = ""


@dataclass(frozen=True)
class ImageSet:
    """Labelled square images of one size. Make one with `ImageSet.open`.

    Attributes:
        path: Its folder.
        size: Height and width of every image, pixels.
        channels: 1 (grey) or 3 (RGB).
        classes: Names of the two classes, the positive one last.
        counts: Number of images of each class.
        origin: `real`, `phantom`, `synthetic`, or `folder` for a plain folder.
        settings: Settings that made it.
        rows: One row for each image, in order.
    """

    path: Path
    size: int
    channels: int
    classes: tuple[str, ...]
    counts: dict[str, int]
    origin: str
    settings: dict[str, Any]
    rows: tuple[ImageRow, ...] = field(repr=False)

    @classmethod
    def open(cls, path: str | Path) -> "ImageSet":
        """Read the manifest and the index of an image set, or list a plain folder.

        Raises:
            NoFilesError: There is no such folder.
            WrongArtifactError: It is not an image set, or its images differ in size or channels.
            CorruptFileError: It is incomplete, or its files contradict each other.
            UnsafeFileError: It names files outside its folder.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise NoFilesError(f"{folder} is not a directory. Make an image set with `prepare_images`.")
        return cls._from_manifest(folder) if (folder / MANIFEST).is_file() else cls._from_plain_folder(folder)

    @classmethod
    def _from_manifest(cls, folder: Path) -> "ImageSet":
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest.get("format") != FORMAT:
            raise WrongArtifactError(
                f"`{MANIFEST}` in {folder} has format {manifest.get('format')!r}; this version reads format {FORMAT}. "
                "Use the version of regan that wrote it, or prepare the images again."
            )
        unsafe = [shard for shard in manifest["shards"] if not _SHARD_NAME.fullmatch(shard)]
        if unsafe:
            raise UnsafeFileError(
                f"Unsafe shard names in `{MANIFEST}` of {folder}: {unsafe}. They could lead out of the folder; shards "
                "are named `images-NNNNN-of-NNNNN.zip`. Make the image set again."
            )
        missing = [shard for shard in manifest["shards"] if not (folder / shard).is_file()]
        if missing:
            raise CorruptFileError(
                f"The image set {folder} is incomplete. Missing: {', '.join(missing)}. Fetch it again."
            )
        known = {f.name for f in fields(ImageRow)}  # columns that a later version adds are ignored
        with (folder / INDEX).open(newline="", encoding="utf-8") as file:
            rows = tuple(
                ImageRow(**{key: value for key, value in row.items() if key in known}) for row in csv.DictReader(file)
            )
        if any(row.shard not in manifest["shards"] for row in rows):
            raise UnsafeFileError(
                f"`{INDEX}` in {folder} names a file that is not a shard in `{MANIFEST}`. Make the image set again."
            )
        # Otherwise a truncated index would go unnoticed, because each of its lines is a valid row.
        counts = Counter(row.label for row in rows)
        if counts != Counter({k: v for k, v in manifest["counts"].items() if v}):
            raise CorruptFileError(
                f"`{INDEX}` and `{MANIFEST}` in {folder} count different images: {dict(counts)} and "
                f"{manifest['counts']}. Fetch or make the image set again."
            )
        return cls(
            path=folder,
            size=manifest["size"],
            channels=manifest["channels"],
            classes=tuple(manifest["classes"]),
            counts={label: counts[label] for label in manifest["classes"]},
            origin=manifest["origin"],
            settings=manifest["settings"],
            rows=rows,
        )

    @classmethod
    def _from_plain_folder(cls, folder: Path) -> "ImageSet":
        labels = sorted(p.name for p in folder.iterdir() if p.is_dir() and any(p.glob("*.png")))
        if len(labels) != 2:
            raise WrongArtifactError(
                f"{folder} is not an image set: it contains no `{MANIFEST}`. A plain folder is read too, with one "
                f"subfolder of PNG files for each of two classes; this one has {len(labels)} of them: {labels}. "
                "Make an image set with `prepare_images`."
            )
        rows: list[ImageRow] = []
        shapes: Counter[tuple[int, ...]] = Counter()
        for path in (path for label in labels for path in sorted((folder / label).glob("*.png"))):
            image = read_png(path.read_bytes(), str(path))
            shapes[image.shape] += 1
            rows.append(ImageRow("", path.relative_to(folder).as_posix(), path.parent.name, pixel_hash(image)))
        if len(shapes) > 1:
            raise WrongArtifactError(
                f"The images in {folder} differ in size or number of channels: {dict(shapes)}. Make an image set with "
                "`prepare_images`."
            )
        height, width, channels = next(iter(shapes))
        require_size(height, width)
        counts = Counter(row.label for row in rows)
        return cls(folder, height, channels, tuple(labels), dict(counts), "folder", {}, tuple(rows))

    def __len__(self) -> int:
        return len(self.rows)

    def with_label(self, label: str) -> tuple[ImageRow, ...]:
        """Rows of one class; SettingError if there is no such class."""
        if label not in self.classes:
            raise SettingError(
                f"The image set has no class {label!r}. Set `label` to one of its classes: {', '.join(self.classes)}."
            )
        return tuple(row for row in self.rows if row.label == label)

    def images(self, rows: Iterable[ImageRow] | None = None) -> Iterator[np.ndarray]:
        """Stream images, uint8 `(size, size, channels)`, 0-255, in the order of `rows` (default: all).

        Raises:
            CorruptFileError: An image is corrupt, or differs from its hash in the index.
        """
        return (image for _, image in self._verify(rows))

    def batches(
        self, batch_size: int, rows: Iterable[ImageRow] | None = None
    ) -> Iterator[tuple[np.ndarray, list[ImageRow]]]:
        """Stream images, uint8 `(b, size, size, channels)`, 0-255, with their rows; the last batch may be smaller."""
        chosen = list(self.rows if rows is None else rows)
        stream = self.images(chosen)
        for start in range(0, len(chosen), batch_size):
            part = chosen[start : start + batch_size]
            yield np.stack([next(stream) for _ in part]), part

    def pngs(self, rows: Iterable[ImageRow] | None = None) -> Iterator[bytes]:
        """Stream the PNG files in the order of `rows` (default: all); `Raises` as in `images`."""
        return (png for png, _ in self._verify(rows))

    def training_index(self) -> set[tuple[str, str]]:
        """(pixel hash, group) of the real images behind synthetic ones; empty for real images."""
        from regan.artifacts.model import TRAINING_INDEX, read_training_index

        return read_training_index(self.path) if (self.path / TRAINING_INDEX).is_file() else set()

    def _verify(self, rows: Iterable[ImageRow] | None) -> Iterator[tuple[bytes, np.ndarray]]:
        chosen = list(self.rows if rows is None else rows)
        for row, png in zip(chosen, self._pngs(chosen)):
            image = read_png(png, f"{self.path / row.shard}: {row.name}")
            if image.shape != (self.size, self.size, self.channels) or pixel_hash(image) != row.sha256:
                raise CorruptFileError(
                    f"{row.name} in {self.path} differs from the index: another size, or other pixels. Fetch or make "
                    "the image set again."
                )
            yield png, image

    def _pngs(self, rows: Sequence[ImageRow]) -> Iterator[bytes]:
        # One open archive at a time: opening one reads its directory, and rows usually follow each other in a shard.
        shard, archive = "", None
        try:
            for row in rows:
                if not row.shard:
                    yield (self.path / row.name).read_bytes()
                    continue
                if archive is None or row.shard != shard:
                    if archive is not None:
                        archive.close()
                    shard, archive = row.shard, zipfile.ZipFile(self.path / row.shard)
                yield archive.read(row.name)
        finally:
            if archive is not None:
                archive.close()


class ImageSetWriter:
    """Write an image set into a folder, one image at a time, in constant memory.

    Args:
        folder: An existing folder, such as that of `regan.artifacts.output_folder.atomic_folder`.
        size: Height and width, a power of two from 32 to 1024, pixels.
        channels: 1 or 3.
        classes: The two class names, the positive one last.
        origin: `real`, `phantom` or `synthetic`.
        settings: Settings that made the images; written to the manifest.
        training_index: (pixel hash, group) of the real images behind synthetic ones.
        shard_images: Images in each shard. At most 64 shards are written, so large sets need a larger number.
    """

    MAX_SHARDS = 64  # Kubeflow downloads an input object by object before a step starts

    def __init__(
        self,
        folder: Path,
        *,
        size: int,
        channels: int,
        classes: Sequence[str],
        origin: str,
        settings: dict[str, Any],
        training_index: Iterable[tuple[str, str]] = (),
        shard_images: int = 1000,
    ) -> None:
        require_size(size, size)
        if channels not in (1, 3):
            raise SettingError(f"Unsupported number of channels: {channels}. Set `channels` to 1 (grey) or 3 (RGB).")
        if len(classes) != 2 or len({safe_name(label) for label in classes}) != 2:
            raise SettingError(
                f"Unusable classes: {tuple(classes)}. An image set has two, the positive one last, whose names differ "
                "in their letters and digits."
            )
        self._folder, self._size, self._channels, self._classes = Path(folder), size, channels, tuple(classes)
        self._origin, self._settings, self._training_index = origin, settings, list(training_index)
        self._shard_images = shard_images
        self._rows: list[ImageRow] = []
        self._numbers: Counter[str] = Counter()
        self._shard_labels: list[list[tuple[str, int]]] = []
        self._archive: zipfile.ZipFile | None = None

    def __enter__(self) -> "ImageSetWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, at: object) -> None:
        self._close_shard()
        if kind is None:
            self._finish()

    def add(
        self,
        image: np.ndarray,
        label: str,
        *,
        group: str = "",
        source: str = "",
        generator: str = "",
        seed: str = "",
        psi: str = "",
        png: bytes | None = None,
    ) -> ImageRow:
        """Add one image, uint8 `(size, size, channels)`, 0-255; `png` is the same image if it is encoded already."""
        expected = (self._size, self._size, self._channels)
        if image.dtype != np.uint8 or image.shape != expected:
            raise ValueError(f"Wrong image: expected uint8 {expected}, received {image.dtype} {image.shape}.")
        row = ImageRow("", "", label, pixel_hash(image), group, source, generator, str(seed), str(psi))
        return self.add_png(encode_png(image) if png is None else png, row)

    def add_png(self, png: bytes, row: ImageRow) -> ImageRow:
        """Add an encoded image of another set. It gets a new shard and name; the other fields of `row` stay."""
        if row.label not in self._classes:
            raise ValueError(f"Unknown label {row.label!r}: the image set has the classes {self._classes}.")
        if self._archive is None or len(self._shard_labels[-1]) >= self._shard_images:
            self._open_shard()
        name = f"{safe_name(row.label)}/{self._numbers[row.label]:06d}.png"
        self._numbers[row.label] += 1
        self._write(name, png)
        self._shard_labels[-1].append((name, self._classes.index(row.label)))
        added = ImageRow(**(asdict(row) | {"shard": str(len(self._shard_labels) - 1), "name": name}))
        self._rows.append(added)
        return added

    def _write(self, name: str, data: bytes) -> None:
        # A fixed date, so that the same images give the same bytes; 1980 is the first year that a zip file can hold.
        archive = self._archive
        if archive is None:
            raise RuntimeError("The writer is not open. Use it in a `with` block.")
        entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        entry.create_system = 3  # Unix, also on Windows: the same images give the same bytes
        archive.writestr(entry, data)

    def _open_shard(self) -> None:
        self._close_shard()
        if len(self._shard_labels) == self.MAX_SHARDS:
            raise ValueError(
                f"Too many shards: more than {self.MAX_SHARDS * self._shard_images} images with "
                f"shard_images={self._shard_images}, and an image set has at most {self.MAX_SHARDS} shards. Raise "
                "`shard_images`."
            )
        path = self._folder / f".shard-{len(self._shard_labels):05d}"
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
        self._shard_labels.append([])

    def _close_shard(self) -> None:
        if self._archive is not None:
            labels = json.dumps({"labels": self._shard_labels[-1]})
            self._write("dataset.json", labels.encode())
            self._archive.close()
            self._archive = None

    def _finish(self) -> None:
        # Names say how many shards there are, which is known only now.
        total = len(self._shard_labels)
        names = [f"images-{number:05d}-of-{total:05d}.zip" for number in range(total)]
        for number, name in enumerate(names):
            (self._folder / f".shard-{number:05d}").rename(self._folder / name)
        with (self._folder / INDEX).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(ImageRow)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) | {"shard": names[int(row.shard)]} for row in self._rows)
        if self._training_index:
            from regan.artifacts.model import write_training_index

            write_training_index(self._folder, self._training_index)
        manifest = {
            "format": FORMAT,
            "size": self._size,
            "channels": self._channels,
            "classes": list(self._classes),
            "counts": {label: self._numbers[label] for label in self._classes},
            "shards": {name: file_hash(self._folder / name) for name in names},
            "origin": self._origin,
            "settings": self._settings,
        }
        # The manifest comes last: a folder that contains it is complete.
        (self._folder / MANIFEST).write_text(
            json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
        )


def safe_name(label: str) -> str:
    """Folder name of a class: letters, digits, `-` and `_` only, so that it cannot lead out of a folder."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in label) or "_"
