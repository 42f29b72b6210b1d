"""Cache of decoded pixels on disk, and training batches from it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regan.artifacts.image_set import ImageSet
from regan.common.progress import Progress

_MAX_SHIFT = 0.1  # share of height and width, as in the reference experiment


class PixelCache:
    """Images of some sets, decoded once into a memory-mapped file.

    Memory stays constant for any number of images, and an epoch needs no decoding. The file takes
    size x size x channels bytes per image: 9 GB for 140,000 grey images of 256 x 256.

    Args:
        sets: Image sets of one size.
        path: File to write.

    Attributes:
        pixels: uint8 `(n, size, size, channels)`, 0-255.
        labels: int64 `(n,)`, 1 for the positive class.
    """

    def __init__(self, sets: Sequence[ImageSet], path: Path) -> None:
        first, total = sets[0], sum(map(len, sets))
        self.pixels = np.memmap(path, np.uint8, "w+", shape=(total, first.size, first.size, first.channels))
        self.labels = np.array([row.label == s.classes[-1] for s in sets for row in s.rows], np.int64)
        start = 0
        with Progress("Decode images", total) as progress:
            for batch, rows in (item for s in sets for item in s.batches(256)):
                self.pixels[start : start + len(rows)] = batch
                start += len(rows)
                progress.advance(len(rows))

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int = 256) -> list[np.ndarray]:
        """Views of all images in order, uint8 `(b, size, size, channels)`, b at most `batch_size`."""
        return [self.pixels[start : start + batch_size] for start in range(0, len(self), batch_size)]


class TrainingBatches:
    """Shuffled, augmented batches; each is a pure function of the seed and of its number.

    Every batch has the same size, so that the network is compiled once. The images that remain at the end of an epoch,
    fewer than a batch, are left out of it; the next epoch shuffles all images again.

    Args:
        cache: Training images.
        batch_size: Images per batch, at most the number of images.
        seed: Seed of shuffle and augmentation.
    """

    def __init__(self, cache: PixelCache, batch_size: int, seed: int) -> None:
        self._cache, self._batch_size, self._seed = cache, min(batch_size, len(cache)), seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self._cache) // self._batch_size

    def draw(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw one batch.

        Args:
            number: Number of the batch, counted over all epochs.

        Returns:
            Augmented images, uint8 `(batch_size, size, size, channels)`, 0-255, and labels, int64 `(batch_size,)`.
        """
        # A generator for each epoch and each batch, so that a resumed training draws the same without the ones before.
        epoch, number = divmod(number, len(self))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self._seed, epoch, 0)).permutation(len(self._cache))
        chosen = self._order[number * self._batch_size : (number + 1) * self._batch_size]
        random = np.random.default_rng((self._seed, epoch, 1 + number))
        return augment(self._cache.pixels[chosen], random), self._cache.labels[chosen]


def augment(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Shift each image by up to 10 % of its height and width, and flip half of them left to right.

    Shifts are whole pixels, so that interpolation never smooths speckle; the border pixel is repeated outwards.

    Args:
        images: uint8 `(n, height, width, channels)`.
        random: Source of random numbers.

    Returns:
        uint8 `(n, height, width, channels)`.
    """
    n, height, width, _ = images.shape
    rows = _shift_indices(n, height, random)
    columns = _shift_indices(n, width, random)
    # A flip is the reversed order of columns, so shift and flip are one look-up.
    columns = np.where(random.random((n, 1)) < 0.5, columns, columns[:, ::-1])
    return images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _shift_indices(n: int, length: int, random: np.random.Generator) -> np.ndarray:
    # Rounded down, so that 10 % is a limit.
    most = int(_MAX_SHIFT * length)
    shifts = random.integers(-most, most + 1, (n, 1))
    return np.clip(np.arange(length) + shifts, 0, length - 1)
