"""Distances and coverage of two sets, as means over classes and at equal numbers of images."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from regan.quality.coverage import coverage
from regan.quality.frechet import Moments, frechet_distance
from regan.quality.kernel import KernelDistance, kernel_distance

NEIGHBOURS = 5  # as recommended by Naeem et al. (2020)
LEAST_IMAGES = 8  # per class; distances of fewer are mostly noise
_MOST_DRAWS = 20  # parts of a larger set that are averaged; more cost time and add little


@dataclass(frozen=True)
class Distances:
    """Kernel distance with its standard error, and Frechet distance."""

    kernel: KernelDistance
    frechet: float


@dataclass(frozen=True)
class Measures:
    """Measures of one set against a real one, at one number of images; see `Coverage` for the last four."""

    frechet_distance: float
    precision: float
    recall: float
    density: float
    coverage: float


def distances(real: np.ndarray, other: np.ndarray, *, seed: int = 0) -> Distances:
    """Both distances between two sets of features, float64 `(n, d)` and `(m, d)`, the real one first."""
    frechet = frechet_distance(Moments.from_features(real), Moments.from_features(other))
    return Distances(kernel_distance(real, other, seed=seed), frechet)


def mean_distances(parts: Sequence[Distances]) -> Distances:
    """Mean over classes with equal weights; standard errors are combined as those of independent estimates."""
    return Distances(
        mean_kernel_distance([part.kernel for part in parts]), float(np.mean([part.frechet for part in parts]))
    )


def mean_kernel_distance(parts: Sequence[KernelDistance]) -> KernelDistance:
    """Mean over classes, as in `mean_distances`."""
    error = float(np.sqrt(np.sum([part.standard_error**2 for part in parts]))) / len(parts)
    return KernelDistance(float(np.mean([part.value for part in parts])), error)


def random_halves(features: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split the rows of features `(n, d)` at random into two sets `(n // 2, d)`; an odd row is left out."""
    order = np.random.default_rng(seed).permutation(len(features))
    half = len(features) // 2
    return features[order[:half]], features[order[half : 2 * half]]


def measures(real: np.ndarray, other: np.ndarray, num_images: int, *, seed: int = 0) -> Measures:
    """Frechet distance, precision, recall, density and coverage, with `num_images` of `other` at a time.

    The Frechet distance, recall and coverage depend on the number of images, so a value and its floor are comparable
    only at the same number. A larger set is split into disjoint parts of this size, at most 20, whose values are
    averaged.

    Args:
        real: Features of the reference set, float64 `(n, d)`.
        other: Features of the measured set, float64 `(m, d)`, m at least `num_images`.
        num_images: Images per part, at least 2.
        seed: Seed of the split.

    Returns:
        Means over the parts.

    Raises:
        ValueError: There are fewer images than `num_images`, or than the measures need.
    """
    if not 2 <= num_images <= len(other):
        raise ValueError(
            f"`num_images` must be between 2 and the {len(other)} images of the measured set. "
            f"Received num_images={num_images}."
        )
    order = np.random.default_rng(seed).permutation(len(other))
    num_parts = min(_MOST_DRAWS, len(other) // num_images)
    parts = [other[order[part * num_images : (part + 1) * num_images]] for part in range(num_parts)]
    # Small sets have fewer neighbours than 5; the floor has the same k, so both stay comparable.
    k = min(NEIGHBOURS, num_images - 1, len(real) - 1)
    moments = Moments.from_features(real)
    frechet = [frechet_distance(moments, Moments.from_features(part)) for part in parts]
    views = [coverage(real, part, k=k) for part in parts]
    return Measures(
        frechet_distance=float(np.mean(frechet)),
        precision=float(np.mean([view.precision for view in views])),
        recall=float(np.mean([view.recall for view in views])),
        density=float(np.mean([view.density for view in views])),
        coverage=float(np.mean([view.coverage for view in views])),
    )


def mean_measures(parts: Sequence[Measures]) -> Measures:
    """Mean over classes with equal weights."""
    return Measures(
        **{one.name: float(np.mean([getattr(part, one.name) for part in parts])) for one in fields(Measures)}
    )
