"""Calibration: how well the probabilities of a classifier agree with the observed frequencies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class CalibrationError:
    """Distance between mean probability and observed share over the bins: mean, root mean square and largest."""

    l1: float
    l2: float
    largest: float


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Brier score, the mean squared difference of probability and label: 0 is perfect, .25 is a constant one half.

    Args:
        labels: True labels, bool `(n,)`, True for positive.
        probabilities: Probability of the positive class, float64 `(n,)`, 0 to 1.

    Returns:
        The score, 0 to 1.

    References:
        Brier, Verification of forecasts expressed in terms of probability, Mon. Weather Rev. 78 (1950).
    """
    truth, probability = _validate(labels, probabilities)
    return float(np.mean((probability - truth) ** 2))


def calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, *, num_bins: int = 10, equal_mass: bool = False
) -> CalibrationError:
    """Expected calibration error over bins of the probability.

    Args:
        labels: True labels, bool `(n,)`, True for positive.
        probabilities: Probability of the positive class, float64 `(n,)`, 0 to 1.
        num_bins: Number of bins, at least 1; empty bins are ignored.
        equal_mass: Bins with equal numbers of images instead of equal width.

    Returns:
        The error weighted by images (l1, l2), and the largest error of a bin, 0 to 1.

    Raises:
        ValueError: There are no bins, or probabilities are out of range.

    References:
        Naeini et al., Obtaining well calibrated probabilities using Bayesian binning, AAAI (2015).
    """
    if num_bins < 1:
        raise ValueError(f"`num_bins` must be at least 1. Received num_bins={num_bins}.")
    truth, probability = _validate(labels, probabilities)
    if equal_mass:
        # Ranks instead of quantiles: equal probabilities then cannot leave a bin empty.
        order = np.argsort(probability, kind="stable")
        bins = np.empty(len(order), int)
        bins[order] = np.arange(len(order)) * num_bins // len(order)
    else:
        # A probability of exactly 1 belongs to the last bin.
        bins = np.minimum((probability * num_bins).astype(int), num_bins - 1)
    images = np.bincount(bins, minlength=num_bins)
    gaps = np.abs(np.bincount(bins, probability - truth, minlength=num_bins))[images > 0] / images[images > 0]
    weights = images[images > 0] / len(truth)
    return CalibrationError(l1=float(weights @ gaps), l2=float(np.sqrt(weights @ gaps**2)), largest=float(gaps.max()))


def _validate(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    truth, probability = np.asarray(labels, bool).astype(np.float64), np.asarray(probabilities, np.float64)
    if truth.ndim != 1 or truth.shape != probability.shape or truth.size == 0:
        raise ValueError(
            "Labels and probabilities must be flat, of one length and not empty. "
            f"Received shapes {truth.shape} and {probability.shape}."
        )
    if not np.all((probability >= 0) & (probability <= 1)):
        raise ValueError("Probabilities must be between 0 and 1. Received values outside, or NaN.")
    return truth, probability
