"""Answers of a trained classifier."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
from keras import ops

from regan.artifacts.model import read_model, read_weights, weights_hash
from regan.classifier.model import (
    Configuration,
    build_network,
    from_pixels,
    penultimate,
    set_network_weights,
)

_MAX_PIXELS = 4_194_304  # of one batch: 64 images of 256 x 256


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of two classes. Load one with `Classifier.load`.

    Attributes:
        configuration: What its network is.
        classes: Names of the classes, the positive one last.
        threshold: An image is called positive when its probability is at least this. Fixed on validation images.
        hash: SHA-256 of its weight file.
        network: From scaled images to probabilities of both classes.
    """

    configuration: Configuration
    classes: tuple[str, ...]
    threshold: float
    hash: str
    network: keras.Model = field(repr=False)

    @classmethod
    def load(cls, folder: str | Path) -> "Classifier":
        """Build the network of a model folder and give it its weights.

        Raises:
            FileNotFoundError: The folder holds no model.
            ValueError: It is no classifier, or its weights do not fit.
        """
        model = read_model(folder, "classifier")
        configuration = Configuration(**model["configuration"])
        network = build_network(configuration)
        set_network_weights(network, read_weights(folder))
        return cls(configuration, tuple(model["classes"]), model["threshold"], weights_hash(folder), network)

    @property
    def positive_class(self) -> str:
        """The finding that sensitivity counts."""
        return self.classes[-1]

    @property
    def size(self) -> int:
        """Height and width of its images, pixels."""
        return self.configuration.size

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.configuration.channels

    def probabilities(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """Probability of the positive class.

        Args:
            batches: uint8 `(b, size, size, channels)`, 0-255, of any lengths, which do not change the answer.

        Returns:
            float64 `(n,)`.
        """
        return positive_probabilities(self._model, batches)

    def features(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """What the last layer sees, float64 `(n, d)`; `batches` as in `probabilities`."""
        return _run(penultimate(self._model), batches)

    @cached_property
    def _model(self) -> keras.Model:
        return from_pixels(self.configuration, self.network)


def positive_probabilities(model: keras.Model, batches: Iterable[np.ndarray]) -> np.ndarray:
    """Probability of the positive class, float64 `(n,)`, from a model of `from_pixels`."""
    return _run(model, batches)[:, -1]


def _run(model: keras.Model, batches: Iterable[np.ndarray]) -> np.ndarray:
    """Run images through a model in batches of one shape, so that it compiles once and the caller's do not matter."""
    shape = model.input_shape[1:]
    batch_size = max(1, min(256, _MAX_PIXELS // int(np.prod(shape))))
    answers = [np.empty((0, *model.output_shape[1:]), np.float64)]
    for images in _rebatched(batches, batch_size):
        padded = np.zeros((batch_size, *shape), np.uint8)
        padded[: len(images)] = images
        answer = ops.convert_to_numpy(model.predict_on_batch(padded))
        answers.append(answer[: len(images)].astype(np.float64))
    return np.concatenate(answers)


def _rebatched(batches: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    waiting: list[np.ndarray] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += len(batch)
        while count >= batch_size:
            joined = _joined(waiting)
            yield joined[:batch_size]
            waiting, count = [joined[batch_size:]], count - batch_size
    if count:
        yield _joined(waiting)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
