"""How far a classifier's probabilities are from how often it is right."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class CalibrationError:
    """Distance between mean probability and observed share over the bins, as mean, root mean square and largest."""

    l1: float
    l2: float
    largest: float


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared distance of the probability from what was true: 0 is perfect, .25 says one half to everything.

    Args:
        labels: bool `(n,)`, True for positive.
        probabilities: float `(n,)`, of the positive class, 0 to 1.

    Returns:
        The score, 0 to 1.

    References:
        Brier, Verification of forecasts expressed in terms of probability, Mon. Weather Rev. 78 (1950).
    """
    truth, probability = _checked(labels, probabilities)
    return float(np.mean((probability - truth) ** 2))


def calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, *, num_bins: int = 10, equal_mass: bool = False
) -> CalibrationError:
    """Expected calibration error over bins of the probability.

    Args:
        labels: bool `(n,)`, True for positive.
        probabilities: float `(n,)`, of the positive class, 0 to 1.
        num_bins: Number of bins, at least 1; empty ones count nothing.
        equal_mass: Bins of as many images each instead of bins of equal width.

    Returns:
        The error weighted by images (l1, l2) and its largest over the bins, 0 to 1.

    Raises:
        ValueError: No bins, or probabilities out of range.

    References:
        Naeini et al., Obtaining well calibrated probabilities using Bayesian binning, AAAI (2015).
    """
    if num_bins < 1:
        raise ValueError(f"`num_bins` must be at least 1. Received num_bins={num_bins}.")
    truth, probability = _checked(labels, probabilities)
    if equal_mass:
        order = np.argsort(probability, kind="stable")
        bins = np.empty(len(order), int)
        bins[order] = np.arange(len(order)) * num_bins // len(order)
    else:
        bins = np.minimum((probability * num_bins).astype(int), num_bins - 1)
    images = np.bincount(bins, minlength=num_bins)
    gaps = np.abs(np.bincount(bins, probability - truth, minlength=num_bins))[images > 0] / images[images > 0]
    weights = images[images > 0] / len(truth)
    return CalibrationError(l1=float(weights @ gaps), l2=float(np.sqrt(weights @ gaps**2)), largest=float(gaps.max()))


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    truth, probability = np.asarray(labels, bool).astype(np.float64), np.asarray(probabilities, np.float64)
    if truth.ndim != 1 or truth.shape != probability.shape or truth.size == 0:
        raise ValueError(
            "Labels and probabilities must be flat, as long and not empty. "
            f"Received shapes {truth.shape} and {probability.shape}."
        )
    if not np.all((probability >= 0) & (probability <= 1)):
        raise ValueError("Probabilities must lie between 0 and 1. Received values outside, or NaN.")
    return truth, probability
