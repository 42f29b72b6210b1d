"""Paired table of two classifiers on the same images, with interval and score test of the difference in proportions.

The candidate comes first: a difference above 0 favours it. `sample_size` is for planning a test set; only tests call it
at present.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from regan.statistics.proportions import Interval, normal_quantile


@dataclass(frozen=True)
class PairedTable:
    """Numbers of images on which both, one or neither of two classifiers was correct."""

    both: int
    only_first: int
    only_second: int
    neither: int

    def __post_init__(self) -> None:
        counts = (self.both, self.only_first, self.only_second, self.neither)
        if min(counts) < 0 or sum(counts) < 1:
            raise ValueError(f"A paired table needs counts of 0 or more and at least one pair. Received {counts}.")

    @property
    def num_pairs(self) -> int:
        """Number of pairs, concordant and discordant."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def num_discordant(self) -> int:
        """Number of pairs on which only one of the two was correct."""
        return self.only_first + self.only_second

    @property
    def difference(self) -> float:
        """Accuracy of the first minus accuracy of the second, -1 to 1."""
        return (self.only_first - self.only_second) / self.num_pairs


@dataclass(frozen=True)
class ScoreTest:
    """One-sided score test: standardised statistic and p-value."""

    z: float
    p: float


def paired_table(first_right: ArrayLike, second_right: ArrayLike) -> PairedTable:
    """Count the pairs of two classifiers.

    Args:
        first_right: Whether the first classifier (the candidate) was correct on each image, bool `(n,)`.
        second_right: The same for the second (the reference), bool `(n,)`, in the same order of images.

    Returns:
        The four counts.

    Raises:
        ValueError: The lengths differ or are 0.
    """
    first, second = np.asarray(first_right, bool), np.asarray(second_right, bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"Both arrays must be flat and of one length. Received shapes {first.shape}, {second.shape}.")
    return PairedTable(
        both=int(np.sum(first & second)),
        only_first=int(np.sum(first & ~second)),
        only_second=int(np.sum(~first & second)),
        neither=int(np.sum(~first & ~second)),
    )


def tango_interval(table: PairedTable, *, confidence: float = 0.95) -> Interval:
    """Score interval of a paired difference of proportions.

    It inverts `score_statistic`, so it excludes 0 exactly if the asymptotic McNemar test rejects, and it excludes
    `-margin` exactly if `noninferiority_test` does.

    Args:
        table: The four counts, the candidate first.
        confidence: Two-sided confidence level, between 0 and 1.

    Returns:
        The difference (first minus second) with its interval, -1 to 1.

    References:
        Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
        Stat. Med. 17 (1998).
    """
    z = normal_quantile(confidence)
    b, c, n = table.only_first, table.only_second, table.num_pairs
    return Interval(table.difference, _lower_limit(b, c, n, z), -_lower_limit(c, b, n, z))


def noninferiority_test(table: PairedTable, margin: float) -> ScoreTest:
    """Score test of the hypothesis that the first is worse by `margin` or more; a small p-value shows non-inferiority.

    Args:
        table: The four counts, the candidate first.
        margin: Non-inferiority margin (largest acceptable loss), between 0 and 1.

    Returns:
        The statistic at a difference of `-margin`, and its one-sided p-value.

    Raises:
        ValueError: The margin is out of range.

    References:
        Tango (1998), as in `tango_interval`.
    """
    if not 0 < margin < 1:
        raise ValueError(f"`margin` must be between 0 and 1, such as 0.05. Received margin={margin}.")
    z = score_statistic(table, -margin)
    return ScoreTest(z=z, p=float(stats.norm.sf(z)))


def score_statistic(table: PairedTable, delta: float) -> float:
    """Standardised distance of the observed difference from `delta`; positive if the first did better than that.

    Args:
        table: The four counts.
        delta: Hypothetical difference, between -1 and 1.

    Returns:
        A standard normal deviate under the hypothesis; 0 if both distance and variance are 0.

    References:
        Tango (1998), as in `tango_interval`.
    """
    b, c, n = table.only_first, table.only_second, table.num_pairs
    distance = b - c - n * delta
    deviation = math.sqrt(_variance(b, c, n, delta))
    if deviation == 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / deviation


def sample_size(margin: float, discordance: float, *, power: float = 0.8, one_sided_alpha: float = 0.025) -> int:
    """Number of images needed to show non-inferiority within `margin`, if both classifiers are in truth equally good.

    Args:
        margin: Non-inferiority margin (largest acceptable loss), between 0 and 1.
        discordance: Expected share of images on which only one of the two is correct, between 0 and 1.
        power: Probability of showing it.
        one_sided_alpha: Significance level of the test.

    Returns:
        Number of pairs, rounded up.

    Raises:
        ValueError: An argument is not between 0 and 1.
    """
    arguments = {"margin": margin, "discordance": discordance, "power": power, "one_sided_alpha": one_sided_alpha}
    for name, value in arguments.items():
        if not 0 < value < 1:
            raise ValueError(f"`{name}` must be between 0 and 1. Received {name}={value}.")
    # At a true difference of 0 the variance of the observed one is discordance / n.
    z = stats.norm.isf(one_sided_alpha) + stats.norm.ppf(power)
    return math.ceil(z**2 * discordance / margin**2)


def _lower_limit(b: int, c: int, n: int, z: float) -> float:
    # The limit is where the score statistic equals z. The upper limit is the lower one with the classifiers swapped.
    estimate = (b - c) / n
    if estimate == -1:
        return -1.0

    def excess(delta: float) -> float:
        return b - c - n * delta - z * math.sqrt(_variance(b, c, n, delta))

    # If the variance is 0 at the estimate (b = c = 0, or b = n), the estimate is a root too, but not the limit: the
    # search ends just beside it.
    return float(optimize.brentq(excess, -1.0, estimate - 1e-12, xtol=1e-13))


def _variance(b: int, c: int, n: int, delta: float) -> float:
    # Of b - c, with the probability of "only the second" at its maximum likelihood under the difference (Tango, Eq. 5).
    linear = (2 * n - b + c) * delta - b - c
    constant = -c * delta * (1 - delta)
    root = math.sqrt(max(linear**2 - 8 * n * constant, 0.0))
    only_second = (root - linear) / (4 * n)
    return max(n * (2 * only_second + delta * (1 - delta)), 0.0)
