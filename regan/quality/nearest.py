"""Nearest training image of each image in pixel space, up to flips and small shifts, coarse to fine (ADR 11)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from regan.common.errors import TooFewImagesError

SIDE = 32  # pixels of the coarse comparison
REACH = 2  # largest shift of the coarse comparison, pixels of 32: 6 % of the width
NUM_NEIGHBOURS = 50  # neighbours whose mean distance estimates that of unrelated images
LEAST_NEIGHBOURS = 3  # training images that each image must be compared with
_NUM_CANDIDATES = 3  # coarse neighbours that are compared at full size
_BLOCK_BYTES = 128 * 2**20  # of distances, or of full-size images, in memory at a time
_SHIFTS = [(down, right) for down in range(-REACH, REACH + 1) for right in range(-REACH, REACH + 1)]
_VARIANTS = [(mirrored, *shift) for mirrored in (False, True) for shift in _SHIFTS]

Fetch = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Nearest:
    """For each of n images, its nearest training image.

    Distances are root mean square differences in grey levels, 0-255, after the best flip and shift and without the
    difference in mean brightness. A ratio divides the distance by the expected distance of unrelated images, so it does
    not depend on how smooth or noisy an image is: about 0.9 for a new image, 0 for a copy.

    Attributes:
        index: Number of the nearest training image, int `(n,)`.
        distance: Its distance at full size, float64 `(n,)`.
        coarse_ratio: Nearest distance at 32 x 32, divided by the mean distance of the next 50 neighbours, float64
            `(n,)`.
        fine_ratio: `distance`, divided by the expected distance of such a neighbour at full size, float64 `(n,)`.
    """

    index: np.ndarray
    distance: np.ndarray
    coarse_ratio: np.ndarray
    fine_ratio: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def none(cls) -> "Nearest":
        """Return the result of a search for no images."""
        return cls(np.empty(0, int), np.empty(0), np.empty(0), np.empty(0))

    @classmethod
    def join(cls, parts: Sequence["Nearest"]) -> "Nearest":
        """Concatenate several results, at least one."""
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)))


class NearestImages:
    """Search index of training images: 32 x 32 reductions stay in memory, full sizes are fetched as needed.

    Args:
        batches: Stream of all training images, uint8 `(b, size, size, channels)`, 0-255; at least 3 images.
        fetch: Function from ascending numbers `(m,)` to the training images at full size, uint8
            `(m, size, size, channels)`.

    Raises:
        TooFewImagesError: There are fewer than 3 images.
    """

    def __init__(self, batches: Iterable[np.ndarray], fetch: Fetch) -> None:
        reduced, detail = [np.empty((0, 0), np.float32)], [np.empty(0)]
        for batch in batches:
            small = _reduce(batch, SIDE)
            reduced.append(_flat(_window(small, REACH, 0, 0)))
            detail.append(_detail_power(batch, small))
        self._detail = np.concatenate(detail)
        if len(self._detail) < LEAST_NEIGHBOURS:
            raise TooFewImagesError(
                f"There are too few training images to search: at least {LEAST_NEIGHBOURS} are needed to estimate the "
                f"distance of unrelated images. Received {len(self._detail)}."
            )
        self._reduced = np.concatenate(reduced[1:])
        self._powers = np.mean(self._reduced**2, axis=1)
        self._fetch = fetch

    def __len__(self) -> int:
        return len(self._detail)

    def search(self, batches: Iterable[np.ndarray], exclude: np.ndarray | None = None) -> Nearest:
        """Find the nearest training image of every image of a stream.

        Args:
            batches: uint8 `(b, size, size, channels)`, 0-255, in the shape of the training images.
            exclude: Training images that an image is not compared with, such as itself, bool
                `(n, number of training images)`; at least 3 must remain for each.

        Returns:
            One entry per image, in order.
        """
        parts, start = [Nearest.none()], 0
        for batch in self._pieces(batches):
            hidden = None if exclude is None else exclude[start : start + len(batch)]
            parts.append(self._search(batch, hidden))
            start += len(batch)
        return Nearest.join(parts)

    def _pieces(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            bytes_each = max(4 * len(_VARIANTS) * len(self), _NUM_CANDIDATES * batch[0].size)
            step = max(1, _BLOCK_BYTES // bytes_each)
            for start in range(0, len(batch), step):
                yield batch[start : start + step]

    def _search(self, images: np.ndarray, hidden: np.ndarray | None) -> Nearest:
        small = _reduce(images, SIDE)
        distances, variants = self._coarse(small)
        if hidden is not None:
            distances[hidden] = np.inf
        ordered = np.sort(distances, axis=1)[:, : NUM_NEIGHBOURS + 1].astype(np.float64)
        unrelated = _mean_of_finite(ordered[:, 1:])
        candidates = np.argsort(distances, axis=1)[:, : min(_NUM_CANDIDATES, len(self))]
        fine = self._fine(images, candidates, variants, distances)
        rows, best = np.arange(len(images)), np.argmin(fine, axis=1)
        index, distance = candidates[rows, best], fine[rows, best]
        expected = np.sqrt(unrelated**2 + _detail_power(images, small) + self._detail[index])
        return Nearest(index, distance, _ratio(ordered[:, 0], unrelated), _ratio(distance, expected))

    def _coarse(self, small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Distance (b, n) of every image to every training image at the best flip and shift, and the number of that
        # variant. As in `squared_distances`, one matrix product computes all.
        windows = np.stack(
            [_flat(_window(_mirror(small, m), REACH, down, right)) for m, down, right in _VARIANTS], axis=1
        )
        products = windows.reshape(-1, windows.shape[-1]) @ self._reduced.T / windows.shape[-1]
        squared = products.reshape(len(small), len(_VARIANTS), -1)
        squared *= -2
        squared += np.mean(windows**2, axis=2)[:, :, None] + self._powers
        variants = np.argmin(squared, axis=1)
        nearest = np.take_along_axis(squared, variants[:, None], axis=1)[:, 0]
        return np.sqrt(np.clip(nearest, 0, None)), variants

    def _fine(
        self, images: np.ndarray, candidates: np.ndarray, variants: np.ndarray, distances: np.ndarray
    ) -> np.ndarray:
        coarse = np.take_along_axis(distances, candidates, axis=1).astype(np.float64)
        if images.shape[1] == SIDE:
            return coarse
        numbers, place = np.unique(candidates, return_inverse=True)
        fetched, place = self._fetch(numbers), place.reshape(candidates.shape)
        fine = np.full(candidates.shape, np.inf)
        for row, column in zip(*np.nonzero(np.isfinite(coarse)), strict=True):
            mirrored, down, right = _VARIANTS[variants[row, candidates[row, column]]]
            image = _mirror(images[row : row + 1], mirrored)[0]
            fine[row, column] = _aligned_distance(image, fetched[place[row, column]], down, right)
        return fine


def _aligned_distance(image: np.ndarray, training_image: np.ndarray, down: int, right: int) -> float:
    # Coarse to fine: from one octave to the next the shift doubles and is corrected by at most one pixel.
    side, best = SIDE, np.inf
    while side < image.shape[0]:
        side *= 2
        first, second = _reduce(image[None], side), _reduce(training_image[None], side)
        margin = (REACH + 1) * side // SIDE
        target = _flat(_window(second, margin, 0, 0))[0]
        shifts = [(2 * down + i, 2 * right + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        found = [float(np.mean((_flat(_window(first, margin, *shift))[0] - target) ** 2)) for shift in shifts]
        down, right = shifts[int(np.argmin(found))]
        best = min(found)
    return float(np.sqrt(best))


def _mirror(images: np.ndarray, mirrored: bool) -> np.ndarray:
    return images[:, :, ::-1] if mirrored else images


def _window(images: np.ndarray, margin: int, down: int, right: int) -> np.ndarray:
    side = images.shape[1] - 2 * margin
    return images[:, margin + down : margin + down + side, margin + right : margin + right + side]


def _flat(images: np.ndarray) -> np.ndarray:
    # Rows without their mean: an image that is brighter than its copy is still a copy.
    rows = images.reshape(len(images), -1)
    return rows - rows.mean(axis=1, keepdims=True)


def _reduce(images: np.ndarray, side: int) -> np.ndarray:
    n, size, _, channels = images.shape
    step = size // side
    values = images.astype(np.float32)
    return values if step == 1 else values.reshape(n, side, step, side, step, channels).mean(axis=(2, 4))


def _detail_power(images: np.ndarray, small: np.ndarray) -> np.ndarray:
    # Mean square of the detail that the reduction removed. For unrelated images these add to the squared distance.
    whole = np.mean(images.astype(np.float32) ** 2, axis=(1, 2, 3), dtype=np.float64)
    return np.clip(whole - np.mean(small**2, axis=(1, 2, 3), dtype=np.float64), 0, None)


def _ratio(distance: np.ndarray, expected: np.ndarray) -> np.ndarray:
    # An image at distance 0 even from its 50th neighbour is a copy of them all.
    return np.divide(distance, expected, out=np.zeros_like(distance), where=expected > 0)


def _mean_of_finite(values: np.ndarray) -> np.ndarray:
    finite = np.isfinite(values)
    return np.sum(values, axis=1, where=finite) / finite.sum(axis=1)
