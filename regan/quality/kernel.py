"""Kernel distance between two sets of features: unbiased squared maximum mean discrepancy with a cubic kernel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from regan.quality.frechet import require_features

_BLOCK_VALUES = 2**23  # kernel values in memory at a time: 64 MiB


@dataclass(frozen=True)
class KernelDistance:
    """A kernel distance and its standard error."""

    value: float
    standard_error: float


def polynomial_mmd(real: ArrayLike, synthetic: ArrayLike) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel `(x.y / d + 1)^3`.

    Args:
        real: Features of real images, float64 `(n, d)`, n at least 2.
        synthetic: Features of synthetic images, float64 `(m, d)`, m at least 2.

    Returns:
        The estimate. Its expectation is 0 for two samples of one distribution at any n and m, so it may be negative.

    Raises:
        ValueError: The dimensions differ, there are too few images, or a feature is not finite.

    References:
        Gretton et al., JMLR 13 (2012), Eq. 3; Binkowski et al., https://arxiv.org/abs/1801.01401.
    """
    return _sums(real, synthetic, 1, np.random.default_rng(0), least=2).estimate()


def kernel_distance(real: ArrayLike, synthetic: ArrayLike, *, num_subsets: int = 20, seed: int = 0) -> KernelDistance:
    """`polynomial_mmd` of all images, with a jackknife standard error.

    On the features of the 2015-12-05 Inception graph it has the expectation of the KID of Binkowski et al. The images
    of each set are split into `num_subsets` subsets, and each is left out in turn (delete-a-group jackknife). Subsets
    drawn with replacement from a small set, as KID is usually reported, share their images and give a standard error
    that goes to 0 with the number of draws, whatever the number of images.

    Args:
        real: Features of real images, float64 `(n, d)`, n at least 3.
        synthetic: Features of synthetic images, float64 `(m, d)`, m at least 3.
        num_subsets: Number of subsets, at least 2; smaller sets have as many as images.
        seed: Seed of the split; the value itself does not depend on it.

    Returns:
        Value and standard error.

    Raises:
        ValueError: As in `polynomial_mmd`.

    References:
        Shao and Tu, The jackknife and bootstrap (1995), section 2.3.
    """
    if num_subsets < 2:
        raise ValueError(f"`num_subsets` must be at least 2 for a standard error. Received num_subsets={num_subsets}.")
    sums = _sums(real, synthetic, num_subsets, np.random.default_rng(seed), least=3)
    left_out = np.array([sums.estimate(without=subset) for subset in range(len(sums.real_sizes))])
    # Variance of a delete-a-group jackknife: (g - 1) / g times the sum of squares.
    g = len(left_out)
    return KernelDistance(sums.estimate(), float(np.sqrt((g - 1) / g * np.sum((left_out - left_out.mean()) ** 2))))


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums of the kernel over pairs of subsets, without the pairs of an image with itself.

    All leave-one-subset-out estimates follow from these g x g numbers, so the kernel is computed once.
    """

    within_real: np.ndarray
    within_synthetic: np.ndarray
    across: np.ndarray
    real_sizes: np.ndarray
    synthetic_sizes: np.ndarray

    def estimate(self, without: int | None = None) -> float:
        kept = np.arange(len(self.real_sizes)) != (-1 if without is None else without)
        pairs = np.ix_(kept, kept)
        n, m = int(self.real_sizes[kept].sum()), int(self.synthetic_sizes[kept].sum())
        within = self.within_real[pairs].sum() / (n * (n - 1)) + self.within_synthetic[pairs].sum() / (m * (m - 1))
        return float(within - 2 * self.across[pairs].sum() / (n * m))


def _sums(real: ArrayLike, synthetic: ArrayLike, num_subsets: int, draw: np.random.Generator, least: int) -> _Sums:
    first, second = require_features(real, least), require_features(synthetic, least)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            "Both sets must have the same features. "
            f"Received dimensions {first.shape[1]} (real) and {second.shape[1]} (synthetic)."
        )
    g = min(num_subsets, len(first), len(second))
    real_parts, synthetic_parts = _deal(first, g, draw), _deal(second, g, draw)
    return _Sums(
        within_real=_pair_sums(real_parts, real_parts, same=True),
        within_synthetic=_pair_sums(synthetic_parts, synthetic_parts, same=True),
        across=_pair_sums(real_parts, synthetic_parts, same=False),
        real_sizes=np.array([len(part) for part in real_parts]),
        synthetic_sizes=np.array([len(part) for part in synthetic_parts]),
    )


def _deal(features: np.ndarray, num_subsets: int, draw: np.random.Generator) -> list[np.ndarray]:
    return [features[rows] for rows in np.array_split(draw.permutation(len(features)), num_subsets)]


def _pair_sums(first: list[np.ndarray], second: list[np.ndarray], *, same: bool) -> np.ndarray:
    # A few rows of kernel values at a time, so that memory does not grow with the square of the set. Within one set the
    # kernel is symmetric: only pairs of subsets i <= j are computed.
    sums = np.zeros((len(first), len(second)))
    for i, part in enumerate(first):
        others = second[i:] if same else second
        joined = np.concatenate(others)
        starts = np.cumsum([0, *(len(other) for other in others[:-1])])
        step = max(1, _BLOCK_VALUES // len(joined))
        for start in range(0, len(part), step):
            kernel = _cubic(part[start : start + step] @ joined.T / joined.shape[1])
            sums[i, len(second) - len(others) :] += np.add.reduceat(kernel.sum(axis=0), starts)
        if same:
            sums[i, i] -= _cubic(np.sum(part**2, axis=1) / part.shape[1]).sum()
            sums[i + 1 :, i] = sums[i, i + 1 :]
    return sums


def _cubic(products: np.ndarray) -> np.ndarray:
    # Not `** 3`, which calls the much slower power function.
    products += 1
    return products * products * products
