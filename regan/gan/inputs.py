"""Inputs of a training step: real images from a memory-mapped array, and all random numbers.

All random numbers are functions of the seed and of the step number, drawn with NumPy outside the compiled step. A
resumed run therefore draws the same numbers as an uninterrupted one, and so do TensorFlow and JAX.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from regan.artifacts.image_set import ImageRow, ImageSet
from regan.common.files import atomic_write
from regan.common.progress import Progress
from regan.gan.augmentation.draws import draw_transforms, mirror
from regan.gan.configuration import GanConfig
from regan.training.checkpoint import contents_hash

_PIXELS, _CONTENTS = "images.npy", "images.json"


class Stream(IntEnum):
    """Independent streams of random numbers under one seed. Results depend on these values: never change them."""

    WEIGHTS = 0
    ORDER = 1
    GENERATOR = 2
    PATH_LENGTH = 3
    DISCRIMINATOR = 4
    SAMPLES = 5
    AUGMENTATION = 6


def random_generator(seed: int, stream: Stream, number: int = 0) -> np.random.Generator:
    """Return the generator of one stream at one step (or epoch, or sample seed)."""
    # Philox is counter-based (Salmon et al. 2011): key and counter alone give the numbers, so any step can be drawn
    # without the ones before it. The step is in the highest word of the counter, far from that of its neighbours.
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, 0, number]))


@dataclass(frozen=True)
class TrainingImages:
    """Decoded real images.

    Attributes:
        pixels: uint8 `(n, size, size, channels)`, memory-mapped.
        classes: Class number of each image `(n,)`, an index into the configuration's labels.
    """

    pixels: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)


def decode(images: ImageSet, rows: Sequence[ImageRow], labels: Sequence[str], folder: Path) -> TrainingImages:
    """Decode images once into an array on disk; a second call with the same images reuses it.

    Args:
        images: Image set.
        rows: Images of the set to decode.
        labels: Names of the classes in the order of their numbers.
        folder: Existing folder for the array.

    Returns:
        The images, uint8 `(n, size, size, channels)`, in the order of `rows`.
    """
    classes = np.array([list(labels).index(row.label) for row in rows])
    path, note = folder / _PIXELS, folder / _CONTENTS
    contents = contents_hash(rows)
    if not (path.is_file() and note.is_file() and json.loads(note.read_text(encoding="utf-8"))["contents"] == contents):
        _write_pixels(images, rows, path)
        # The note is written last: without it, an array that was cut short by a preemption is decoded again.
        with atomic_write(note, durable=True, single_writer=True) as partial:
            partial.write_text(json.dumps({"contents": contents}), encoding="utf-8", newline="\n")
    return TrainingImages(np.load(path, mmap_mode="r"), classes)


def _write_pixels(images: ImageSet, rows: Sequence[ImageRow], path: Path) -> None:
    shape = (len(rows), images.size, images.size, images.channels)
    with atomic_write(path, durable=True, single_writer=True) as partial:
        # A file, not memory: 70,000 grey images of 256 x 256 take 4.6 GB.
        pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
        with Progress("Decode images", len(rows)) as progress:
            for index, image in enumerate(images.images(rows)):
                pixels[index] = image
                progress.advance()
        pixels.flush()


class Inputs:
    """Draws the inputs of every phase of a step.

    Args:
        config: The run's configuration.
        images: Its real images.
    """

    def __init__(self, config: GanConfig, images: TrainingImages) -> None:
        self.config, self.images = config, images
        self._orders: dict[int, np.ndarray] = {}

    def draw(self, step: int) -> dict[str, Any]:
        """Draw the batches of one step.

        Args:
            step: Number of the step, from 0.

        Returns:
            Inputs by phase: `generator`, `discriminator`, and `path_length` where it is due. Each has `latents` and
            `other_latents` float32 `(n, latent_size)`, one-hot `labels` float32 `(n, num_labels)`, `cut` (the first
            style of the other latent) and `noise`; the discriminator also `images` uint8 `(n, size, size, channels)`,
            path length also `direction` float32 `(n / 2, size, size, channels)`.
        """
        config = self.config
        batches = {
            # A stream for each phase: with path length off, or at other intervals, the others draw the same numbers.
            "generator": self._latents(random_generator(config.seed, Stream.GENERATOR, step), config.batch_size),
            "discriminator": self._discriminator(step),
        }
        if config.path_weight and step % config.path_interval == 0:
            batches["path_length"] = self._path_length(step)
        if config.ada:
            self._add_augmentation(batches, step)
        return batches

    def _latents(self, random: np.random.Generator, num: int) -> dict[str, Any]:
        config = self.config
        # One cut for the whole batch (Karras et al. 2019, section 3.1): all shapes stay static.
        mixed = random.random() < config.style_mixing
        cut = random.integers(1, config.num_styles) if mixed else config.num_styles
        return {
            "latents": random.standard_normal((num, config.latent_size), np.float32),
            "other_latents": random.standard_normal((num, config.latent_size), np.float32),
            # Labels of random real images, so that classes are as frequent as in the training set.
            "labels": self._one_hot(random.integers(0, len(self.images), num)),
            "cut": np.int32(cut),
            "noise": draw_noise(config, random, num),
        }

    def _path_length(self, step: int) -> dict[str, Any]:
        config = self.config
        random = random_generator(config.seed, Stream.PATH_LENGTH, step)
        # Half a batch, as in Karras et al. 2020, appendix B: this phase needs a second derivative.
        shape = (config.batch_size // 2, config.size, config.size, config.channels)
        direction = random.standard_normal(shape, np.float32)
        return self._latents(random, config.batch_size // 2) | {"direction": direction}

    def _discriminator(self, step: int) -> dict[str, Any]:
        random = random_generator(self.config.seed, Stream.DISCRIMINATOR, step)
        # Only these images are read from the disk.
        chosen = self._real(step)
        pixels = self.images.pixels[chosen]
        real = {
            "images": mirror(pixels, random) if self.config.mirror else pixels,
            "real_labels": self._one_hot(chosen),
        }
        return self._latents(random, self.config.batch_size) | real

    def _add_augmentation(self, batches: dict[str, Any], step: int) -> None:
        # A stream of its own: with ADA off, all other random numbers stay the same.
        config = self.config
        random = random_generator(config.seed, Stream.AUGMENTATION, step)
        for phase, name in (
            ("generator", "transforms"),
            ("discriminator", "transforms"),
            ("discriminator", "real_transforms"),
        ):
            batches[phase][name] = draw_transforms(random, config.batch_size, config.size)
        # Counted from 1, so that the first adjustment has a full interval of signs to average.
        batches["discriminator"]["adjust"] = np.bool_((step + 1) % config.ada_interval == 0)

    def _real(self, step: int) -> np.ndarray:
        """Indices of the real images of a step; every epoch is a new permutation of all images."""
        places = np.arange(step * self.config.batch_size, (step + 1) * self.config.batch_size)
        epochs, within = np.divmod(places, len(self.images))
        # A batch may span two epochs, or several where there are fewer images than a batch; older orders are dropped.
        self._orders = {epoch: self._order(epoch) for epoch in sorted(set(epochs.tolist()))}
        return np.array([self._orders[epoch][place] for epoch, place in zip(epochs.tolist(), within, strict=True)])

    def _order(self, epoch: int) -> np.ndarray:
        known = self._orders.get(epoch)
        if known is not None:
            return known
        return random_generator(self.config.seed, Stream.ORDER, epoch).permutation(len(self.images))

    def _one_hot(self, chosen: np.ndarray) -> np.ndarray:
        if not self.config.num_labels:
            return np.zeros((len(chosen), 0), np.float32)
        return np.eye(self.config.num_labels, dtype=np.float32)[self.images.classes[chosen]]


def draw_noise(config: GanConfig, random: np.random.Generator, num: int) -> list[np.ndarray]:
    """Draw noise N(0, 1), float32 `(num, size, size, 1)` for each noise input of the synthesis network."""
    return [random.standard_normal((num, size, size, 1), np.float32) for size in config.noise_sizes]
