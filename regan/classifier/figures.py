"""Decision threshold of a classifier, and the figures of its predictions on labelled images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve

from regan.common.errors import TooFewImagesError


def youden_threshold(probabilities: ArrayLike, positive: ArrayLike) -> float:
    """Threshold with the greatest Youden index J = sensitivity + specificity - 1.

    An image is called positive if its probability is at least the threshold. Candidates are the midpoints between
    neighbouring probabilities, and 0.5. Of several with the same J the one nearest to 0.5 is chosen, and of two equally
    near ones the lower, which misses fewer findings; so 0.5 is kept wherever it separates the classes.

    Args:
        probabilities: Probability of the positive class, float64 `(n,)`, 0 to 1.
        positive: True labels, bool `(n,)`, with images of both classes.

    Returns:
        The threshold, 0 to 1.

    References:
        Youden, Index for rating diagnostic tests, Cancer 3 (1950).
    """
    scores, is_positive = np.asarray(probabilities, np.float64), np.asarray(positive, bool)
    found, others = np.sort(scores[is_positive]), np.sort(scores[~is_positive])
    values = np.unique(scores)
    candidates = np.append((values[:-1] + values[1:]) / 2, 0.5)
    # By binary search in the sorted scores, for all candidates at once: positives at or above, negatives below.
    num_found = len(found) - np.searchsorted(found, candidates)
    num_cleared = np.searchsorted(others, candidates)
    # (J + 1) times the number of images of each class: integers, so that equal J compare as equal.
    j = num_found * len(others) + num_cleared * len(found)
    best = candidates[j == j.max()]
    nearest = np.abs(best - 0.5)
    return float(best[nearest == nearest.min()].min())


@dataclass(frozen=True)
class Figures:
    """Figures at one threshold; rates from 0 to 1.

    Attributes:
        auc: Area under the ROC curve.
        accuracy: Share of correct decisions.
        sensitivity: Share of positive images that were called positive.
        specificity: Share of negative images that were called negative.
        true_positive: Number of positive images called positive.
        false_negative: Number of positive images called negative.
        true_negative: Number of negative images called negative.
        false_positive: Number of negative images called positive.
        threshold: An image was called positive if its probability was at least this.
        brier: Brier score, the mean squared difference of probability and label; 0 is best.
    """

    auc: float
    accuracy: float
    sensitivity: float
    specificity: float
    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int
    threshold: float
    brier: float


def measure(probabilities: ArrayLike, positive: ArrayLike, threshold: float) -> Figures:
    """Compare predictions with the true labels.

    Args:
        probabilities: Probability of the positive class, float64 `(n,)`, 0 to 1.
        positive: True labels, bool `(n,)`, with images of both classes.
        threshold: An image is called positive if its probability is at least this.

    Returns:
        AUC, rates and counts, and the Brier score.

    Raises:
        TooFewImagesError: A class has no image.

    References:
        Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950).
    """
    scores, truth = np.asarray(probabilities, np.float64), np.asarray(positive, bool)
    if truth.all() or not truth.any():
        raise TooFewImagesError(
            f"A class has no images. Received {truth.sum()} positive and {(~truth).sum()} negative ones."
        )
    # At the threshold counts as positive, in `youden_threshold` and in the predictions alike.
    called = scores >= threshold
    true_positive, true_negative = int((called & truth).sum()), int((~called & ~truth).sum())
    num_positive, num_negative = int(truth.sum()), int((~truth).sum())
    return Figures(
        auc=float(roc_auc_score(truth, scores)),
        accuracy=(true_positive + true_negative) / len(truth),
        sensitivity=true_positive / num_positive,
        specificity=true_negative / num_negative,
        true_positive=true_positive,
        false_negative=num_positive - true_positive,
        true_negative=true_negative,
        false_positive=num_negative - true_negative,
        threshold=float(threshold),
        brier=float(brier_score_loss(truth, scores)),
    )


def roc_points(probabilities: ArrayLike, positive: ArrayLike) -> tuple[list[float], list[float]]:
    """Points of the ROC curve from (0, 0) to (1, 1).

    Args:
        probabilities: Probability of the positive class, `(n,)`, 0 to 1.
        positive: True labels, bool `(n,)`.

    Returns:
        False positive rates and sensitivities, 0 to 1, both ascending.
    """
    false_positive_rate, sensitivity, _ = roc_curve(np.asarray(positive, bool), np.asarray(probabilities, np.float64))
    return false_positive_rate.tolist(), sensitivity.tolist()
