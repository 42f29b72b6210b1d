"""Inspection, the first pass over a source: hashes and groups of its pictures, and the files that are not used."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from regan.artifacts.pixels import pixel_hash
from regan.common.errors import FilesChangedError, SourceError
from regan.common.progress import Progress
from regan.common.text import printable
from regan.preparation.decoding import RefusedFile, decode, resize_with_pad
from regan.preparation.duplicates import from_hex, group_duplicates, perceptual_hash, to_hex
from regan.preparation.phantom import MARKER
from regan.preparation.sources import Refusal, Source, SourceFile, choose_classes, list_pictures
from regan.preparation.split import TEST, TRAIN, VALIDATION


@dataclass(frozen=True)
class InspectedImage:
    """A usable picture.

    Attributes:
        file: The file.
        label: Its class.
        source: First 16 hex digits of the SHA-256 of the file's bytes.
        sha256: `pixel_hash` of the prepared image.
        enlarged: Whether the picture is smaller than the prepared image.
        picture: `pixel_hash` of the picture in grey at its original size: independent of `size` and `channels`.
        perceptual_hash: `regan.preparation.duplicates.perceptual_hash` as 128 hex digits.
        group: Name of its group of copies and near duplicates, derived from the files' bytes.
    """

    file: SourceFile
    label: str
    source: str
    sha256: str
    enlarged: bool
    picture: str
    perceptual_hash: str
    group: str = ""


@dataclass(frozen=True)
class Inspection:
    """Content of a source.

    Attributes:
        classes: `(negative, positive)`.
        images: Usable pictures, in an order that depends on their bytes and not on their names.
        refused: Files that are not used.
        mixed_groups: Groups with pictures of both classes.
        num_duplicates: Number of exact copies, not counting the first file of each picture.
        num_label_conflicts: Pictures that are in both classes.
        is_phantom: Whether a marker in the source says that its pictures are simulated.
    """

    classes: tuple[str, str]
    images: tuple[InspectedImage, ...]
    refused: tuple[Refusal, ...]
    mixed_groups: frozenset[str]
    num_duplicates: int
    num_label_conflicts: int
    is_phantom: bool


def inspect_source(
    source: Source, *, negative_class: str, positive_class: str, mask_pattern: str, size: int, channels: int
) -> Inspection:
    """Read every picture of a source once, and keep its hashes only: memory does not grow with the pixels.

    Args:
        source: The collection.
        negative_class: See `choose_classes`.
        positive_class: See `choose_classes`.
        mask_pattern: See `list_pictures`.
        size: Height and width of the prepared images, pixels.
        channels: 1 for grey, 3 for RGB.

    Raises:
        SourceError: There are not two classes, or no picture of a class is usable.
    """
    candidates, refused = list_pictures(source, mask_pattern)
    # The marker of a phantom is refused as "not an image file", but it belongs there: it is not reported.
    markers = [refusal for refusal in refused if PurePosixPath(refusal.file).name == MARKER]
    refused = [refusal for refusal in refused if refusal not in markers]
    classes, labels = choose_classes(candidates, negative_class, positive_class)
    images: list[InspectedImage] = []
    with Progress("Read pictures", total=len(candidates), unit="files") as progress:
        for file, label in zip(candidates, labels):
            try:
                images.append(_inspect_file(source, file, label, size, channels))
            except RefusedFile as refusal:
                refused.append(Refusal(printable(file.name), refusal.reason, refusal.detail))
            progress.advance()
    _require_usable(classes, images, refused)
    grouped = _assign_groups(images)
    kept, conflicts = _remove_conflicts(grouped)
    _require_usable(classes, kept, [*refused, *conflicts])
    return Inspection(
        classes=classes,
        # By content first, so that renaming files does not change the split.
        images=tuple(sorted(kept, key=lambda image: (image.source, image.file.name))),
        refused=(*refused, *conflicts),
        mixed_groups=_mixed_groups(grouped),
        num_duplicates=len(kept) - len({image.sha256 for image in kept}),
        num_label_conflicts=len({image.sha256 for image in grouped} - {image.sha256 for image in kept}),
        # Only if every picture is below a marker: one phantom folder among real ones does not make a phantom.
        is_phantom=any(_all_below(PurePosixPath(marker.file).parent, candidates) for marker in markers),
    )


def prepared_image(source: Source, image: InspectedImage, *, size: int, channels: int) -> np.ndarray:
    """Read an inspected picture again.

    Args:
        source: The source that was inspected.
        image: The picture.
        size: Height and width of the prepared image, pixels.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 `(size, size, channels)`, 0-255.

    Raises:
        FilesChangedError: The file has changed since the inspection.
    """
    try:
        prepared = resize_with_pad(decode(source.read(image.file), channels), size)
    except RefusedFile as error:
        raise FilesChangedError(_CHANGED.format(file=printable(image.file.name), change=error)) from error
    if pixel_hash(prepared) != image.sha256:
        raise FilesChangedError(_CHANGED.format(file=printable(image.file.name), change="it contains another picture"))
    return prepared


def split_table(inspection: Inspection, sides: Sequence[str]) -> list[dict[str, Any]]:
    """Numbers of images and groups, a row for each set and class."""
    rows = []
    for name in (TRAIN, VALIDATION, TEST):
        for label in inspection.classes:
            groups = [i.group for i, side in zip(inspection.images, sides) if (side, i.label) == (name, label)]
            rows.append({"set": name, "class": label, "images": len(groups), "groups": len(set(groups))})
    return rows


def group_table(inspection: Inspection, sides: Sequence[str]) -> list[dict[str, Any]]:
    """The files of every group that has more than one, for visual inspection."""
    sizes = Counter(image.group for image in inspection.images)
    rows = [
        {"group": image.group, "class": image.label, "set": side, "file": printable(image.file.name)}
        for image, side in zip(inspection.images, sides)
        if sizes[image.group] > 1
    ]
    return sorted(rows, key=lambda row: (row["group"], row["file"]))


_CHANGED = (
    "{file} changed while the source was being read: {change}. Prepare the images again when nothing writes to it."
)


def _inspect_file(source: Source, file: SourceFile, label: str | None, size: int, channels: int) -> InspectedImage:
    if label is None:
        raise RefusedFile("unwanted class", file.folders[0]) if file.folders else RefusedFile("no class folder")
    data = source.read(file)
    picture: Image.Image = decode(data, channels)
    return InspectedImage(
        file=file,
        label=label,
        source=hashlib.sha256(data).hexdigest()[:16],
        sha256=pixel_hash(resize_with_pad(picture, size)),
        enlarged=max(picture.size) < size,
        picture=pixel_hash(np.asarray(picture.convert("L"))[..., np.newaxis]),
        perceptual_hash=to_hex(perceptual_hash(picture)),
    )


def _assign_groups(images: Sequence[InspectedImage]) -> list[InspectedImage]:
    """The images with their groups, named by the smallest hash of a member: file names may identify patients."""
    hashes = from_hex([image.perceptual_hash for image in images])
    leaders = group_duplicates([image.sha256 for image in images], hashes)
    smallest: dict[int, str] = {}
    for image, leader in zip(images, leaders.tolist()):
        smallest[leader] = min(image.source, smallest.get(leader, image.source))
    return [replace(image, group=f"g{smallest[leader]}") for image, leader in zip(images, leaders.tolist())]


def _remove_conflicts(images: Sequence[InspectedImage]) -> tuple[list[InspectedImage], list[Refusal]]:
    """Refuse every copy of a picture that is in both classes: its correct label is unknown."""
    copies: defaultdict[str, list[InspectedImage]] = defaultdict(list)
    for image in images:
        copies[image.sha256].append(image)
    kept: list[InspectedImage] = []
    refused: list[Refusal] = []
    for image in images:
        others = [other for other in copies[image.sha256] if other.label != image.label]
        if others:
            names = ", ".join(printable(other.file.name) for other in others)
            refused.append(Refusal(printable(image.file.name), "label conflict", f"the same picture as {names}"))
        else:
            kept.append(image)
    return kept, refused


def _mixed_groups(images: Sequence[InspectedImage]) -> frozenset[str]:
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        labels[image.group].add(image.label)
    return frozenset(group for group, own in labels.items() if len(own) > 1)


def _all_below(folder: PurePosixPath, files: Sequence[SourceFile]) -> bool:
    return all(folder in PurePosixPath(file.name).parents for file in files)


def _require_usable(classes: tuple[str, str], images: Sequence[InspectedImage], refused: Sequence[Refusal]) -> None:
    empty = [label for label in classes if all(image.label != label for image in images)]
    if empty:
        listed = "; ".join(f"{refusal.file} ({refusal.reason})" for refusal in refused[:5])
        raise SourceError(
            f"No usable PNG or JPEG pictures in {' and '.join(map(repr, empty))}. {len(refused):,} files were refused, "
            f"such as {listed}. Replace these files, or set other classes."
        )
