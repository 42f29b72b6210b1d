"""The outcome of one preparation: the side of each image, the rejected files, and the saved split before and after."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regan.common.text import printable
from regan.preparation.inspection import Inspection, split_table
from regan.preparation.saved_split import (
    SavedSplit,
    SplitMatch,
    extend_split,
    match_split,
    read_split,
    split_figures,
)
from regan.preparation.sources import Refusal
from regan.preparation.split import LEFT_OUT, TEST, split_by_group

_LOG = logging.getLogger("regan")
_LARGE_GROUP = 20  # images; one lesion rarely has more, so a larger group may join different lesions
# Reasons that need no list of files.
_ORDINARY = ("mask", "hidden file", "not an image file by its name", "unwanted class", "resembles a test image")


@dataclass(frozen=True)
class Outcome:
    """How a source was split.

    Attributes:
        found: The usable images, with the groups that they have in the saved split.
        sides: Side of each image: `train`, `validation`, `test` or `left out`.
        refused: The rejected files.
        match: How the images match the saved split.
        before: The saved split before this run; empty if none is kept from run to run.
        after: The saved split with this run's images; the same object if none is new.
    """

    found: Inspection
    sides: list[str]
    refused: list[Refusal]
    match: SplitMatch
    before: SavedSplit
    after: SavedSplit

    def split_figures(self) -> dict[str, int]:
        """Figures of the saved split for the history, as `regan.preparation.saved_split.split_figures`."""
        return split_figures(self.before, self.after, self.match)


def split_images(found: Inspection, settings: Mapping[str, Any], split_uri: str) -> Outcome:
    """Split the images of a source, after the saved split at a URI if there is one.

    Args:
        found: The images.
        settings: `test_per_class`, `validation_fraction` and `seed` of `split_by_group`.
        split_uri: URI of the saved split; empty for none.

    Raises:
        CorruptFileError: The saved split is corrupt.
        WrongArtifactError: The saved split is of other classes.
        OSError: As `regan.storage.fetch`.
    """
    before = read_split(split_uri, found.classes) if split_uri else SavedSplit()
    match = match_split(before, found.images)
    sides = split_by_group(
        [image.label for image in found.images],
        match.groups,
        test_per_class=settings["test_per_class"],
        validation_fraction=settings["validation_fraction"],
        seed=settings["seed"],
        train_only=found.mixed_groups,
        assigned=match.sides,
    )
    after = extend_split(before, found.images, sides, match, found.classes) if split_uri else before
    regrouped = tuple(replace(image, group=group) for image, group in zip(found.images, match.groups))
    found = replace(found, images=regrouped)
    refused = [*found.refused, *_left_out(found, sides, match)]
    return Outcome(found, sides, refused, match, before, after)


def log_outcome(made: Outcome, test_per_class: int) -> None:
    """Log how many images are where, how many files were rejected for which reason, and what to check by eye."""
    found, sides, refused = made.found, made.sides, made.refused
    negative, positive = found.classes
    _LOG.info("Classes: %s (negative) and %s (positive)", negative, positive)
    for row in split_table(found, sides):
        _LOG.info("%s: %d images of %s in %d groups", row.set, row.images, row.class_, row.groups)
        if row.set == "test" and row.images < test_per_class:
            _LOG.warning(
                "test: %d images of %s are fewer than `test_per_class`; new images of later runs will be added",
                row.images,
                row.class_,
            )
    if made.before.images:
        figures = made.split_figures()
        _LOG.info(
            "Saved split: %d known images stay on their side, %d are new, %d of earlier runs are missing",
            *(figures[name] for name in ("num_known", "num_new", "num_gone")),
        )
    for reason, n in Counter(refusal.reason for refusal in refused).most_common():
        _LOG.info("Rejected: %d files, %s", n, reason)
    if any(refusal.reason not in _ORDINARY for refusal in refused):
        # File names may identify patients, and logs are read by more people than history/private.
        _LOG.warning("Rejected files are listed by name in `history/private` of the outputs")
    largest, size = Counter(image.group for image in found.images).most_common(1)[0]
    if size > _LARGE_GROUP:
        _LOG.warning(
            "Group %s contains %d images: check that they show the same lesion; history/private lists them",
            largest,
            size,
        )
    if enlarged := sum(image.enlarged for image in found.images):
        _LOG.warning("%d images are smaller than `size` and were upscaled", enlarged)


def _left_out(found: Inspection, sides: Sequence[str], match: SplitMatch) -> Iterator[Refusal]:
    tested = {image.group: printable(image.file.name) for image, side in zip(found.images, sides) if side == TEST}
    for index, (image, side) in enumerate(zip(found.images, sides)):
        if index in match.refused:
            yield Refusal(printable(image.file.name), *match.refused[index])
        elif side == LEFT_OUT:
            other = tested.get(image.group, "a test image of an earlier run")
            yield Refusal(
                printable(image.file.name),
                "resembles a test image",
                f"duplicate or near duplicate of {other}, or of an image of its group",
            )
