"""Confidence intervals of one proportion, and the small result that every interval here is given as."""

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


def _interval(successes: int, total: int, confidence: float, method: str) -> Interval:
    normal_quantile(confidence)
    if total < 1 or not 0 <= successes <= total:
        raise ValueError(
            "A proportion needs at least one trial and between 0 and `total` successes. "
            f"Received successes={successes}, total={total}."
        )
    lower, upper = proportion_confint(successes, total, alpha=1 - confidence, method=method)
    return Interval(successes / total, float(lower), float(upper))
