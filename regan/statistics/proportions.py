"""Confidence intervals of one proportion, and the small result that every interval here is given as.

`clopper_pearson` serves the re-analysis of published results; today only tests call it.
"""

import math
from dataclasses import dataclass

from scipy import stats
from statsmodels.stats.proportion import proportion_confint


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided confidence interval."""

    estimate: float
    lower: float
    upper: float


def wilson(successes: int, total: int, *, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion; its coverage is close to nominal on average.

    Args:
        successes: Number of successes, 0 to `total`.
        total: Number of trials, at least 1.
        confidence: Two-sided level, between 0 and 1.

    Returns:
        The proportion with its interval, 0 to 1.

    Raises:
        ValueError: The counts or the level are out of range.

    References:
        Wilson, Probable inference, J. Am. Stat. Assoc. 22 (1927).
    """
    return _interval(successes, total, confidence, "wilson")


def clopper_pearson(successes: int, total: int, *, confidence: float = 0.95) -> Interval:
    """Exact interval of a proportion; its coverage is never below nominal. Arguments as in `wilson`.

    References:
        Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 26 (1934).
    """
    return _interval(successes, total, confidence, "beta")


def normal_quantile(confidence: float) -> float:
    """Standard normal deviate of a two-sided level: 1.959964 for .95."""
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must lie between 0 and 1, such as 0.95. Received confidence={confidence}.")
    return float(stats.norm.ppf((1 + confidence) / 2))


def recovered_deviate(interval: Interval, value: float, *, confidence: float = 0.95) -> float:
    """Standard normal deviate of the estimate against `value`, with the error that the interval itself tells.

    The error is that of the limit on the side of `value`, so the deviate passes the quantile of `confidence` exactly
    when the interval excludes `value`.

    Args:
        interval: An estimate with its interval.
        value: What the estimate is held against.
        confidence: Two-sided level of the interval.

    Returns:
        The deviate, above 0 where the estimate lies above `value`.

    References:
        Zou and Donner, Construction of confidence limits about effect measures, Stat. Med. 27 (2008).
    """
    distance = interval.estimate - value
    reach = interval.estimate - interval.lower if distance > 0 else interval.upper - interval.estimate
    if reach == 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return normal_quantile(confidence) * distance / reach


def _interval(successes: int, total: int, confidence: float, method: str) -> Interval:
    normal_quantile(confidence)
    if total < 1 or not 0 <= successes <= total:
        raise ValueError(
            "A proportion needs at least one trial and between 0 and `total` successes. "
            f"Received successes={successes}, total={total}."
        )
    lower, upper = proportion_confint(successes, total, alpha=1 - confidence, method=method)
    return Interval(successes / total, float(lower), float(upper))
