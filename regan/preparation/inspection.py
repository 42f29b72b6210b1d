"""The first pass over a source: what each file shows, what it resembles, and what is not taken."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from regan.artifacts.pixels import pixel_hash
from regan.common.progress import Progress
from regan.common.text import printable
from regan.preparation.decoding import RefusedFile, decode, to_square
from regan.preparation.duplicates import fingerprint, from_hex, group_duplicates, to_hex
from regan.preparation.phantom import MARKER
from regan.preparation.sources import Refusal, Source, SourceFile, choose_classes, list_pictures
from regan.preparation.split import TEST, TRAIN, VALIDATION


@dataclass(frozen=True)
class SurveyedImage:
    """A usable picture.

    Attributes:
        file: Where it lies.
        label: Its class.
        source: First 16 hex digits of the SHA-256 of the file's bytes.
        sha256: `pixel_hash` of the prepared image.
        enlarged: Whether the picture is smaller than the prepared image.
        picture: `pixel_hash` of the picture in grey at its own size, whatever `size` and `channels` are.
        fingerprint: `regan.preparation.duplicates.fingerprint` as 128 hex digits.
        group: Same for pictures that are copies or near duplicates, made from the files' bytes.
    """

    file: SourceFile
    label: str
    source: str
    sha256: str
    enlarged: bool
    picture: str
    fingerprint: str
    group: str = ""


@dataclass(frozen=True)
class Survey:
    """What a source holds.

    Attributes:
        classes: `(negative, positive)`.
        images: Usable pictures, in an order that depends on their bytes and not on their names.
        refused: Files that are not taken.
        mixed_groups: Groups with pictures of both classes.
        num_duplicates: Files whose picture another file has too, the first of each picture not counted.
        num_label_conflicts: Pictures that lie in both classes.
        is_phantom: Whether the source says that its pictures are simulated.
    """

    classes: tuple[str, str]
    images: tuple[SurveyedImage, ...]
    refused: tuple[Refusal, ...]
    mixed_groups: frozenset[str]
    num_duplicates: int
    num_label_conflicts: int
    is_phantom: bool


def survey(
    source: Source, *, negative_class: str, positive_class: str, mask_pattern: str, size: int, channels: int
) -> Survey:
    """Read every picture of a source once, and keep its hashes only.

    Args:
        source: The collection.
        negative_class: See `choose_classes`.
        positive_class: See `choose_classes`.
        mask_pattern: See `list_pictures`.
        size: Height and width of the prepared images, pixels.
        channels: 1 for grey, 3 for RGB.

    Raises:
        ValueError: There are not two classes, or no picture of a class is usable.
    """
    candidates, refused = list_pictures(source, mask_pattern)
    markers = [refusal for refusal in refused if PurePosixPath(refusal.file).name == MARKER]
    refused = [refusal for refusal in refused if refusal not in markers]
    classes, labels = choose_classes(candidates, negative_class, positive_class)
    images: list[SurveyedImage] = []
    with Progress("Read pictures", total=len(candidates), unit="files") as progress:
        for file, label in zip(candidates, labels):
            try:
                images.append(_seen(source, file, label, size, channels))
            except RefusedFile as refusal:
                refused.append(Refusal(printable(file.name), refusal.reason, refusal.detail))
            progress.advance()
    _require_usable(classes, images, refused)
    grouped = _grouped(images)
    kept, conflicts = _without_conflicts(grouped)
    _require_usable(classes, kept, [*refused, *conflicts])
    return Survey(
        classes=classes,
        images=tuple(sorted(kept, key=lambda image: (image.source, image.file.name))),
        refused=(*refused, *conflicts),
        mixed_groups=_mixed(grouped),
        num_duplicates=len(kept) - len({image.sha256 for image in kept}),
        num_label_conflicts=len({image.sha256 for image in grouped} - {image.sha256 for image in kept}),
        is_phantom=any(_all_below(PurePosixPath(marker.file).parent, candidates) for marker in markers),
    )


def prepared_image(source: Source, image: SurveyedImage, *, size: int, channels: int) -> np.ndarray:
    """Read a surveyed picture again, uint8 `(size, size, channels)`.

    Raises:
        ValueError: The file is not the one that was surveyed.
    """
    try:
        prepared = to_square(decode(source.read(image.file), channels), size)
    except RefusedFile as error:
        raise ValueError(f"{_CHANGED} {printable(image.file.name)} cannot be read any more: {error}") from error
    if pixel_hash(prepared) != image.sha256:
        raise ValueError(f"{_CHANGED} {printable(image.file.name)} shows another picture than before.")
    return prepared


def split_table(found: Survey, sides: Sequence[str]) -> list[dict[str, Any]]:
    """Images and groups of each class on each side: a row for each of them."""
    rows = []
    for name in (TRAIN, VALIDATION, TEST):
        for label in found.classes:
            groups = [i.group for i, side in zip(found.images, sides) if (side, i.label) == (name, label)]
            rows.append({"set": name, "class": label, "images": len(groups), "groups": len(set(groups))})
    return rows


def group_table(found: Survey, sides: Sequence[str]) -> list[dict[str, Any]]:
    """The files of every group that has more than one, for a look by eye."""
    sizes = Counter(image.group for image in found.images)
    rows = [
        {"group": image.group, "class": image.label, "set": side, "file": printable(image.file.name)}
        for image, side in zip(found.images, sides)
        if sizes[image.group] > 1
    ]
    return sorted(rows, key=lambda row: (row["group"], row["file"]))


_CHANGED = "The source must not change while it is read; prepare the images again."


def _seen(source: Source, file: SourceFile, label: str | None, size: int, channels: int) -> SurveyedImage:
    if label is None:
        raise RefusedFile("unwanted class", file.folders[0]) if file.folders else RefusedFile("no class folder")
    data = source.read(file)
    picture: Image.Image = decode(data, channels)
    return SurveyedImage(
        file=file,
        label=label,
        source=hashlib.sha256(data).hexdigest()[:16],
        sha256=pixel_hash(to_square(picture, size)),
        enlarged=max(picture.size) < size,
        picture=pixel_hash(np.asarray(picture.convert("L"))[..., np.newaxis]),
        fingerprint=to_hex(fingerprint(picture)),
    )


def _grouped(images: Sequence[SurveyedImage]) -> list[SurveyedImage]:
    """The images with their groups, named by the smallest hash of a member, so that no name of a file goes in."""
    leaders = group_duplicates([image.sha256 for image in images], from_hex([image.fingerprint for image in images]))
    smallest: dict[int, str] = {}
    for image, leader in zip(images, leaders.tolist()):
        smallest[leader] = min(image.source, smallest.get(leader, image.source))
    return [replace(image, group=f"g{smallest[leader]}") for image, leader in zip(images, leaders.tolist())]


def _without_conflicts(images: Sequence[SurveyedImage]) -> tuple[list[SurveyedImage], list[Refusal]]:
    """Leave out every copy of a picture that lies in both classes: nobody knows which label is right."""
    copies: defaultdict[str, list[SurveyedImage]] = defaultdict(list)
    for image in images:
        copies[image.sha256].append(image)
    kept: list[SurveyedImage] = []
    refused: list[Refusal] = []
    for image in images:
        others = [other for other in copies[image.sha256] if other.label != image.label]
        if others:
            names = ", ".join(printable(other.file.name) for other in others)
            refused.append(Refusal(printable(image.file.name), "label conflict", f"the same picture as {names}"))
        else:
            kept.append(image)
    return kept, refused


def _mixed(images: Sequence[SurveyedImage]) -> frozenset[str]:
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        labels[image.group].add(image.label)
    return frozenset(group for group, own in labels.items() if len(own) > 1)


def _all_below(folder: PurePosixPath, files: Sequence[SourceFile]) -> bool:
    return all(folder in PurePosixPath(file.name).parents for file in files)


def _require_usable(classes: tuple[str, str], images: Sequence[SurveyedImage], refused: Sequence[Refusal]) -> None:
    empty = [label for label in classes if all(image.label != label for image in images)]
    if empty:
        listed = "; ".join(f"{refusal.file} ({refusal.reason})" for refusal in refused[:5])
        raise ValueError(
            f"Each class must have usable PNG or JPEG pictures. There are none in {' and '.join(map(repr, empty))}; "
            f"refused were {len(refused):,} files, such as {listed}. Replace these files, or name other classes."
        )
