"""What distances are measured on: an extractor by name, with the hash of what makes its features."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from regan.quality.frechet import require_features

# A feature that hardly varies among real images, or one odd image, must not decide alone.
_RESOLUTION = 0.001  # smallest scale of a radiomic feature, in its natural unit (brightness and shares, 0-1)
_LARGEST = 3.0  # deviations; an image that is further off in one feature counts as this far off


@dataclass(frozen=True, eq=False)
class Scale:
    """Puts features on one scale, learnt from real images: mean 0 and deviation 1, clipped at 3 deviations.

    The kernel is cubic and the Frechet distance is in squared units, so one feature with a large unit, or one that is
    nearly constant among real images, would decide alone.

    Attributes:
        centre: float64 `(d,)`, mean of the real features.
        width: float64 `(d,)`, their deviation, never under the smallest scale.
    """

    centre: np.ndarray
    width: np.ndarray

    @classmethod
    def from_features(cls, real: ArrayLike) -> "Scale":
        """Learn the scale from real features `(n, d)`, n at least 2."""
        values = require_features(real, least=2)
        return cls(values.mean(axis=0), np.maximum(values.std(axis=0, ddof=1), _RESOLUTION))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Features `(n, d)` on this scale, float64."""
        return np.clip((features - self.centre) / self.width, -_LARGEST, _LARGEST)


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """Features of images, under a name that every table carries.

    Attributes:
        name: What makes the features, such as "radiomic" or "MobileNet".
        hash: SHA-256 (hex) of the weights, or of the definitions where there are none.
        dimension: Features an image.
        extract: Takes uint8 `(b, size, size, channels)` and gives float64 `(b, dimension)`.
        scaled: Whether distances take the features on the scale of the real ones; a network's are taken as they are.
    """

    name: str
    hash: str
    dimension: int
    extract: Callable[[np.ndarray], np.ndarray]
    scaled: bool = False

    def __call__(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """Features of every image of a stream of uint8 batches, float64 `(n, dimension)`."""
        parts = [np.asarray(self.extract(batch), np.float64) for batch in batches if len(batch)]
        return np.concatenate(parts) if parts else np.empty((0, self.dimension))

    def scale(self, real: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """The function that both real and synthetic features go through before any distance.

        Args:
            real: Features of the real reference set, `(n, dimension)`, n at least 2.
        """
        return Scale.from_features(real) if self.scaled else np.asarray


def batch_size(size: int, channels: int) -> int:
    """Images to hold at a time, so that a batch takes at most 16 MiB."""
    return max(1, min(256, 2**24 // (size * size * channels)))
