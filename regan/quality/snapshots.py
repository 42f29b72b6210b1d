"""Distances of a generator's images to the real ones, class by class, for the comparison of snapshots."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from regan.common.errors import TooFewImagesError
from regan.quality.distances import LEAST_IMAGES, distances, mean_distances
from regan.quality.features import FeatureExtractor, batch_size

if TYPE_CHECKING:
    from regan.artifacts.image_set import ImageSet

Features = dict[str, np.ndarray]  # by class


class SnapshotMeasure:
    """Compares generators with the same real images.

    Distances are those of each class to the real images of the same class, averaged, so that mixed-up classes are
    noticed.

    Args:
        images: Real images.
        labels: Classes of the generators.
        extractor: Feature extractor of the distances.
        seed: Seed of the kernel distance's subsets.

    Attributes:
        real: Features `(n, d)` of the real images by class, standardised by those of all classes.

    Raises:
        TooFewImagesError: A class has too few images.
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
            images_of: Function from a class to batches of its synthetic images, uint8 `(b, size, size, channels)`.

        Returns:
            Distances by name, and the features `(n, d)` of the synthetic images by class, standardised by the real
            ones.
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
        TooFewImagesError: A class has fewer than 8 images.
    """
    for label in labels:
        if images.counts.get(label, 0) < LEAST_IMAGES:
            raise TooFewImagesError(
                f"There are too few real images of class {label}: each class of the run ({', '.join(labels)}) needs "
                f"at least {LEAST_IMAGES}. Received {images.counts.get(label, 0)} in {images.path}. Add images."
            )
