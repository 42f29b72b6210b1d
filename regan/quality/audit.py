"""Audit of a synthetic set: distances and coverage beside real-versus-real floors, and memorised training images."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from regan.artifacts.image_set import ImageSet
from regan.common.errors import TooFewImagesError
from regan.common.progress import Progress
from regan.quality.coverage import nearest_distances
from regan.quality.distances import LEAST_IMAGES, mean_kernel_distance, mean_measures, measures
from regan.quality.features import FeatureExtractor, batch_size
from regan.quality.kernel import KernelDistance, kernel_distance
from regan.quality.memorisation import MemorisationThreshold, is_memorised, memorisation_threshold
from regan.quality.nearest import LEAST_NEIGHBOURS, Nearest, NearestImages

_LEAST_HELD_OUT = 30  # images; the quartiles of fewer are too uncertain, so training images are added
_MOST_LEFT_OUT = 300  # training images that are added; more cost time and hardly move a quartile


@dataclass(frozen=True)
class AuditRow:
    """One measure of the audit. The names of the fields are columns of its tables.

    Attributes:
        measure: Name of the measure.
        value: Value of the synthetic images.
        floor: Value of held-out real images (real versus real); None if there are too few of them.
        limit: Largest value that passes; None = no limit.
        passed: Whether the value is within the limit; None without a limit.
    """

    measure: str
    value: float
    floor: float | None
    limit: float | None = None
    passed: bool | None = None


@dataclass(frozen=True, eq=False)
class Audit:
    """Result of an audit.

    Attributes:
        verdict: `failed` if a limit is exceeded.
        rows: All measures, with floor and limit.
        kernel_standard_error: Standard error of the kernel distance.
        num_compared: Number of images per class at which the Frechet distance, recall and coverage are measured.
        held_out: Description of the real images that the threshold was computed from.
        threshold: Ratio below which an image counts as memorised.
        nearest: Nearest training image of each synthetic image.
        memorised: Whether each synthetic image is memorised, bool `(n,)`.
    """

    verdict: Literal["passed", "failed"]
    rows: tuple[AuditRow, ...]
    kernel_standard_error: float
    num_compared: int
    held_out: str
    threshold: MemorisationThreshold
    nearest: Nearest
    memorised: np.ndarray

    def closest(self, num_images: int) -> np.ndarray:
        """Return the numbers of the synthetic images that are closest to a training image, int `(<= num_images,)`."""
        # Relative to the threshold, so that the ratios at both sizes are comparable.
        nearest, threshold = self.nearest, self.threshold
        closeness = np.minimum(nearest.coarse_ratio / threshold.coarse, nearest.fine_ratio / threshold.fine)
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
    """Compare synthetic images with the real ones that trained their generator.

    Distances and coverage are measured per class and averaged, so that mixed-up classes are noticed; if a class has too
    few images, both classes are measured together. Images are streamed.

    Args:
        synthetic: Synthetic images, at least 8.
        train: Real images that trained the generator, at least 8.
        validation: Real images that did not (held out).
        extractor: Feature extractor of the distances.
        max_memorised: Largest share of memorised images that passes, 0 to 1.
        seed: Seed of the sampling that makes sets equally large.

    Returns:
        The audit.

    Raises:
        TooFewImagesError: There are too few images.
    """
    _require_enough(synthetic, "synthetic")
    _require_enough(train, "train")
    with Progress("Audit images", len(train) + len(validation) + len(synthetic)) as progress:
        index, train_features = _index(train, extractor, progress)
        of_validation = _measure_set(validation, extractor, index, progress)
        of_synthetic = _measure_set(synthetic, extractor, index, progress)
    held_out, description = _held_out_neighbours(index, train, of_validation.nearest)
    threshold = memorisation_threshold(held_out)
    memorised = is_memorised(of_synthetic.nearest, threshold)
    features = {"train": train_features, "validation": of_validation.features, "synthetic": of_synthetic.features}
    parts = _split_by_class(features, {"train": train, "validation": validation, "synthetic": synthetic}, extractor)
    copies = _memorisation_row(memorised, is_memorised(held_out, threshold), max_memorised)
    kernel, rows, num_compared = _measure(parts, seed)
    return Audit(
        verdict="passed" if copies.passed else "failed",
        rows=(*rows, copies),
        kernel_standard_error=kernel.standard_error,
        num_compared=num_compared,
        held_out=description,
        threshold=threshold,
        nearest=of_synthetic.nearest,
        memorised=memorised,
    )


@dataclass(frozen=True, eq=False)
class _SetMeasurements:
    features: np.ndarray
    nearest: Nearest


@dataclass(frozen=True, eq=False)
class _ClassFeatures:
    """Scaled features `(n, d)` of one class, or of all; without a floor, `held_out` has fewer than 8 rows."""

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
        raise TooFewImagesError(
            f"`{name}` contains too few images for an audit, which needs {LEAST_IMAGES}. Received {len(images)} in "
            f"{images.path}."
        )


def _stream(images: ImageSet, progress: Progress) -> Iterator[np.ndarray]:
    for batch, _ in images.batches(batch_size(images.size, images.channels)):
        yield batch
        progress.advance(len(batch))


def _index(train: ImageSet, extractor: FeatureExtractor, progress: Progress) -> tuple[NearestImages, np.ndarray]:
    features: list[np.ndarray] = []

    def measure_features() -> Iterator[np.ndarray]:
        # Features are computed while the index reads the batches, so that each image is decoded once.
        for batch in _stream(train, progress):
            features.append(extractor([batch]))
            yield batch

    def fetch(numbers: np.ndarray) -> np.ndarray:
        return np.stack(list(train.images([train.rows[number] for number in numbers])))

    return NearestImages(measure_features(), fetch), np.concatenate(features)


def _measure_set(
    images: ImageSet, extractor: FeatureExtractor, index: NearestImages, progress: Progress
) -> _SetMeasurements:
    features, nearest = [np.empty((0, extractor.dimension))], [Nearest.none()]
    for batch in _stream(images, progress):
        features.append(extractor([batch]))
        nearest.append(index.search([batch]))
    return _SetMeasurements(np.concatenate(features), Nearest.join(nearest))


def _held_out_neighbours(index: NearestImages, train: ImageSet, validation: Nearest) -> tuple[Nearest, str]:
    if len(validation) >= _LEAST_HELD_OUT:
        return validation, f"{len(validation)} validation images"
    # Too few for quartiles. Training images, each compared with those of other groups only, are added: for this
    # comparison they are held out too.
    chosen = np.linspace(0, len(train) - 1, min(len(train), _MOST_LEFT_OUT)).astype(int)
    keys = np.array([row.group or row.sha256 for row in train.rows])
    own = keys[chosen, None] == keys
    comparable = np.sum(~own, axis=1) >= LEAST_NEIGHBOURS
    left_out = index.search(_batches_of(train, chosen[comparable]), own[comparable])
    description = f"{len(validation)} validation images and {len(left_out)} training images left out in turn"
    return Nearest.join([validation, left_out]), description


def _batches_of(images: ImageSet, numbers: np.ndarray) -> Iterator[np.ndarray]:
    rows = [images.rows[number] for number in numbers]
    return (batch for batch, _ in images.batches(batch_size(images.size, images.channels), rows))


def _split_by_class(
    features: dict[str, np.ndarray], sets: dict[str, ImageSet], extractor: FeatureExtractor
) -> list[_ClassFeatures]:
    # The scale comes from the training images only: one that knew the synthetic images would hide their difference.
    scale = extractor.scale(features["train"])
    scaled = {name: scale(values) for name, values in features.items()}
    labels = {name: np.array([row.label for row in images.rows]) for name, images in sets.items()}
    made = sorted(set(labels["synthetic"].tolist()))

    def part(wanted: list[str]) -> _ClassFeatures:
        chosen = {name: scaled[name][np.isin(labels[name], wanted)] for name in scaled}
        return _ClassFeatures(chosen["train"], chosen["synthetic"], chosen["validation"])

    by_class = [part([label]) for label in made]
    if all(min(len(one.train), len(one.synthetic), len(one.held_out)) >= LEAST_IMAGES for one in by_class):
        return by_class
    return [part(made)]


def _measure(parts: list[_ClassFeatures], seed: int) -> tuple[KernelDistance, list[AuditRow], int]:
    value = mean_measures([measures(one.train, one.synthetic, one.num_compared, seed=seed) for one in parts])
    kernel = mean_kernel_distance([kernel_distance(one.train, one.synthetic, seed=seed) for one in parts])
    near = float(np.median(np.concatenate([nearest_distances(one.synthetic, one.train) for one in parts])))
    floors = _floors(parts, seed) if all(one.has_floor for one in parts) else {}
    values = {"kernel_distance": kernel.value} | asdict(value) | {"nearest_feature_distance": near}
    rows = [AuditRow(name, number, floors.get(name)) for name, number in values.items()]
    return kernel, rows, min(one.num_compared for one in parts)


def _floors(parts: list[_ClassFeatures], seed: int) -> dict[str, float]:
    floor = mean_measures([measures(one.train, one.held_out, one.num_compared, seed=seed) for one in parts])
    kernel = mean_kernel_distance([kernel_distance(one.train, one.held_out, seed=seed) for one in parts])
    near = float(np.median(np.concatenate([nearest_distances(one.held_out, one.train) for one in parts])))
    return {"kernel_distance": kernel.value} | asdict(floor) | {"nearest_feature_distance": near}


def _memorisation_row(memorised: np.ndarray, held_out: np.ndarray, max_memorised: float) -> AuditRow:
    share = float(np.mean(memorised))
    return AuditRow("share_memorised", share, float(np.mean(held_out)), max_memorised, share <= max_memorised)
