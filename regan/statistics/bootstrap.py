"""Paired bootstrap of a difference, resampled by group within strata, for data whose pairs are not independent."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from regan.statistics.proportions import Interval, normal_quantile


@dataclass(frozen=True)
class Bootstrap:
    """An estimate with its percentile interval, and the bootstrap values behind it, `draws`, float64 `(num_draws,)`."""

    interval: Interval
    draws: np.ndarray

    def tail(self, value: float) -> float:
        """One-sided p-value: share of draws at or below `value`.

        The data themselves count as one more draw, so it is never 0 (Davison and Hinkley 1997, section 4.2).
        """
        return float((1 + np.sum(self.draws <= value)) / (1 + len(self.draws)))

    @property
    def p(self) -> float:
        """Two-sided p-value of the hypothesis that the difference is 0."""
        upper = float((1 + np.sum(self.draws >= 0)) / (1 + len(self.draws)))
        return min(1.0, 2 * min(self.tail(0.0), upper))


def paired_bootstrap(
    statistic: Callable[[np.ndarray], float],
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    num_draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Bootstrap:
    """Resample whole groups within strata and compute a paired statistic on each draw.

    The strata are the groups with only positive, only negative, and mixed images, so that every draw keeps both
    classes.

    Args:
        statistic: Function from the row numbers of a draw, int `(m,)`, to the (paired) value on these rows.
        labels: True labels, bool `(n,)`, True for positive.
        groups: Group of each row, str `(n,)`; an empty string is a group of its own.
        num_draws: Number of draws, at least 100.
        confidence: Two-sided confidence level of the percentile interval.
        seed: Seed of the draws.

    Returns:
        The value on all rows with its percentile interval, and the values of the draws.

    Raises:
        ValueError: The lengths differ, or there are too few draws.

    References:
        Efron and Tibshirani, An introduction to the bootstrap (1993), chapter 13; Davison and Hinkley (1997), section
        3.8 (groups).
    """
    normal_quantile(confidence)
    if num_draws < 100:
        raise ValueError(f"`num_draws` must be at least 100 for an interval. Received num_draws={num_draws}.")
    strata = _strata(np.asarray(labels, bool), np.asarray(groups, str))
    generator = np.random.default_rng(seed)
    draws = np.empty(num_draws)
    for draw in range(num_draws):
        groups_of_draw = [group for stratum in strata for group in _redraw(stratum, generator)]
        draws[draw] = statistic(np.concatenate(groups_of_draw))
    # Percentile interval: it needs no standard error, and stays within the range of the statistic.
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(draws, [tail, 1 - tail])
    return Bootstrap(Interval(float(statistic(np.arange(np.size(labels)))), float(lower), float(upper)), draws)


def _strata(labels: np.ndarray, groups: np.ndarray) -> list[list[np.ndarray]]:
    if labels.ndim != 1 or labels.shape != groups.shape:
        raise ValueError(
            f"Labels and groups must be flat and of one length. Received {labels.shape} and {groups.shape}."
        )
    # A name for each row without a group; the zero byte cannot occur in the name of a real one.
    names = np.where(groups == "", [f"\0{row}" for row in range(len(groups))], groups)
    _, number = np.unique(names, return_inverse=True)
    order = np.argsort(number, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    # (any positive, all positive): negative, mixed and positive groups.
    strata: dict[tuple[bool, bool], list[np.ndarray]] = {}
    for rows in members:
        strata.setdefault((bool(labels[rows].any()), bool(labels[rows].all())), []).append(rows)
    return list(strata.values())


def _redraw(stratum: list[np.ndarray], generator: np.random.Generator) -> list[np.ndarray]:
    return [stratum[index] for index in generator.integers(len(stratum), size=len(stratum))]
