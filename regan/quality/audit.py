"""The audit of a synthetic set: distances and coverage beside real-versus-real floors, and copies of real images."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from regan.artifacts.image_set import ImageSet
from regan.common.progress import Progress
from regan.quality.coverage import nearest_distances
from regan.quality.distances import LEAST_IMAGES, mean_kernel_distance, mean_measures, measures
from regan.quality.features import FeatureExtractor, batch_size
from regan.quality.kernel import KernelDistance, kernel_distance
from regan.quality.memorisation import Cut, is_memorised, memorisation_cut
from regan.quality.nearest import LEAST_NEIGHBOURS, Nearest, NearestImages

_LEAST_HELD_OUT = 30  # images, for quartiles that mean something; fewer are joined by training images
_MOST_LEFT_OUT = 300  # training images that are compared with the others


@dataclass(frozen=True)
class Row:
    """One measure of the audit.

    Attributes:
        measure: Its name.
        value: Of the synthetic images.
        floor: The same of held-out real images; None where there are too few of them.
        limit: What the value may not exceed; None where there is no limit.
        passed: Whether it does not; None without a limit.
    """

    measure: str
    value: float
    floor: float | None
    limit: float | None = None
    passed: bool | None = None


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        verdict: `failed` where a limit is exceeded.
        rows: Every measure, beside its floor and its limit.
        kernel_standard_error: Of the kernel distance.
        num_compared: Images of a class at which the Frechet distance, recall and coverage are given.
        held_out: Which real images say how near is near.
        cut: Under which ratio an image counts as memorised.
        nearest: The nearest training image of each synthetic image.
        memorised: bool `(n,)`, which synthetic images are copies.
    """

    verdict: Literal["passed", "failed"]
    rows: tuple[Row, ...]
    kernel_standard_error: float
    num_compared: int
    held_out: str
    cut: Cut
    nearest: Nearest
    memorised: np.ndarray

    def closest(self, num_images: int) -> np.ndarray:
        """Numbers of the synthetic images that are closest to a training image, int `(<= num_images,)`."""
        closeness = np.minimum(self.nearest.coarse_ratio / self.cut.coarse, self.nearest.fine_ratio / self.cut.fine)
        return np.argsort(closeness, kind="stable")[:num_images]


def audit(
    synthetic: ImageSet,
    train: ImageSet,
    validation: ImageSet,
    extractor: FeatureExtractor,
    *,
    max_memorised: float,
    seed: int = 0,
) -> Audit:
    """Measure synthetic images against the real ones that trained their generator.

    Distances and coverage are taken class by class and averaged, so that mixed-up classes are seen; where a class has
    too few images, both are taken together. Images are streamed.

    Args:
        synthetic: The images on trial, at least 8.
        train: Real images that trained the generator, at least 8.
        validation: Real images that it never saw.
        extractor: What distances are measured on.
        max_memorised: Largest share of memorised images that passes, 0 to 1.
        seed: Of the draws that make sets equally large.

    Returns:
        The audit.

    Raises:
        ValueError: There are too few images.
    """
    _require_enough(synthetic, "synthetic")
    _require_enough(train, "train")
    with Progress("Audit images", len(train) + len(validation) + len(synthetic)) as progress:
        index, train_features = _index(train, extractor, progress)
        held_out_seen = _look(validation, extractor, index, progress)
        seen = _look(synthetic, extractor, index, progress)
    held_out, description = _held_out(index, train, held_out_seen.nearest)
    cut = memorisation_cut(held_out)
    memorised = is_memorised(seen.nearest, cut)
    features = {"train": train_features, "validation": held_out_seen.features, "synthetic": seen.features}
    parts = _parts(features, {"train": train, "validation": validation, "synthetic": synthetic}, extractor)
    copies = _copies_row(memorised, is_memorised(held_out, cut), max_memorised)
    kernel, rows, num_compared = _measure(parts, seed)
    return Audit(
        verdict="passed" if copies.passed else "failed",
        rows=(*rows, copies),
        kernel_standard_error=kernel.standard_error,
        num_compared=num_compared,
        held_out=description,
        cut=cut,
        nearest=seen.nearest,
        memorised=memorised,
    )


@dataclass(frozen=True, eq=False)
class _Looked:
    features: np.ndarray
    nearest: Nearest


@dataclass(frozen=True, eq=False)
class _Part:
    """Scaled features of one class, or of all; `held_out` has fewer than 8 rows where there is no floor."""

    train: np.ndarray
    synthetic: np.ndarray
    held_out: np.ndarray

    @property
    def has_floor(self) -> bool:
        return len(self.held_out) >= LEAST_IMAGES

    @property
    def num_compared(self) -> int:
        return min(len(self.synthetic), len(self.held_out) if self.has_floor else len(self.train))


def _require_enough(images: ImageSet, name: str) -> None:
    if len(images) < LEAST_IMAGES:
        raise ValueError(
            f"`{name}` must hold at least {LEAST_IMAGES} images for an audit. Received {len(images)} in {images.path}."
        )


def _stream(images: ImageSet, progress: Progress) -> Iterator[np.ndarray]:
    for batch, _ in images.batches(batch_size(images.size, images.channels)):
        yield batch
        progress.advance(len(batch))


def _index(train: ImageSet, extractor: FeatureExtractor, progress: Progress) -> tuple[NearestImages, np.ndarray]:
    features: list[np.ndarray] = []

    def measured() -> Iterator[np.ndarray]:
        for batch in _stream(train, progress):
            features.append(extractor([batch]))
            yield batch

    def fetch(numbers: np.ndarray) -> np.ndarray:
        return np.stack(list(train.images([train.rows[number] for number in numbers])))

    return NearestImages(measured(), fetch), np.concatenate(features)


def _look(images: ImageSet, extractor: FeatureExtractor, index: NearestImages, progress: Progress) -> _Looked:
    features, nearest = [np.empty((0, extractor.dimension))], [Nearest.none()]
    for batch in _stream(images, progress):
        features.append(extractor([batch]))
        nearest.append(index.search([batch]))
    return _Looked(np.concatenate(features), Nearest.join(nearest))


def _held_out(index: NearestImages, train: ImageSet, validation: Nearest) -> tuple[Nearest, str]:
    if len(validation) >= _LEAST_HELD_OUT:
        return validation, f"{len(validation)} validation images"
    # Too few for quartiles: training images, each compared with those of other groups only, stand in beside them.
    chosen = np.linspace(0, len(train) - 1, min(len(train), _MOST_LEFT_OUT)).astype(int)
    keys = np.array([row.group or row.sha256 for row in train.rows])
    own = keys[chosen, None] == keys
    comparable = np.sum(~own, axis=1) >= LEAST_NEIGHBOURS
    left_out = index.search(_chosen(train, chosen[comparable]), own[comparable])
    description = f"{len(validation)} validation images and {len(left_out)} training images left out in turn"
    return Nearest.join([validation, left_out]), description


def _chosen(images: ImageSet, numbers: np.ndarray) -> Iterator[np.ndarray]:
    rows = [images.rows[number] for number in numbers]
    return (batch for batch, _ in images.batches(batch_size(images.size, images.channels), rows))


def _parts(features: dict[str, np.ndarray], sets: dict[str, ImageSet], extractor: FeatureExtractor) -> list[_Part]:
    scale = extractor.scale(features["train"])
    scaled = {name: scale(values) for name, values in features.items()}
    labels = {name: np.array([row.label for row in images.rows]) for name, images in sets.items()}
    made = sorted(set(labels["synthetic"].tolist()))

    def part(wanted: list[str]) -> _Part:
        chosen = {name: scaled[name][np.isin(labels[name], wanted)] for name in scaled}
        return _Part(chosen["train"], chosen["synthetic"], chosen["validation"])

    by_class = [part([label]) for label in made]
    if all(min(len(one.train), len(one.synthetic), len(one.held_out)) >= LEAST_IMAGES for one in by_class):
        return by_class
    return [part(made)]


def _measure(parts: list[_Part], seed: int) -> tuple[KernelDistance, list[Row], int]:
    value = mean_measures([measures(one.train, one.synthetic, one.num_compared, seed=seed) for one in parts])
    kernel = mean_kernel_distance([kernel_distance(one.train, one.synthetic, seed=seed) for one in parts])
    near = float(np.median(np.concatenate([nearest_distances(one.synthetic, one.train) for one in parts])))
    floors = _floors(parts, seed) if all(one.has_floor for one in parts) else {}
    values = {"kernel_distance": kernel.value} | asdict(value) | {"nearest_feature_distance": near}
    rows = [Row(name, number, floors.get(name)) for name, number in values.items()]
    return kernel, rows, min(one.num_compared for one in parts)


def _floors(parts: list[_Part], seed: int) -> dict[str, float]:
    floor = mean_measures([measures(one.train, one.held_out, one.num_compared, seed=seed) for one in parts])
    kernel = mean_kernel_distance([kernel_distance(one.train, one.held_out, seed=seed) for one in parts])
    near = float(np.median(np.concatenate([nearest_distances(one.held_out, one.train) for one in parts])))
    return {"kernel_distance": kernel.value} | asdict(floor) | {"nearest_feature_distance": near}


def _copies_row(memorised: np.ndarray, held_out: np.ndarray, max_memorised: float) -> Row:
    share = float(np.mean(memorised))
    return Row("share_memorised", share, float(np.mean(held_out)), max_memorised, share <= max_memorised)
