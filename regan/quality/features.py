"""Feature extractors, with name and hash, and the common scale of radiomic features."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from regan.quality.frechet import require_features

# A feature that is nearly constant among real images, or a single outlier, must not dominate the distance.
_RESOLUTION = 0.001  # smallest width of a radiomic feature, in its natural unit (brightness and shares, 0-1)
_LARGEST = 3.0  # standard deviations at which features are clipped


@dataclass(frozen=True, eq=False)
class Scale:
    """Standardises features by those of real images: mean 0, standard deviation 1, clipped at 3 deviations.

    The kernel is cubic and the Frechet distance is in squared units, so one feature with a large unit, or one that is
    nearly constant among real images, would dominate both.

    Attributes:
        centre: Mean of the real features, float64 `(d,)`.
        width: Their standard deviation, at least the smallest width, float64 `(d,)`.
    """

    centre: np.ndarray
    width: np.ndarray

    @classmethod
    def from_features(cls, real: ArrayLike) -> "Scale":
        """Compute the scale from real features `(n, d)`, n at least 2."""
        values = require_features(real, least=2)
        return cls(values.mean(axis=0), np.maximum(values.std(axis=0, ddof=1), _RESOLUTION))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Standardise features `(n, d)` to float64 `(n, d)`."""
        return np.clip((features - self.centre) / self.width, -_LARGEST, _LARGEST)


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """Features of images, with the name that is written into every table.

    Attributes:
        name: Name, such as "radiomic" or "MobileNet".
        hash: SHA-256 (hex) of the weights, or of the definitions if there are no weights.
        dimension: Features per image.
        extract: Function from uint8 `(b, size, size, channels)`, 0-255, to float64 `(b, dimension)`.
        scaled: Whether distances use standardised features; those of a network are used as they are.
    """

    name: str
    hash: str
    dimension: int
    extract: Callable[[np.ndarray], np.ndarray]
    scaled: bool = False

    def __call__(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """Extract the features of a stream of uint8 batches `(b, size, size, channels)`, float64 `(n, dimension)`."""
        parts = [np.asarray(self.extract(batch), np.float64) for batch in batches if len(batch)]
        return np.concatenate(parts) if parts else np.empty((0, self.dimension))

    def scale(self, real: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Make the function that is applied to real and synthetic features before any distance.

        Args:
            real: Features of the real reference set, `(n, dimension)`, n at least 2.

        Returns:
            Function from features `(m, dimension)` to float64 `(m, dimension)`.
        """
        return Scale.from_features(real) if self.scaled else np.asarray


def batch_size(size: int, channels: int) -> int:
    """Number of images per batch, so that a batch takes at most 16 MiB."""
    return max(1, min(256, 2**24 // (size * size * channels)))
