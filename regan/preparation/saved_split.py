"""The split that is kept between runs: an image that was once put on a side stays there.

At a stable address lies a table of every image that any run has split. It holds hashes, classes, groups, sides and
fingerprints, and no name. Images that are gone from the source stay in it, so that copies of them, too, come to lie on
their side.
"""

import csv
import gzip
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from regan.common.text import printable
from regan.preparation.duplicates import from_hex, near_duplicates_between
from regan.preparation.inspection import SurveyedImage
from regan.preparation.split import LEFT_OUT, TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from regan.storage import Version

FORMAT = 1
HEAD, TABLE = "split.json", "split.csv.gz"


@dataclass(frozen=True)
class KeptImage:
    """An image of the kept split, and a line of its table.

    Attributes:
        source: First 16 hex digits of the SHA-256 of the file's bytes.
        picture: `SurveyedImage.picture`, the same at any size and number of channels.
        label: Its class.
        group: Copies and near duplicates share a group.
        side: `train`, `validation`, `test`, or `left out` for the others of a test image's group.
        fingerprint: `SurveyedImage.fingerprint`.
    """

    source: str
    picture: str
    label: str
    group: str
    side: str
    fingerprint: str


@dataclass(frozen=True)
class KeptSplit:
    """Every image that was ever split.

    Attributes:
        classes: The two classes, sorted; empty where nothing is kept yet.
        images: All images.
        version: What storage says of this state; None where nothing is kept yet.
    """

    classes: tuple[str, ...] = ()
    images: tuple[KeptImage, ...] = ()
    version: "Version | None" = None

    def side_of_group(self) -> dict[str, str]:
        """Side of each group; of those with a test image `test`."""
        return {image.group: TEST if image.side == LEFT_OUT else image.side for image in self.images}


@dataclass(frozen=True)
class Settled:
    """What the kept split says of the images of a source.

    Attributes:
        sides: For each image its side, or nothing where the split has yet to choose.
        groups: For each image its group.
        refused: Images that are left out by the kept split: index -> (reason, detail).
        num_known: Images that an earlier run has split.
        num_gone: Pictures of earlier runs that the source does not hold any more, or holds in both classes.
    """

    sides: list[str]
    groups: list[str]
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)
    num_known: int = 0
    num_gone: int = 0


def read_split(uri: str, classes: Sequence[str] = ()) -> KeptSplit:
    """Read the split that is kept at an address.

    Args:
        uri: Address or local folder; where nothing was ever kept, the split is empty.
        classes: The classes that it must be of; empty: any.

    Raises:
        ValueError: It is damaged, of another format, or of other classes.
        OSError: As `regan.storage.fetch`.
    """
    from regan.storage import fetch_latest, latest

    newest = latest(uri)
    if newest is None:
        return KeptSplit()
    with tempfile.TemporaryDirectory() as folder:
        version = fetch_latest(uri, folder)
        if version is None or version.number < newest.number:
            # An older table lacks test images, and they would train.
            raise ValueError(
                f"The newest version of the kept split must be whole. At {uri} version {newest.number} is damaged. "
                "Restore its files from a backup of the storage, or begin a new split at another `split_uri`."
            )
        kept = _read(Path(folder), uri, version)
    if classes and tuple(sorted(classes)) != kept.classes:
        raise ValueError(
            f"A kept split is of two classes for good. The one at {uri} is of {' and '.join(kept.classes)}. Received "
            f"{' and '.join(classes)}. Name the same classes, or another `split_uri`."
        )
    return kept


def settle(kept: KeptSplit, images: Sequence[SurveyedImage]) -> Settled:
    """Say which side the images of a source have already.

    A known image keeps its side. A new one that is a copy or near duplicate of known ones, also of those that are gone,
    takes the side of their group. Each group of the test set has one image tested, the one that was tested before where
    it is there, and the rest is left out. A new image that would join groups on two sides is refused, and so is one
    whose class has changed.

    Args:
        kept: The split that is kept.
        images: Images of the source, grouped among themselves, in an order that depends on their content.
    """
    rows = _known(kept, images)
    side_of = kept.side_of_group()
    touched = _touched(kept, images, rows)
    classes = _classes(kept, images, touched)
    names = {row.group: printable(image.file.name) for image, row in zip(images, rows) if row}
    settled = Settled(
        sides=[""] * len(images),
        groups=[image.group for image in images],
        num_known=sum(row is not None for row in rows),
        num_gone=len({row.picture for row in kept.images}) - len({row.picture for row in rows if row}),
    )
    for index, (image, row) in enumerate(zip(images, rows)):
        joined = touched.get(image.group, set())
        if row is None and not joined:
            continue
        settled.groups[index] = row.group if row else min(joined)
        if row is not None and row.label == image.label:
            settled.sides[index] = row.side
            continue
        refusal = _changed(row, image) if row else _torn(joined, side_of, names, len(classes[image.group]))
        if refusal:
            settled.refused[index] = refusal
        side = side_of[settled.groups[index]]
        settled.sides[index] = LEFT_OUT if refusal or side == TEST else side
    _fill_places(kept, images, settled)
    return settled


def extended(
    kept: KeptSplit, images: Sequence[SurveyedImage], sides: Sequence[str], settled: Settled, classes: Sequence[str]
) -> KeptSplit:
    """The kept split with the new images of a source, of which none that is refused; the same where none is new."""
    pictures, sources = {row.picture for row in kept.images}, {row.source for row in kept.images}
    tested = {name for row in kept.images if row.side == TEST for name in (row.picture, row.source)}
    new: dict[str, KeptImage] = {}
    for index, (image, side, group) in enumerate(zip(images, sides, settled.groups)):
        known = image.picture in pictures or image.source in sources
        takes_place = side == TEST and image.picture not in tested and image.source not in tested
        if index in settled.refused or (known and not takes_place) or (side != TEST and image.source in new):
            continue
        new[image.source] = KeptImage(image.source, image.picture, image.label, group, side, image.fingerprint)
    if not new:
        return kept
    others = (row for row in kept.images if row.source not in new)
    return KeptSplit(tuple(sorted(classes)), (*others, *new.values()), kept.version)


def kept_figures(before: KeptSplit, after: KeptSplit, settled: Settled) -> dict[str, int]:
    """For the history: the version of the kept split that holds this run's images, and how many it settled."""
    version = before.version.number if before.version else 0
    return {
        "split_version": version + (after is not before),
        "num_known": settled.num_known,
        "num_new": len(after.images) - len(before.images),
        "num_gone": settled.num_gone,
        "num_refused_by_kept_split": len(settled.refused),
    }


def push_split(kept: KeptSplit, uri: str) -> "Version":
    """Keep a split at an address, if what lies there is still what it was made from.

    Raises:
        ConflictError: Another run has kept another split there since.
        OSError: As `regan.storage.push`.
    """
    from regan.storage import push_latest

    with tempfile.TemporaryDirectory() as folder:
        _write(kept, Path(folder))
        return push_latest(folder, uri, kept.version)


def _known(kept: KeptSplit, images: Sequence[SurveyedImage]) -> list[KeptImage | None]:
    """The kept image that each image is, by its picture or, where another decoder sees other pixels, its bytes.

    In each group one image alone is tested; where a file that was tested is there, it is that one.
    """
    by_picture: dict[str, KeptImage] = {}
    for kept_row in sorted(kept.images, key=lambda row: row.side != TEST):
        by_picture.setdefault(kept_row.picture, kept_row)
    by_source = {row.source: row for row in kept.images}
    rows: list[KeptImage | None] = [by_picture.get(image.picture) or by_source.get(image.source) for image in images]
    claimed: set[str] = set()
    found = list(rows)
    for index, row in sorted(
        enumerate(rows), key=lambda item: item[1] is None or item[1].source != images[item[0]].source
    ):
        if row is not None and row.side == TEST and row.label == images[index].label:
            if row.group in claimed:
                found[index] = replace(row, side=LEFT_OUT)
            claimed.add(row.group)
    return found


def _fill_places(kept: KeptSplit, images: Sequence[SurveyedImage], settled: Settled) -> None:
    """Where a tested image is gone, as after an export anew, let another one of its group and class be tested."""
    label_of = {row.group: row.label for row in kept.images if row.side == TEST}
    known = {row.source for row in kept.images}
    tested = {group for group, side in zip(settled.groups, settled.sides) if side == TEST}
    for index in sorted(range(len(images)), key=lambda index: images[index].source not in known):
        group, label = settled.groups[index], images[index].label
        left_out = settled.sides[index] == LEFT_OUT and index not in settled.refused
        if left_out and group not in tested and label_of.get(group) == label:
            settled.sides[index] = TEST
            tested.add(group)


def _touched(
    kept: KeptSplit, images: Sequence[SurveyedImage], rows: Sequence[KeptImage | None]
) -> Mapping[str, set[str]]:
    """Group of the source -> groups of the kept split that it shares an image or a near duplicate with."""
    touched: defaultdict[str, set[str]] = defaultdict(set)
    names = {row.group for row in kept.images}
    for image, known in zip(images, rows):
        touched[image.group] |= {known.group} if known else {image.group} & names
    present = {row.picture for row in rows if row}
    gone = [row for row in kept.images if row.picture not in present]  # the survey has compared the others
    new = [image for image, row in zip(images, rows) if row is None]
    pairs = near_duplicates_between(
        from_hex([image.fingerprint for image in new]), from_hex([row.fingerprint for row in gone])
    )
    for one, other in pairs:
        touched[new[one].group].add(gone[other].group)
    return touched


def _classes(
    kept: KeptSplit, images: Sequence[SurveyedImage], touched: Mapping[str, set[str]]
) -> Mapping[str, set[str]]:
    """Group of the source -> classes of its images and of the kept ones that it is joined with."""
    of_kept: defaultdict[str, set[str]] = defaultdict(set)
    for row in kept.images:
        of_kept[row.group].add(row.label)
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        classes[image.group] |= {image.label}.union(*(of_kept[group] for group in touched[image.group]))
    return classes


def _changed(row: KeptImage, image: SurveyedImage) -> tuple[str, str]:
    return "label conflict", f"an earlier run had this picture as {row.label}, and now it is {image.label}"


def _torn(
    joined: set[str], side_of: Mapping[str, str], names: Mapping[str, str], num_classes: int
) -> tuple[str, str] | None:
    """Why a new image cannot take the side of the groups that it would join; None where it can."""
    resembled = ", ".join(
        f"{names.get(group, f'one of group {group} that is gone')} ({side_of[group]})" for group in sorted(joined)
    )
    sides = {side_of[group] for group in joined}
    if len(sides) > 1:
        return "would join two sides of the split", f"alike, or joined through others: {resembled}"
    if sides == {VALIDATION} and num_classes > 1:
        return "resembles a validation image of the other class", resembled
    return None


def _write(kept: KeptSplit, folder: Path) -> None:
    head = {"format": FORMAT, "classes": list(kept.classes), "num_images": len(kept.images)}
    (folder / HEAD).write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8", newline="\n")
    # No date and no name in the archive: the same split gives the same bytes.
    with (
        (folder / TABLE).open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as compressed,
        io.TextIOWrapper(compressed, encoding="utf-8", newline="") as text,
    ):
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(sorted(astuple(image) for image in kept.images))


_COLUMNS = tuple(column.name for column in fields(KeptImage))


def _read(folder: Path, uri: str, version: "Version") -> KeptSplit:
    try:
        head = json.loads((folder / HEAD).read_text(encoding="utf-8"))
        known = head["format"] == FORMAT
        with gzip.open(folder / TABLE, "rt", newline="", encoding="utf-8") as file:
            images = tuple(KeptImage(**row) for row in csv.DictReader(file)) if known else ()
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{_FOREIGN} Received {uri}, which cannot be read: {error}. {_ELSEWHERE}") from error
    kept = KeptSplit(tuple(head["classes"]), images, version)
    sides = defaultdict(set)
    for image in images:
        sides[image.group].add(TEST if image.side == LEFT_OUT else image.side)
    if not known or any(len(found) > 1 for found in sides.values()) or {*_SIDES}.union(*sides.values()) > {*_SIDES}:
        raise ValueError(
            f"{_FOREIGN} Received {uri}, of format {head['format']}, or changed by hand so that a group lies on two "
            f"sides. {_ELSEWHERE}"
        )
    return kept


_SIDES = (TRAIN, VALIDATION, TEST)
_FOREIGN = f"`split_uri` must be a place of its own, where `prepare_images` keeps a split of format {FORMAT}."
_ELSEWHERE = "Name another address, or restore what was there."
