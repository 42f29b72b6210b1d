"""Precision, recall, density and coverage: are synthetic images realistic, and do they cover the real ones?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from regan.quality.frechet import require_features

_BLOCK_BYTES = 64 * 2**20  # of distances in memory at a time


@dataclass(frozen=True)
class Coverage:
    """Four measures of two sets of features; for two samples of one distribution each is near 1.

    Attributes:
        precision: Share of synthetic images inside the neighbourhood of a real one, 0 to 1.
        recall: Share of real images inside the neighbourhood of a synthetic one, 0 to 1.
        density: Mean number of real neighbourhoods around a synthetic image, by k; may exceed 1.
        coverage: Share of real neighbourhoods that contain a synthetic image, 0 to 1.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def coverage(real: ArrayLike, synthetic: ArrayLike, *, k: int = 5) -> Coverage:
    """Precision and recall, density and coverage, by k nearest neighbours.

    The neighbourhood of an image extends to its k-th nearest other image of its own set. Recall and coverage depend on
    the number of synthetic images: compare equal numbers.

    Args:
        real: Features of real images, float64 `(n, d)`, n more than k.
        synthetic: Features of synthetic images, float64 `(m, d)`, m more than k.
        k: Number of neighbours.

    Returns:
        The four measures.

    Raises:
        ValueError: Too few images for k, different dimensions, or a feature that is not finite.

    References:
        Kynkaanniemi et al., https://arxiv.org/abs/1904.06991; Naeem et al., https://arxiv.org/abs/2002.09797.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1. Received k={k}.")
    real_features, synthetic_features = require_features(real, k + 1), require_features(synthetic, k + 1)
    real_reach, synthetic_reach = _neighbourhood_radii(real_features, k), _neighbourhood_radii(synthetic_features, k)
    inside_real = np.zeros(len(synthetic_features))  # real neighbourhoods around each synthetic image
    inside_synthetic, covered = np.empty(len(real_features), bool), np.empty(len(real_features), bool)
    for rows, squared in squared_distances(real_features, synthetic_features):
        # Strictly inside, as in the definition of density and coverage (Naeem et al., section 3).
        inside_real += np.sum(squared < real_reach[rows, None], axis=0)
        inside_synthetic[rows] = np.any(squared < synthetic_reach, axis=1)
        covered[rows] = squared.min(axis=1) < real_reach[rows]
    return Coverage(
        precision=float(np.mean(inside_real > 0)),
        recall=float(np.mean(inside_synthetic)),
        density=float(inside_real.mean() / k),
        coverage=float(np.mean(covered)),
    )


def nearest_distances(queries: ArrayLike, references: ArrayLike) -> np.ndarray:
    """Euclidean distance of each query `(n, d)` to its nearest reference `(m, d)`, float64 `(n,)`."""
    first, second = require_features(queries, 1), require_features(references, 1)
    nearest = np.empty(len(first))
    for rows, squared in squared_distances(first, second):
        nearest[rows] = squared.min(axis=1)
    return np.sqrt(nearest)


def squared_distances(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared Euclidean distances `(rows, m)`, for some rows of `first` at a time, so that memory stays bounded.

    Raises:
        ValueError: The dimensions differ.
    """
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"Both sets must have the same features. Received dimensions {first.shape[1]}, {second.shape[1]}."
        )
    # |x - y|^2 = |x|^2 + |y|^2 - 2 x.y: one matrix product, whose rounding may go just below 0.
    norms = np.sum(second**2, axis=1)
    step = max(1, _BLOCK_BYTES // (8 * len(second)))
    for start in range(0, len(first), step):
        rows = slice(start, min(start + step, len(first)))
        squared = np.sum(first[rows] ** 2, axis=1)[:, None] + norms - 2 * (first[rows] @ second.T)
        yield rows, np.clip(squared, 0, None, out=squared)


def _neighbourhood_radii(features: np.ndarray, k: int) -> np.ndarray:
    reach = np.empty(len(features))
    for rows, squared in squared_distances(features, features):
        # An image is its own nearest neighbour; exactly 0 makes it the first, so place k is its k-th other neighbour.
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = 0
        reach[rows] = np.partition(squared, k, axis=1)[:, k]
    return reach
