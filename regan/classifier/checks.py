"""Checks between image sets, before a classifier is trained or tested on them."""

from collections.abc import Iterable, Mapping

from regan.artifacts.image_set import ImageRow, ImageSet
from regan.common.errors import OverlapError, TooFewImagesError, WrongArtifactError

Index = set[tuple[str, str]]


def index_of(rows: Iterable[ImageRow]) -> Index:
    """Return (pixel hash, group) of images, as in a training index."""
    return {(row.sha256, row.group) for row in rows}


def images_in_index(rows: Iterable[ImageRow], index: Index) -> list[ImageRow]:
    """Return the images whose pixel hash or group is in an index. An empty group counts as no group."""
    hashes = {sha256 for sha256, _ in index}
    # Synthetic images and foreign sets have no groups, and would all be in the empty one.
    groups = {group for _, group in index} - {""}
    return [row for row in rows if row.sha256 in hashes or row.group in groups]


def require_both_classes(image_set: ImageSet, argument: str) -> None:
    """Refuse a set that lacks images of a class.

    Raises:
        TooFewImagesError: A class has no images.
    """
    empty = [label for label in image_set.classes if not image_set.counts[label]]
    if empty:
        raise TooFewImagesError(
            f"`{argument}` contains no images of class {', '.join(empty)}. Both classes are needed, "
            f"{' and '.join(image_set.classes)}. Received {image_set.path}. Prepare or filter the images again."
        )


def require_same_kind(sets: Mapping[str, ImageSet]) -> None:
    """Refuse sets that differ in image size, channels, or classes and their order.

    Raises:
        WrongArtifactError: They differ.
    """
    kinds = {name: _kind(s.size, s.channels, s.classes) for name, s in sets.items()}
    if len(set(kinds.values())) > 1:
        raise WrongArtifactError(
            "The image sets differ in size, channels or classes (the positive class is last). "
            f"Received {'; '.join(f'`{name}`: {kind}' for name, kind in kinds.items())}. Prepare them together."
        )


def require_kind_of_model(image_set: ImageSet, argument: str, size: int, channels: int, classes: Iterable[str]) -> None:
    """Refuse images that a model of this size, channels and classes cannot take.

    Raises:
        WrongArtifactError: The images differ from those of the model.
    """
    expected, received = (
        _kind(size, channels, tuple(classes)),
        _kind(image_set.size, image_set.channels, image_set.classes),
    )
    if expected != received:
        raise WrongArtifactError(
            f"`{argument}` contains images of another kind than the classifier was trained on. Expected {expected}. "
            f"Received {received} in {image_set.path}. Prepare the images with the classifier's settings, or train "
            "another classifier."
        )


def require_disjoint(training: ImageSet, validation: ImageSet) -> None:
    """Refuse validation images that are used in training, directly or through synthetic images made from them.

    Raises:
        OverlapError: A pixel hash or a group is in both, so early stopping and threshold would see training images.
    """
    # The training index of a synthetic set lists the real images behind it, so a leak through the generator is found.
    shared = images_in_index(validation.rows, index_of(training.rows) | training.training_index())
    if shared:
        raise OverlapError(
            f"Validation images overlap with training data ({len(shared)} of {len(validation)} images). They or others "
            f"of their group are in {training.path} or trained the generator of its images; the first is "
            f"{shared[0].name} (SHA-256 {shared[0].sha256[:12]}, group {shared[0].group or 'none'}). Split again with "
            "`prepare_images`."
        )


def require_unique(image_set: ImageSet, argument: str) -> None:
    """Refuse a set that contains an image twice, because predictions are paired by pixel hash.

    Raises:
        WrongArtifactError: An image is repeated.
    """
    repeated = len(image_set) - len({row.sha256 for row in image_set.rows})
    if repeated:
        raise WrongArtifactError(
            f"`{argument}` contains {repeated} repeated images. Each image may occur once, because predictions are "
            f"paired by pixel hash. Received {image_set.path}. `prepare_images` removes duplicates."
        )


def _kind(size: int, channels: int, classes: tuple[str, ...]) -> str:
    return f"{size} x {size}, {'grey' if channels == 1 else 'RGB'}, classes {', '.join(classes)}"
