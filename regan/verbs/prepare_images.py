"""Labelled pictures become three image sets: for training, for validation and for the test."""

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from regan.data.sources import Refusal, Source
    from regan.data.survey import Survey

_LOG = logging.getLogger("regan")
_SETS = ("train", "validation", "test")
_NAMED_IN_LOG = 20  # refused files; all of them are in the history
_IN_SHEET = 16  # thumbnails of each class
_LARGE_GROUP = 20  # pictures of one lesion are seldom more


@dataclass(frozen=True)
class PreparedImages:
    """The three image sets, and how many images went where.

    Attributes:
        path: Image set for training.
        train: The same.
        validation: Image set for early stopping, thresholds and audits.
        test: Image set that only `evaluate_classifier` opens.
        negative_class: Class without the finding.
        positive_class: Class with the finding.
        num_train: Images for training.
        num_validation: Images for validation.
        num_test: Images for the test.
        num_refused: Files that were not taken; the history says which and why.
    """

    path: Path
    train: Path
    validation: Path
    test: Path
    negative_class: str
    positive_class: str
    num_train: int
    num_validation: int
    num_test: int
    num_refused: int


def prepare_images(
    source: str | Path,
    train: str | Path,
    validation: str | Path,
    test: str | Path,
    *,
    negative_class: str = "",
    positive_class: str = "",
    size: int = 256,
    channels: int = 1,
    test_per_class: int = 150,
    validation_fraction: float = 0.1,
    mask_pattern: str = "*_mask*",
    seed: int = 0,
) -> PreparedImages:
    """Turn a folder or archive of labelled PNG and JPEG files into image sets for training, validation and test.

    The class of a picture is the name of the folder it lies in. Pictures are scaled with their proportions kept and
    padded with black to a square. Exact copies and near duplicates are joined into groups, and no group lies on two
    sides of the split: the test set has one picture of a group, and the rest of that group is left out. A picture that
    lies in both classes teaches nothing and is left out; what merely resembles one of the other class only trains. The
    split depends on the files' bytes and on `seed`, not on their names or on `size`. Names of files may tell who the
    patient is: they are kept in `history/private` and the log only.

    Args:
        source: Folder, zip archive, or address (`gs://`, `s3://`) of the pictures: `<class>/<any name>.png` or `.jpg`.
        train: Image set to write, for training.
        validation: Image set to write, for early stopping, thresholds and audits.
        test: Image set to write, for the one final test.
        negative_class: Folder name of the class without the finding. Empty with `positive_class` empty: there must be
            two class folders, and the last one of the alphabet is the positive one.
        positive_class: Folder name of the class with the finding, the one that sensitivity counts.
        size: Height and width of the images, a power of two from 32 to 1024, pixels.
        channels: 1 for grey, 3 for RGB.
        test_per_class: Test images of each class.
        validation_fraction: Share of the other images that validates, above 0 and below 1.
        mask_pattern: Shell pattern for the names of lesion masks that lie beside the pictures. Empty: there are none.
        seed: Same files and seed, same split.

    Returns:
        The paths of the three image sets, the classes, and how many images went where.

    Raises:
        FileNotFoundError: There is no source.
        FileExistsError: An output folder holds something already.
        PermissionError: An output cannot be written, or a folder of the source cannot be read.
        ValueError: A setting is out of range, there are not two classes, or too few usable pictures.
    """
    from regan.data.output import writing_all
    from regan.data.survey import survey

    started = time.perf_counter()
    settings = _checked(size, channels, test_per_class, validation_fraction, mask_pattern, seed)
    with writing_all(train, validation, test) as folders, _opened(source, beside=folders[0]) as pictures:
        found = survey(
            pictures,
            negative_class=negative_class,
            positive_class=positive_class,
            mask_pattern=mask_pattern,
            size=size,
            channels=channels,
        )
        sides = _split(found, test_per_class, validation_fraction, seed)
        refused = [*found.refused, *_left_out(found, sides)]
        settings |= {"negative_class": found.classes[0], "positive_class": found.classes[1]}
        sheets = _write_sets(found, sides, pictures, folders, settings)
        _log_outcome(found, sides, refused)
        _write_history(found, sides, refused, sheets, folders, settings, str(source), time.perf_counter() - started)
    return PreparedImages(
        path=Path(train),
        train=Path(train),
        validation=Path(validation),
        test=Path(test),
        negative_class=found.classes[0],
        positive_class=found.classes[1],
        num_train=sides.count("train"),
        num_validation=sides.count("validation"),
        num_test=sides.count("test"),
        num_refused=len(refused),
    )


def _checked(
    size: int, channels: int, test_per_class: int, validation_fraction: float, mask_pattern: str, seed: int
) -> dict[str, Any]:
    from regan.data.pixels import require_size
    from regan.data.split import LEAST_TO_TEST

    require_size(size, size)
    if channels not in (1, 3):
        raise ValueError(f"`channels` must be 1 (grey) or 3 (RGB). Received channels={channels}.")
    if test_per_class < LEAST_TO_TEST:
        raise ValueError(
            f"`test_per_class` must be {LEAST_TO_TEST} or more, because classifiers are compared on several images of "
            f"each class. Received test_per_class={test_per_class}. Use `test_per_class={LEAST_TO_TEST}` or more."
        )
    if not 0 < validation_fraction < 1:
        raise ValueError(
            "`validation_fraction` must be above 0 and below 1, because early stopping and thresholds need images of "
            f"their own. Received validation_fraction={validation_fraction}. Use `validation_fraction=0.1`."
        )
    if seed < 0:
        raise ValueError(f"`seed` must be 0 or more. Received seed={seed}.")
    return {
        "size": size,
        "channels": channels,
        "test_per_class": test_per_class,
        "validation_fraction": validation_fraction,
        "mask_pattern": mask_pattern,
        "seed": seed,
    }


@contextmanager
def _opened(source: str | Path, *, beside: Path) -> "Iterator[Source]":
    """The source, fetched first to the disk of the outputs where it is an address."""
    from regan.data.sources import open_source
    from regan.storage import fetch, is_uri

    if not is_uri(str(source)):
        with open_source(source) as opened:
            yield opened
        return
    with (
        tempfile.TemporaryDirectory(prefix=".source-", dir=beside.parent) as folder,
        open_source(fetch(str(source), folder)) as opened,
    ):
        yield opened


def _split(found: "Survey", test_per_class: int, validation_fraction: float, seed: int) -> list[str]:
    from regan.data.split import split_by_group

    return split_by_group(
        [image.label for image in found.images],
        [image.group for image in found.images],
        test_per_class=test_per_class,
        validation_fraction=validation_fraction,
        seed=seed,
        train_only=found.mixed_groups,
    )


def _left_out(found: "Survey", sides: Sequence[str]) -> "Iterator[Refusal]":
    from regan.data.sources import Refusal, printable
    from regan.data.split import LEFT_OUT, TEST

    tested = {image.group: image.file.name for image, side in zip(found.images, sides) if side == TEST}
    for image, side in zip(found.images, sides):
        if side == LEFT_OUT:
            detail = f"duplicate or near duplicate of {printable(tested[image.group])}, or of one like it"
            yield Refusal(printable(image.file.name), "resembles a test image", detail)


def _write_sets(
    found: "Survey", sides: Sequence[str], pictures: "Source", folders: Sequence[Path], settings: Mapping[str, Any]
) -> "dict[str, np.ndarray]":
    """Second pass: write the three sets, mixed, and return a sheet of training images for each class."""
    import numpy as np

    from regan.data.history import contact_sheet
    from regan.data.imageset import ImageSetWriter
    from regan.data.survey import prepared_image
    from regan.progress import Progress

    size, channels = settings["size"], settings["channels"]
    rng = np.random.default_rng([settings["seed"], len(_SETS)])
    shown: dict[str, list[np.ndarray]] = {label: [] for label in found.classes}
    with Progress("Write images", total=sum(side in _SETS for side in sides)) as progress:
        for name, folder in zip(_SETS, folders):
            chosen = [image for image, side in zip(found.images, sides) if side == name]
            with ImageSetWriter(
                folder,
                size=size,
                channels=channels,
                classes=found.classes,
                origin="phantom" if found.is_phantom else "real",
                settings=dict(settings),
                shard_images=max(1000, -(-len(chosen) // ImageSetWriter.MAX_SHARDS)),
            ) as writer:
                for index in rng.permutation(len(chosen)):
                    image = chosen[index]
                    pixels = prepared_image(pictures, image, size=size, channels=channels)
                    writer.add(pixels, image.label, group=image.group, source=image.source)
                    if name == "train" and len(shown[image.label]) < _IN_SHEET:
                        shown[image.label].append(pixels)
                    progress.advance()
    return {label: contact_sheet(np.stack(images)) for label, images in shown.items() if images}


def _write_history(
    found: "Survey",
    sides: Sequence[str],
    refused: "Sequence[Refusal]",
    sheets: "Mapping[str, np.ndarray]",
    folders: Sequence[Path],
    settings: Mapping[str, Any],
    source: str,
    seconds: float,
) -> None:
    from regan.data.history import write_step

    reasons = Counter(refusal.reason for refusal in refused)
    for folder in folders:
        write_step(
            folder,
            "prepare_images",
            {},
            settings=settings,
            counts={name: sides.count(name) for name in _SETS},
            figures={
                "num_refused": len(refused),
                "num_duplicates": found.num_duplicates,
                "num_label_conflicts": found.num_label_conflicts,
                "num_groups": len({image.group for image in found.images}),
                "num_groups_of_both_classes": len(found.mixed_groups),
                "num_enlarged": sum(image.enlarged for image in found.images),
            },
            tables={
                "split": _split_table(found, sides),
                "refusal_reasons": [{"reason": reason, "files": n} for reason, n in reasons.most_common()],
            },
            private_tables={
                "source": [{"source": source}],
                "refused": [asdict(refusal) for refusal in refused],
                "groups": _group_table(found, sides),
            },
            private_thumbnails=sheets,
            seconds=seconds,
        )


def _split_table(found: "Survey", sides: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for name in _SETS:
        for label in found.classes:
            groups = [i.group for i, side in zip(found.images, sides) if (side, i.label) == (name, label)]
            rows.append({"set": name, "class": label, "images": len(groups), "groups": len(set(groups))})
    return rows


def _group_table(found: "Survey", sides: Sequence[str]) -> list[dict[str, Any]]:
    """The files of every group that has more than one, for a look by eye."""
    from regan.data.sources import printable

    sizes = Counter(image.group for image in found.images)
    rows = [
        {"group": image.group, "class": image.label, "set": side, "file": printable(image.file.name)}
        for image, side in zip(found.images, sides)
        if sizes[image.group] > 1
    ]
    return sorted(rows, key=lambda row: (row["group"], row["file"]))


def _log_outcome(found: "Survey", sides: Sequence[str], refused: "Sequence[Refusal]") -> None:
    negative, positive = found.classes
    _LOG.info("Classes: %s (negative) and %s (positive, the finding)", negative, positive)
    for row in _split_table(found, sides):
        _LOG.info("%s: %d images of %s in %d groups", row["set"], row["images"], row["class"], row["groups"])
    for reason, n in Counter(refusal.reason for refusal in refused).most_common():
        _LOG.info("Not taken: %d files, %s", n, reason)
    notable = [refusal for refusal in refused if refusal.reason not in _ORDINARY]
    for refusal in notable[:_NAMED_IN_LOG]:
        _LOG.warning("Not taken: %s: %s%s", refusal.file, refusal.reason, f" ({refusal.detail})" * bool(refusal.detail))
    if len(notable) > _NAMED_IN_LOG:
        _LOG.warning("Not taken: %d more such files; history/private lists them", len(notable) - _NAMED_IN_LOG)
    largest, size = Counter(image.group for image in found.images).most_common(1)[0]
    if size > _LARGE_GROUP:
        _LOG.warning(
            "Group %s joins %d pictures: look whether they are alike; history/private names them", largest, size
        )
    if enlarged := sum(image.enlarged for image in found.images):
        _LOG.warning("%d pictures are smaller than the images asked for and were enlarged", enlarged)


# Reasons that need no line for each file.
_ORDINARY = ("mask", "hidden file", "no image file by its name", "unwanted class", "resembles a test image")
