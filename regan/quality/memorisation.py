"""Detection of memorised training images, calibrated on held-out real images (ADR 11)."""

from dataclasses import dataclass

import numpy as np

from regan.common.errors import OverlapError, TooFewImagesError
from regan.quality.nearest import Nearest

_FENCE = 3.0  # interquartile ranges below the lower quartile: Tukey's "far out"
_SHARE_OF_MEDIAN = 0.75  # and at least a quarter nearer than the median of held-out images


@dataclass(frozen=True)
class MemorisationThreshold:
    """Ratios below which an image counts as memorised, at 32 x 32 (`coarse`) and at full size (`fine`)."""

    coarse: float
    fine: float


def memorisation_threshold(held_out: Nearest) -> MemorisationThreshold:
    """Compute the threshold from held-out real images.

    A ratio is far out if its logarithm is more than three interquartile ranges below the lower quartile of the held-out
    ones (Tukey's rule, which is robust against undetected duplicates among them). It must also be below 3/4 of their
    median, so that few or very similar held-out images do not make the rule too sensitive.

    Args:
        held_out: Nearest training images of held-out real images, at least 8.

    Returns:
        The threshold.

    Raises:
        TooFewImagesError: There are too few held-out images.
        OverlapError: Most held-out images are copies of training images.

    References:
        Tukey, Exploratory data analysis (1977), section 2D; Carlini et al., https://arxiv.org/abs/2301.13188, section
        4.2 (distance relative to the neighbours').
    """
    if len(held_out) < 8:
        raise TooFewImagesError(
            f"There are too few held-out real images for the memorisation threshold, which needs at least 8. Received "
            f"{len(held_out)}. Add validation images."
        )
    return MemorisationThreshold(_low_fence(held_out.coarse_ratio), _low_fence(held_out.fine_ratio))


def is_memorised(nearest: Nearest, threshold: MemorisationThreshold) -> np.ndarray:
    """Decide whether each image is memorised: below the threshold at 32 x 32 (structure) or at full size (texture).

    Args:
        nearest: Nearest training image of each of n images.
        threshold: Threshold from held-out real images.

    Returns:
        bool `(n,)`.
    """
    return np.asarray((nearest.coarse_ratio < threshold.coarse) | (nearest.fine_ratio < threshold.fine))


def _low_fence(ratios: np.ndarray) -> float:
    # A ratio of 0, an exact copy among the held-out images, has no logarithm; it is far out anyway.
    logs = np.log(ratios[ratios > 0])
    if len(logs) < 5:
        raise OverlapError(
            f"Held-out images overlap with training data ({len(ratios) - len(logs)} images of {len(ratios)}, exact "
            "copies): the split leaks. Prepare the images again."
        )
    lower, middle, upper = np.quantile(logs, [0.25, 0.5, 0.75])
    return float(np.exp(min(lower - _FENCE * (upper - lower), middle + np.log(_SHARE_OF_MEDIAN))))
