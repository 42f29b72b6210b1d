"""The saved split: an image stays in the set that an earlier run put it in.

A stable URI contains a table of every image that any run has split: hashes, classes, groups, sets and perceptual
hashes, and no file names. Images that were removed from the source stay in the table, so that copies of them join the
same set when they appear later.
"""

import csv
import gzip
import io
import json
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from regan.common.errors import CorruptFileError, WrongArtifactError
from regan.common.text import printable
from regan.preparation.duplicates import from_hex, near_duplicates_between
from regan.preparation.inspection import InspectedImage
from regan.preparation.split import LEFT_OUT, TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from regan.storage import Version

FORMAT = 1
HEAD, TABLE = "split.json", "split.csv.gz"


@dataclass(frozen=True)
class SavedImage:
    """An image of the saved split, and a row of its table, whose columns have the names of these fields.

    Attributes:
        source: First 16 hex digits of the SHA-256 of the file's bytes.
        picture: `InspectedImage.picture`, the same at any size and number of channels.
        label: Its class.
        group: Copies and near duplicates share a group.
        side: `train`, `validation`, `test`, or `left out` for the other images of a test image's group.
        fingerprint: `InspectedImage.perceptual_hash`.
    """

    source: str
    picture: str
    label: str
    group: str
    side: str
    fingerprint: str


@dataclass(frozen=True)
class SavedSplit:
    """Every image that was ever split.

    Attributes:
        classes: The two classes, sorted; empty if nothing is saved yet.
        images: All images.
        version: The version in storage; None if nothing is saved yet.
    """

    classes: tuple[str, ...] = ()
    images: tuple[SavedImage, ...] = ()
    version: "Version | None" = None

    def side_of_group(self) -> dict[str, str]:
        """Side of each group; `test` for a group with a test image."""
        return {image.group: TEST if image.side == LEFT_OUT else image.side for image in self.images}


@dataclass(frozen=True)
class SplitMatch:
    """The images of a source, matched with the saved split.

    Attributes:
        sides: Side of each image; empty for new images, whose side is chosen later.
        groups: Group of each image.
        refused: Images that the saved split excludes: index -> (reason, detail).
        num_known: Images that an earlier run has split.
        num_gone: Pictures of earlier runs that the source no longer contains, or contains in both classes.
    """

    sides: list[str]
    groups: list[str]
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)
    num_known: int = 0
    num_gone: int = 0


def read_split(uri: str, classes: Sequence[str] = ()) -> SavedSplit:
    """Read the saved split at a URI.

    Args:
        uri: URI or local folder. If nothing was ever saved there, the split is empty.
        classes: The classes that it must have; empty: any.

    Raises:
        CorruptFileError: It is corrupt.
        WrongArtifactError: It has another format or other classes, or is not a saved split.
        OSError: As `regan.storage.fetch`.
    """
    from regan.storage import fetch_latest, latest

    newest = latest(uri)
    if newest is None:
        return SavedSplit()
    with tempfile.TemporaryDirectory() as folder:
        version = fetch_latest(uri, folder)
        if version is None or version.number < newest.number:
            # The previous table lacks images that were tested, and they would train.
            raise CorruptFileError(
                f"The saved split at {uri} is corrupt in version {newest.number}. Restore its files from a backup "
                "of the storage, or start a new split with another `split_uri`."
            )
        saved = _read(Path(folder), uri, version)
    if classes and tuple(sorted(classes)) != saved.classes:
        raise WrongArtifactError(
            f"The saved split at {uri} has the classes {' and '.join(saved.classes)}. "
            f"Received {' and '.join(classes)}. Use the same classes, or another `split_uri`."
        )
    return saved


def match_split(saved: SavedSplit, images: Sequence[InspectedImage]) -> SplitMatch:
    """Match the images of a source with the saved split.

    A known image keeps its side. A new one that is a copy or near duplicate of known images, including those that are
    gone, takes the side of their group. In each group of the test set one image is tested, the same one as before if
    it is there, and the others are left out. A new image that would join groups on two sides is refused, and so is an
    image whose class has changed.

    Args:
        saved: The saved split.
        images: Images of the source, with groups among themselves, in an order that depends on their content.
    """
    rows = _find_saved(saved, images)
    side_of = saved.side_of_group()
    touched = _joined_groups(saved, images, rows)
    classes = _classes(saved, images, touched)
    names = {row.group: printable(image.file.name) for image, row in zip(images, rows) if row}
    match = SplitMatch(
        sides=[""] * len(images),
        groups=[image.group for image in images],
        num_known=sum(row is not None for row in rows),
        num_gone=len({row.picture for row in saved.images}) - len({row.picture for row in rows if row}),
    )
    for index, (image, row) in enumerate(zip(images, rows)):
        joined = touched.get(image.group, set())
        if row is None and not joined:
            continue
        match.groups[index] = row.group if row else min(joined)
        if row is not None and row.label == image.label:
            match.sides[index] = row.side
            continue
        refusal = (
            _class_refusal(row, image) if row else _side_refusal(joined, side_of, names, len(classes[image.group]))
        )
        if refusal:
            match.refused[index] = refusal
        side = side_of[match.groups[index]]
        match.sides[index] = LEFT_OUT if refusal or side == TEST else side
    _replace_tested(saved, images, match)
    return match


def extend_split(
    saved: SavedSplit,
    images: Sequence[InspectedImage],
    sides: Sequence[str],
    match: SplitMatch,
    classes: Sequence[str],
) -> SavedSplit:
    """The saved split with the new images of a source that are not refused; the same object if none is new."""
    pictures, sources = {row.picture for row in saved.images}, {row.source for row in saved.images}
    tested = {name for row in saved.images if row.side == TEST for name in (row.picture, row.source)}
    new: dict[str, SavedImage] = {}
    for index, (image, side, group) in enumerate(zip(images, sides, match.groups)):
        known = image.picture in pictures or image.source in sources
        takes_place = side == TEST and image.picture not in tested and image.source not in tested
        if index in match.refused or (known and not takes_place) or (side != TEST and image.source in new):
            continue
        new[image.source] = SavedImage(image.source, image.picture, image.label, group, side, image.perceptual_hash)
    if not new:
        return saved
    others = (row for row in saved.images if row.source not in new)
    return SavedSplit(tuple(sorted(classes)), (*others, *new.values()), saved.version)


def split_figures(before: SavedSplit, after: SavedSplit, match: SplitMatch) -> dict[str, int]:
    """Figures for the history: the version of the saved split with this run's images, and numbers of images."""
    version = before.version.number if before.version else 0
    return {
        "split_version": version + (after is not before),
        "num_known": match.num_known,
        "num_new": len(after.images) - len(before.images),
        "num_gone": match.num_gone,
        "num_refused_by_saved_split": len(match.refused),
    }


def push_split(saved: SavedSplit, uri: str) -> "Version":
    """Push a split to a URI, unless another run changed the saved split since it was read.

    Raises:
        ConflictError: Another run has pushed its split meanwhile.
        OSError: As `regan.storage.push_latest`.
    """
    from regan.storage import push_latest

    with tempfile.TemporaryDirectory() as folder:
        _write(saved, Path(folder))
        return push_latest(folder, uri, saved.version)


def _find_saved(saved: SavedSplit, images: Sequence[InspectedImage]) -> list[SavedImage | None]:
    """The saved image that each image is, by its picture or by its bytes; None for new images.

    The bytes count too, because another version of a decoder may give slightly different pixels. In each group only one
    image is tested: the file that was tested before, if it is there.
    """
    by_picture: dict[str, SavedImage] = {}
    for saved_row in sorted(saved.images, key=lambda row: row.side != TEST):
        by_picture.setdefault(saved_row.picture, saved_row)
    by_source = {row.source: row for row in saved.images}
    rows: list[SavedImage | None] = [by_picture.get(image.picture) or by_source.get(image.source) for image in images]
    claimed: set[str] = set()
    found = list(rows)
    # Files with the same bytes as the saved one come first, so that they claim the test before their copies do.
    for index, row in sorted(
        enumerate(rows), key=lambda item: item[1] is None or item[1].source != images[item[0]].source
    ):
        if row is not None and row.side == TEST and row.label == images[index].label:
            if row.group in claimed:
                found[index] = replace(row, side=LEFT_OUT)
            claimed.add(row.group)
    return found


def _replace_tested(saved: SavedSplit, images: Sequence[InspectedImage], match: SplitMatch) -> None:
    """If a tested image is gone, as after a new export, test another image of its group and class."""
    label_of = {row.group: row.label for row in saved.images if row.side == TEST}
    known = {row.source for row in saved.images}
    tested = {group for group, side in zip(match.groups, match.sides) if side == TEST}
    for index in sorted(range(len(images)), key=lambda index: images[index].source not in known):
        group, label = match.groups[index], images[index].label
        left_out = match.sides[index] == LEFT_OUT and index not in match.refused
        if left_out and group not in tested and label_of.get(group) == label:
            match.sides[index] = TEST
            tested.add(group)


def _joined_groups(
    saved: SavedSplit, images: Sequence[InspectedImage], rows: Sequence[SavedImage | None]
) -> Mapping[str, set[str]]:
    """Group of the source -> groups of the saved split with which it shares an image or a near duplicate."""
    touched: defaultdict[str, set[str]] = defaultdict(set)
    names = {row.group for row in saved.images}
    for image, known in zip(images, rows):
        touched[image.group] |= {known.group} if known else {image.group} & names
    present = {row.picture for row in rows if row}
    gone = [row for row in saved.images if row.picture not in present]  # the inspection has compared the others
    new = [image for image, row in zip(images, rows) if row is None]
    pairs = near_duplicates_between(
        from_hex([image.perceptual_hash for image in new]), from_hex([row.fingerprint for row in gone])
    )
    for one, other in pairs:
        touched[new[one].group].add(gone[other].group)
    return touched


def _classes(
    saved: SavedSplit, images: Sequence[InspectedImage], touched: Mapping[str, set[str]]
) -> Mapping[str, set[str]]:
    """Group of the source -> classes of its images and of the saved images that it joins."""
    of_saved: defaultdict[str, set[str]] = defaultdict(set)
    for row in saved.images:
        of_saved[row.group].add(row.label)
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        classes[image.group] |= {image.label}.union(*(of_saved[group] for group in touched[image.group]))
    return classes


def _class_refusal(row: SavedImage, image: InspectedImage) -> tuple[str, str]:
    return "label conflict", f"this picture was {row.label} in an earlier run, and is {image.label} now"


def _side_refusal(
    joined: set[str], side_of: Mapping[str, str], names: Mapping[str, str], num_classes: int
) -> tuple[str, str] | None:
    """Why a new image cannot take the side of the groups that it would join; None if it can."""
    resembled = ", ".join(
        f"{names.get(group, f'a removed image of group {group}')} ({side_of[group]})" for group in sorted(joined)
    )
    sides = {side_of[group] for group in joined}
    if len(sides) > 1:
        return "would join two sets of the split", f"near duplicate, directly or through others, of: {resembled}"
    if sides == {VALIDATION} and num_classes > 1:
        return "resembles a validation image of the other class", resembled
    return None


def _write(saved: SavedSplit, folder: Path) -> None:
    head = {"format": FORMAT, "classes": list(saved.classes), "num_images": len(saved.images)}
    (folder / HEAD).write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8", newline="\n")
    # No date and no name in the archive: the same split gives the same bytes.
    with (
        (folder / TABLE).open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as compressed,
        io.TextIOWrapper(compressed, encoding="utf-8", newline="") as text,
    ):
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(sorted(astuple(image) for image in saved.images))


_COLUMNS = tuple(column.name for column in fields(SavedImage))


def _read(folder: Path, uri: str, version: "Version") -> SavedSplit:
    try:
        head = json.loads((folder / HEAD).read_text(encoding="utf-8"))
        known = head["format"] == FORMAT
        images = _read_table(folder / TABLE, head["num_images"]) if known else ()
    except (FileNotFoundError, KeyError, TypeError) as error:  # something else was pushed to the URI
        raise WrongArtifactError(f"{uri} is not a saved split of format {FORMAT}: {error}. {_ADVICE}") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise CorruptFileError(f"The saved split at {uri} is corrupt: {error}. {_ADVICE}") from error
    saved = SavedSplit(tuple(head["classes"]), images, version)
    sides = defaultdict(set)
    for image in images:
        sides[image.group].add(TEST if image.side == LEFT_OUT else image.side)
    if not known or any(len(found) > 1 for found in sides.values()) or {*_SIDES}.union(*sides.values()) > {*_SIDES}:
        raise WrongArtifactError(
            f"{uri} is not a saved split of format {FORMAT}: its format is {head['format']}, or a group is in two sets "
            f"after a change by hand. {_ADVICE}"
        )
    return saved


def _read_table(path: Path, num_images: int) -> tuple[SavedImage, ...]:
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # A table that was cut at a line's end is still CSV. Images that it lost would be new, and tested ones might train.
    if len(rows) != num_images or any(None in row.values() for row in rows):
        raise ValueError(f"its table has {len(rows)} rows, not all complete, and {num_images} are expected")
    return tuple(SavedImage(**row) for row in rows)


_SIDES = (TRAIN, VALIDATION, TEST)
_ADVICE = "Use a `split_uri` that contains nothing else, or restore the split from a backup."
