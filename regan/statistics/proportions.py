"""Confidence intervals of one proportion, and the result type of all intervals.

`clopper_pearson` is for the re-analysis of published results; only tests call it at present.
"""

import math
from dataclasses import dataclass

from scipy import stats
from statsmodels.stats.proportion import proportion_confint


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided confidence interval."""

    estimate: float
    lower: float
    upper: float


def wilson(successes: int, total: int, *, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion; its coverage is close to nominal on average.

    Args:
        successes: Number of successes, 0 to `total`.
        total: Number of trials, at least 1.
        confidence: Two-sided confidence level, between 0 and 1.

    Returns:
        The proportion with its interval, 0 to 1.

    Raises:
        ValueError: The counts or the confidence level are out of range.

    References:
        Wilson, Probable inference, J. Am. Stat. Assoc. 22 (1927).
    """
    return _interval(successes, total, confidence, "wilson")


def clopper_pearson(successes: int, total: int, *, confidence: float = 0.95) -> Interval:
    """Exact (Clopper-Pearson) interval of a proportion; its coverage is never below nominal. Arguments as in `wilson`.

    References:
        Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 26 (1934).
    """
    return _interval(successes, total, confidence, "beta")


def normal_quantile(confidence: float) -> float:
    """Standard normal quantile of a two-sided confidence level: 1.959964 for .95."""
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be between 0 and 1, such as 0.95. Received confidence={confidence}.")
    return float(stats.norm.ppf((1 + confidence) / 2))


def deviate_from_interval(interval: Interval, value: float, *, confidence: float = 0.95) -> float:
    """Standard normal deviate of the estimate from `value`, with the standard error recovered from the interval.

    The standard error is that of the limit on the side of `value`, so the deviate exceeds the quantile of `confidence`
    exactly if the interval excludes `value`.

    Args:
        interval: An estimate with its interval.
        value: Hypothetical value.
        confidence: Two-sided confidence level of the interval.

    Returns:
        The deviate, positive if the estimate is above `value`.

    References:
        Zou and Donner, Construction of confidence limits about effect measures, Stat. Med. 27 (2008).
    """
    # An asymmetric interval has another standard error on each side.
    distance = interval.estimate - value
    reach = interval.estimate - interval.lower if distance > 0 else interval.upper - interval.estimate
    if reach == 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return normal_quantile(confidence) * distance / reach


def _interval(successes: int, total: int, confidence: float, method: str) -> Interval:
    normal_quantile(confidence)
    if total < 1 or not 0 <= successes <= total:
        raise ValueError(
            "A proportion needs at least one trial, and 0 to `total` successes. "
            f"Received successes={successes}, total={total}."
        )
    lower, upper = proportion_confint(successes, total, alpha=1 - confidence, method=method)
    return Interval(successes / total, float(lower), float(upper))
