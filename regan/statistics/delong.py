"""The area under the ROC curve: its variance, its interval, and the paired difference of two."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from regan.statistics.proportions import Interval, normal_quantile, recovered_deviate

NO_ERROR = 1e-12  # below this the estimated error is rounding: one changed rank among 10,000 a class gives 1e-8


@dataclass(frozen=True)
class DeLong:
    """Paired comparison of two AUCs on the same images, the first minus the second.

    Attributes:
        auc_1, auc_2: The two AUCs.
        covariance: DeLong's covariance of the two.
        standard_error: DeLong's error of the difference; 0 where the data cannot tell it.
        z, p: Two-sided test of "no difference".
        lower, upper: Interval of the difference at `confidence`.
        confidence: Two-sided level.
        recovered: Whether the limits (and so z and p) come from the two single intervals, not from `standard_error`.
    """

    auc_1: float
    auc_2: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    standard_error: float
    z: float
    p: float
    lower: float
    upper: float
    confidence: float
    recovered: bool

    @property
    def difference(self) -> float:
        """auc_1 - auc_2."""
        return self.auc_1 - self.auc_2

    def noninferiority_p(self, margin: float) -> float:
        """One-sided p-value of "the first AUC is lower by `margin` or more", in agreement with `lower`."""
        interval = Interval(self.difference, self.lower, self.upper)
        return float(stats.norm.sf(recovered_deviate(interval, -margin, confidence=self.confidence)))


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Chance that a positive image scores above a negative one, ties counted half.

    Args:
        labels: bool `(n,)`, True for positive; both kinds must occur.
        scores: float `(n,)`, higher is more positive.

    Returns:
        AUC, 0 to 1.
    """
    above, _ = _placements(*_checked(labels, scores))
    return float(above.mean())


def delong(labels: ArrayLike, scores_1: ArrayLike, scores_2: ArrayLike, *, confidence: float = 0.95) -> DeLong:
    """Compare two AUCs that were measured on the same images.

    Args:
        labels: bool `(n,)`, True for positive; at least two of each kind.
        scores_1: float `(n,)`, scores of the first classifier (the candidate), higher is more positive.
        scores_2: float `(n,)`, scores of the second (the reference), same order of images.
        confidence: Two-sided level of the interval of the difference.

    Returns:
        Both AUCs, their covariance, and the test and Wald interval of auc_1 - auc_2. Where the estimated error is 0 or
        an AUC is exactly 0 or 1, the Wald form fails: the limits are then recovered from the two single intervals
        (`auc_interval`), and the tests from these limits. Classifiers that rank every pair alike give z 0 and p 1.

    Raises:
        ValueError: The lengths differ, a score is not finite, or a kind has fewer than two images.

    References:
        DeLong et al., Biometrics 44 (1988); Sun and Xu, Fast implementation of DeLong's algorithm, IEEE Signal Process.
        Lett. 21 (2014); Zou and Donner, Construction of confidence limits about effect measures, Stat. Med. 27 (2008).
    """
    above_1, below_1 = _placements(*_checked(labels, scores_1, least=2))
    above_2, below_2 = _placements(*_checked(labels, scores_2, least=2))
    covariance = np.cov(above_1, above_2) / len(above_1) + np.cov(below_1, below_2) / len(below_1)
    auc_1, auc_2 = float(above_1.mean()), float(above_2.mean())
    # The variance of the difference itself, not c11 + c22 - 2 c12: equal placements then give exactly 0.
    error = _error(above_1 - above_2, below_1 - below_2)
    recovered = error == 0 or bool({auc_1, auc_2} & {0.0, 1.0})
    if recovered:
        singles = [auc_interval(labels, scores, confidence=confidence) for scores in (scores_1, scores_2)]
        interval = _square_and_add(*singles)
    else:
        reach = normal_quantile(confidence) * error
        interval = Interval(auc_1 - auc_2, auc_1 - auc_2 - reach, auc_1 - auc_2 + reach)
    z = recovered_deviate(interval, 0.0, confidence=confidence)
    return DeLong(
        auc_1=auc_1,
        auc_2=auc_2,
        covariance=(
            (covariance[0, 0].item(), covariance[0, 1].item()),
            (covariance[1, 0].item(), covariance[1, 1].item()),
        ),
        standard_error=error,
        z=z,
        p=float(2 * stats.norm.sf(abs(z))),
        lower=interval.lower,
        upper=interval.upper,
        confidence=confidence,
        recovered=recovered,
    )


def auc_interval(labels: ArrayLike, scores: ArrayLike, *, confidence: float = 0.95, method: str = "logit") -> Interval:
    """Confidence interval of one AUC.

    Args:
        labels: bool `(n,)`, True for positive; at least two of each kind.
        scores: float `(n,)`, higher is more positive.
        confidence: Two-sided level.
        method: "logit" (DeLong's variance on the logit scale; stays inside 0 to 1 and covers near 1), "wald" (DeLong's
            variance as it is; covers too rarely near 1) or "newcombe" (score interval on Hanley and McNeil's variance).
            At an AUC of exactly 0 or 1, or where DeLong's variance is 0 (a constant score), "logit" gives Newcombe's.

    Returns:
        The AUC with its interval.

    Raises:
        ValueError: The method is unknown, or the data do not allow an AUC.

    References:
        Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2,
        Stat. Med. 25 (2006), method 5; Pepe (2003), section 5.2 (logit scale).
    """
    if method not in ("logit", "wald", "newcombe"):
        raise ValueError(f'`method` must be "logit", "wald" or "newcombe". Received method={method!r}.')
    z = normal_quantile(confidence)
    above, below = _placements(*_checked(labels, scores, least=2))
    estimate = float(above.mean())
    error = _error(above, below)
    if method == "newcombe" or (method == "logit" and (error == 0 or estimate in (0.0, 1.0))):
        return _newcombe(estimate, len(above), len(below), z)
    if method == "wald":
        return Interval(estimate, estimate - z * error, estimate + z * error)
    centre, reach = special.logit(estimate), z * error / (estimate * (1 - estimate))
    return Interval(estimate, float(special.expit(centre - reach)), float(special.expit(centre + reach)))


def _placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Share of negatives below each positive, and of positives above each negative, from mid-ranks (Sun & Xu, Eq. 5-7).
    m, n = len(positive), len(negative)
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    above = (ranks[:m] - stats.rankdata(positive)) / n
    below = 1 - (ranks[m:] - stats.rankdata(negative)) / m
    return above, below


def _checked(labels: ArrayLike, scores: ArrayLike, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    truth, values = np.asarray(labels, bool), np.asarray(scores, np.float64)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise ValueError(f"Labels and scores must be flat and as long. Received {truth.shape} and {values.shape}.")
    if not np.all(np.isfinite(values)):
        raise ValueError("Scores must be finite numbers. Received NaN or infinity: look at the classifier's output.")
    num_positive = int(truth.sum())
    if min(num_positive, len(truth) - num_positive) < least:
        raise ValueError(
            f"An AUC needs at least {least} positive and {least} negative images here. "
            f"Received {num_positive} and {len(truth) - num_positive}."
        )
    return values[truth], values[~truth]


def _variance_of_mean(values: np.ndarray) -> float:
    return float(np.var(values, ddof=1)) / len(values)


def _error(above: np.ndarray, below: np.ndarray) -> float:
    error = math.sqrt(_variance_of_mean(above) + _variance_of_mean(below))
    return 0.0 if error < NO_ERROR else error


def _square_and_add(first: Interval, second: Interval) -> Interval:
    # Zou & Donner 2008. No correlation can be trusted here. 0 errs on the wide side where both rank in one direction;
    # for AUCs on opposite sides of one half it would not, and -1 takes the plain sum of the reaches.
    opposite = (first.estimate - 0.5) * (second.estimate - 0.5) < 0
    estimate = first.estimate - second.estimate
    below = first.estimate - first.lower, second.upper - second.estimate
    above = first.upper - first.estimate, second.estimate - second.lower
    reaches = [sum(pair) if opposite else math.hypot(*pair) for pair in (below, above)]
    return Interval(estimate, estimate - reaches[0], estimate + reaches[1])


def _newcombe(estimate: float, num_positive: int, num_negative: int, z: float) -> Interval:
    def reach(value: float) -> float:
        spread = 1 + ((num_positive + num_negative) / 2 - 1) * ((1 - value) / (2 - value) + value / (1 + value))
        return z * math.sqrt(value * (1 - value) * spread / (num_positive * num_negative))

    lower = 0.0 if estimate == 0 else optimize.brentq(lambda v: estimate - v - reach(v), 0, estimate - 1e-12)
    upper = 1.0 if estimate == 1 else optimize.brentq(lambda v: v - estimate - reach(v), estimate + 1e-12, 1)
    return Interval(estimate, float(lower), float(upper))
