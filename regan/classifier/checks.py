"""What must hold between image sets before a classifier may see them."""

from collections.abc import Iterable, Mapping

from regan.artifacts.image_set import ImageRow, ImageSet

Index = set[tuple[str, str]]


def index_of(rows: Iterable[ImageRow]) -> Index:
    """(pixel hash, group) of images, as a training index holds them."""
    return {(row.sha256, row.group) for row in rows}


def images_in_index(rows: Iterable[ImageRow], index: Index) -> list[ImageRow]:
    """Images whose pixel hash or group is in an index. The empty group is no group."""
    hashes = {sha256 for sha256, _ in index}
    groups = {group for _, group in index} - {""}
    return [row for row in rows if row.sha256 in hashes or row.group in groups]


def require_both_classes(image_set: ImageSet, argument: str) -> None:
    """ValueError unless the set holds images of both classes."""
    empty = [label for label in image_set.classes if not image_set.counts[label]]
    if empty:
        raise ValueError(
            f"`{argument}` must hold images of both classes, {' and '.join(image_set.classes)}. Received none of "
            f"{', '.join(empty)} in {image_set.path}. Prepare or filter the images again."
        )


def require_same_kind(sets: Mapping[str, ImageSet]) -> None:
    """ValueError unless all sets have one size, one number of channels and the same classes in the same order."""
    kinds = {name: _kind(s.size, s.channels, s.classes) for name, s in sets.items()}
    if len(set(kinds.values())) > 1:
        raise ValueError(
            "All image sets must have one size, one number of channels and the same classes, the positive one last. "
            f"Received {'; '.join(f'`{name}`: {kind}' for name, kind in kinds.items())}. Prepare them together."
        )


def require_kind_of_model(image_set: ImageSet, argument: str, size: int, channels: int, classes: Iterable[str]) -> None:
    """ValueError unless a model of this size, channels and classes can take the images of the set."""
    expected, received = (
        _kind(size, channels, tuple(classes)),
        _kind(image_set.size, image_set.channels, image_set.classes),
    )
    if expected != received:
        raise ValueError(
            f"`{argument}` must hold images as the classifier was trained on: {expected}. Received {received} in "
            f"{image_set.path}. Prepare the images with the classifier's settings, or train another one."
        )


def require_apart(training: ImageSet, validation: ImageSet) -> None:
    """Refuse validation images that training sees, itself or through the synthetic images made from them.

    Raises:
        ValueError: A pixel hash or a group is on both sides: early stopping and threshold would watch training images.
    """
    shared = images_in_index(validation.rows, index_of(training.rows) | training.training_index())
    if shared:
        raise ValueError(
            "Training and validation must share no image and no group. Received "
            f"{len(shared)} of {len(validation)} validation images that are in {training.path} or behind its synthetic "
            f"images, first {shared[0].name} (sha256 {shared[0].sha256[:12]}, group {shared[0].group or 'none'}). "
            "Split again with `prepare_images`."
        )


def require_unique(image_set: ImageSet, argument: str) -> None:
    """ValueError where an image stands twice: predictions are paired by pixel hash, so each must be the only one."""
    repeated = len(image_set) - len({row.sha256 for row in image_set.rows})
    if repeated:
        raise ValueError(
            f"`{argument}` must hold every image once, because predictions are paired by pixel hash. Received "
            f"{repeated} repeated images in {image_set.path}. `prepare_images` finds duplicates."
        )


def _kind(size: int, channels: int, classes: tuple[str, ...]) -> str:
    return f"{size} x {size}, {'grey' if channels == 1 else 'RGB'}, classes {', '.join(classes)}"
