"""Turn labelled images into three image sets: training, validation and test."""

import logging
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from regan.preparation.inspection import Inspection
    from regan.preparation.outcome import Outcome
    from regan.preparation.sources import Source

_LOG = logging.getLogger("regan")
_SETS = ("train", "validation", "test")
_IN_SHEET = 16  # thumbnails of each class


@dataclass(frozen=True)
class PreparedImages:
    """The three image sets, and how many images went where.

    Attributes:
        path: Image set for training.
        train: The same folder.
        validation: Image set for early stopping, thresholds and audits.
        test: Image set for `evaluate_classifier` only.
        negative_class: Class without the finding.
        positive_class: Class with the finding.
        num_train: Number of training images.
        num_validation: Number of validation images.
        num_test: Number of test images.
        num_refused: Number of rejected files; the history lists them with the reasons.
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
    split_uri: str = "",
) -> PreparedImages:
    """Turn a folder or archive of labelled PNG and JPEG files into image sets for training, validation and test.

    The class of an image is the name of its folder. Images are scaled with their aspect ratio kept and padded with
    black to a square. Exact duplicates and near duplicates (by perceptual hash) form groups, and no group is on two
    sides of the split: the test set contains one image of a group, and the rest of that group is left out. An image
    that is in both classes is left out; an image that only resembles one of the other class is used for training only.
    The split depends on the files' bytes and on `seed`, not on their names or on `size`. File names may identify
    patients: they are written to `history/private` and the log only.

    A split that is saved at `split_uri` applies to all later runs: known images stay on their side, even if they were
    missing from the source for a while, and images that resemble them go to the same side. New images fill up the test
    set and the validation share. A new image that resembles images on two sides is rejected, and so is an image whose
    class has changed.

    Args:
        source: URI or path of the real images: a folder or zip archive with one subfolder for each class. Files are
            `<class>/<any name>.png` or `.jpg`.
        train: Image set to write, for training.
        validation: Image set to write, for early stopping, thresholds and audits.
        test: Image set to write, for the final evaluation only.
        negative_class: Class without the finding; empty = the first of the source's two classes in alphabetical order.
            Name neither class or both.
        positive_class: Class with the finding, which sensitivity counts; empty = the last of the source's two classes.
        size: Height and width of the images in pixels, a power of two from 32 to 1024.
        channels: 1 for grey, 3 for RGB.
        test_per_class: Test images of each class, which only the final evaluation reads.
        validation_fraction: Fraction of the images outside the test set that goes to validation, above 0 and below 1.
        mask_pattern: Shell pattern for the names of lesion masks, which are left out; empty = there are none.
        seed: Seed of the split. The same files and seed give the same split.
        split_uri: Stable URI of the saved split, so that no test image ever becomes a training image; empty = a new
            split in each run. It holds hashes, classes, groups and perceptual hashes of images, no file names.

    Returns:
        The paths of the three image sets, the classes, and how many images went where.

    Raises:
        NoFilesError: The source does not exist.
        OutputExistsError: An output folder is not empty.
        OutputError: An output folder cannot be written.
        SettingError: A setting is out of range.
        SourceError: There are not two classes, or too few usable images.
        CorruptFileError: The saved split is corrupt.
        WrongArtifactError: The saved split is of other classes.
        ConflictError: Other runs changed the saved split twice in the meantime.
        StorageAccessError: Object storage refuses access.
        StorageUnavailableError: Object storage does not answer.
    """
    from regan.artifacts.output_folder import atomic_folders
    from regan.preparation.inspection import inspect_source
    from regan.preparation.saved_split import read_split

    started = time.perf_counter()
    settings = _settings(size, channels, test_per_class, validation_fraction, mask_pattern, seed)
    if split_uri:
        read_split(split_uri)  # fail before the work if the URI cannot be read
    with atomic_folders(train, validation, test) as folders, _open(source, beside=folders[0]) as pictures:
        found = inspect_source(
            pictures,
            negative_class=negative_class,
            positive_class=positive_class,
            mask_pattern=mask_pattern,
            size=size,
            channels=channels,
        )
        settings |= {"negative_class": found.classes[0], "positive_class": found.classes[1]}
        made = _write_split(
            found, pictures, folders, settings, {"source": str(source), "split_uri": split_uri}, started
        )
    return PreparedImages(
        path=Path(train),
        train=Path(train),
        validation=Path(validation),
        test=Path(test),
        negative_class=found.classes[0],
        positive_class=found.classes[1],
        num_train=made.sides.count("train"),
        num_validation=made.sides.count("validation"),
        num_test=made.sides.count("test"),
        num_refused=len(made.refused),
    )


def _write_split(
    found: "Inspection",
    pictures: "Source",
    folders: Sequence[Path],
    settings: Mapping[str, Any],
    places: Mapping[str, str],
    started: float,
    *,
    once_more: bool = True,
) -> "Outcome":
    """Split, write the sets and their history, and push the split; try again once if another run pushed in between."""
    from regan.common.errors import ConflictError
    from regan.preparation.outcome import log_outcome, split_images
    from regan.preparation.saved_split import push_split

    made = split_images(found, settings, places["split_uri"])
    sheets = _write_sets(made.found, made.sides, pictures, folders, settings)
    log_outcome(made, settings["test_per_class"])
    _write_history(made, sheets, folders, settings, places, time.perf_counter() - started)
    if made.after is made.before:
        return made
    try:  # before the sets get their final names: every later run must know which images are test images
        push_split(made.after, places["split_uri"])
    except ConflictError as error:
        if not once_more:
            raise ConflictError(
                f"Other runs changed the saved split at {places['split_uri']} twice while this one was preparing its "
                f"images: {error} Run prepare_images again when they have finished."
            ) from error
        _LOG.warning("Another run has changed the saved split in the meantime: splitting again")
        for path in (path for folder in folders for path in folder.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return _write_split(found, pictures, folders, settings, places, started, once_more=False)
    return made


def _settings(
    size: int, channels: int, test_per_class: int, validation_fraction: float, mask_pattern: str, seed: int
) -> dict[str, Any]:
    from regan.artifacts.pixels import require_size
    from regan.common.errors import SettingError
    from regan.preparation.split import LEAST_TO_TEST

    require_size(size, size)
    if channels not in (1, 3):
        raise SettingError(f"Unsupported channels={channels}: use 1 (grey) or 3 (RGB).")
    if test_per_class < LEAST_TO_TEST:
        raise SettingError(
            f"test_per_class={test_per_class} is too small: classifiers are compared on several images of each class. "
            f"Use {LEAST_TO_TEST} or more."
        )
    if not 0 < validation_fraction < 1:
        raise SettingError(
            f"validation_fraction={validation_fraction} is out of range: early stopping and thresholds need images of "
            "their own. Use a value above 0 and below 1, such as 0.1."
        )
    if seed < 0:
        raise SettingError(f"seed={seed} is negative: use 0 or more.")
    return {
        "size": size,
        "channels": channels,
        "test_per_class": test_per_class,
        "validation_fraction": validation_fraction,
        "mask_pattern": mask_pattern,
        "seed": seed,
    }


@contextmanager
def _open(source: str | Path, *, beside: Path) -> "Iterator[Source]":
    """The source; from a URI it is first downloaded to the disk of the outputs."""
    from regan.preparation.sources import open_source
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


def _write_sets(
    found: "Inspection", sides: Sequence[str], pictures: "Source", folders: Sequence[Path], settings: Mapping[str, Any]
) -> "dict[str, np.ndarray]":
    """Second pass: write the three sets, shuffled, and return a sheet of training images for each class."""
    import numpy as np

    from regan.artifacts.history import contact_sheet
    from regan.artifacts.image_set import ImageSetWriter
    from regan.common.progress import Progress
    from regan.preparation.inspection import prepared_image

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
    made: "Outcome",
    sheets: "Mapping[str, np.ndarray]",
    folders: Sequence[Path],
    settings: Mapping[str, Any],
    places: Mapping[str, str],
    seconds: float,
) -> None:
    from regan.artifacts.entries import PrepareImagesEntry
    from regan.artifacts.entry import write_entry
    from regan.artifacts.rows import RefusalReason, RefusedFile, SourcePlace
    from regan.preparation.inspection import group_table, split_table

    found, sides = made.found, made.sides
    reasons = Counter(refusal.reason for refusal in made.refused)
    of_saved_split: dict[str, Any] = made.split_figures() if places["split_uri"] else {}
    entry = PrepareImagesEntry(
        **settings,
        train=sides.count("train"),
        validation=sides.count("validation"),
        test=sides.count("test"),
        num_refused=len(made.refused),
        num_duplicates=found.num_duplicates,
        num_label_conflicts=found.num_label_conflicts,
        num_groups=len({image.group for image in found.images}),
        num_groups_of_both_classes=len(found.mixed_groups),
        num_enlarged=sum(image.enlarged for image in found.images),
        **of_saved_split,
        split=split_table(found, sides),
        refusal_reasons=tuple(RefusalReason(reason, n) for reason, n in reasons.most_common()),
        source=(SourcePlace(places["source"], places["split_uri"] or None),),
        refused=tuple(RefusedFile(one.file, one.reason, one.detail) for one in made.refused),
        groups=group_table(found, sides),
    )
    for folder in folders:
        write_entry(folder, entry, {}, private_thumbnails=sheets, seconds=seconds)
