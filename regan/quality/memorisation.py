"""Which synthetic images are copies of training images, judged by how near real patients never trained on come."""

from dataclasses import dataclass

import numpy as np

from regan.quality.nearest import Nearest

_FENCE = 3.0  # interquartile ranges below the lower quartile: Tukey's "far out"
_SHARE_OF_MEDIAN = 0.75  # and at least a quarter nearer than held-out images usually are


@dataclass(frozen=True)
class Cut:
    """Below which ratio to the nearest training image an image counts as memorised, at 32 x 32 and at full size."""

    coarse: float
    fine: float


def memorisation_cut(held_out: Nearest) -> Cut:
    """The cut from real images that trained nothing.

    A ratio is far out when its logarithm lies more than three interquartile ranges under the lower quartile of the
    held-out ones (Tukey's rule, which undetected duplicates among them hardly move); it must also be under 3/4 of their
    median, so that a handful of them, or very even ones, cannot make the rule too eager.

    Args:
        held_out: Nearest training images of held-out real images, at least 8.

    Returns:
        The cut.

    Raises:
        ValueError: There are too few held-out images.

    References:
        Tukey, Exploratory data analysis (1977), section 2D; Carlini et al., https://arxiv.org/abs/2301.13188, section
        4.2 (distance relative to the neighbours').
    """
    if len(held_out) < 8:
        raise ValueError(f"The cut needs at least 8 held-out real images. Received {len(held_out)}.")
    return Cut(_low_fence(held_out.coarse_ratio), _low_fence(held_out.fine_ratio))


def is_memorised(nearest: Nearest, cut: Cut) -> np.ndarray:
    """Whether each image is memorised, bool `(n,)`.

    Args:
        nearest: Its nearest training image.
        cut: From held-out real images. An image under the cut at 32 x 32 (its structure is a copy) or at full size
            (its texture is) counts.
    """
    return np.asarray((nearest.coarse_ratio < cut.coarse) | (nearest.fine_ratio < cut.fine))


def _low_fence(ratios: np.ndarray) -> float:
    # A ratio of 0, an exact copy among the held-out images, has no logarithm; it is far out anyway.
    logs = np.log(ratios[ratios > 0])
    if len(logs) < 5:
        raise ValueError(
            "Most held-out images are exact copies of training images, so the split leaks. Prepare the images again."
        )
    lower, middle, upper = np.quantile(logs, [0.25, 0.5, 0.75])
    return float(np.exp(min(lower - _FENCE * (upper - lower), middle + np.log(_SHARE_OF_MEDIAN))))
