"""Distances of a generator's images to the real ones, class by class: what snapshots are compared by."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from regan.quality.distances import LEAST_IMAGES, distances, mean_distances
from regan.quality.features import FeatureExtractor, batch_size

if TYPE_CHECKING:
    from regan.artifacts.image_set import ImageSet

Features = dict[str, np.ndarray]  # by class


class SnapshotMeasure:
    """Measures generators against the same real images.

    Distances are those of each class to the real images of the same class, averaged, so that mixed-up classes are seen.

    Args:
        images: Real images.
        labels: Classes that the generators make.
        extractor: What distances are measured on.
        seed: Seed of the kernel distance's subsets.

    Attributes:
        real: Features `(n, d)` of the real images by class, on the scale of all of them.

    Raises:
        ValueError: A class has too few images.
    """

    def __init__(
        self, images: "ImageSet", labels: Sequence[str], extractor: FeatureExtractor, *, seed: int = 0
    ) -> None:
        require_images(images, labels)
        self._extractor, self._seed = extractor, seed
        num = batch_size(images.size, images.channels)
        real = {
            label: extractor(batch for batch, _ in images.batches(num, images.with_label(label))) for label in labels
        }
        self._scale = extractor.scale(np.concatenate(list(real.values())))
        self.real: Features = {label: self._scale(values) for label, values in real.items()}

    def __call__(self, images_of: Callable[[str], Iterable[np.ndarray]]) -> tuple[dict[str, Any], Features]:
        """Measure one generator.

        Args:
            images_of: From a class to batches of its synthetic images, uint8 `(b, size, size, channels)`.

        Returns:
            Distances and their names, and the features `(n, d)` of the synthetic images by class, on the real scale.
        """
        synthetic = {label: self._scale(self._extractor(images_of(label))) for label in self.real}
        of_class = {label: distances(self.real[label], synthetic[label], seed=self._seed) for label in self.real}
        mean = mean_distances(list(of_class.values()))
        return {
            "kernel_distance": mean.kernel.value,
            "kernel_distance_standard_error": mean.kernel.standard_error,
            "frechet_distance": mean.frechet,
            "num_images": sum(map(len, synthetic.values())),
            **{f"kernel_distance_{label}": one.kernel.value for label, one in of_class.items()},
        }, synthetic


def require_images(images: "ImageSet", labels: Sequence[str]) -> None:
    """Refuse real images of which a class has too few for a distance.

    Raises:
        ValueError: There are fewer than 8 of a class.
    """
    for label in labels:
        if images.counts.get(label, 0) < LEAST_IMAGES:
            raise ValueError(
                f"There must be at least {LEAST_IMAGES} real images of each class of the run ({', '.join(labels)}). "
                f"Received {images.counts.get(label, 0)} of {label} in {images.path}."
            )
