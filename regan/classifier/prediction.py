"""Predictions of a trained classifier."""

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
    feature_model,
    from_pixels,
    set_network_weights,
)

_MAX_PIXELS = 4_194_304  # values of one batch: 64 grey images of 256 x 256


@dataclass(frozen=True)
class Classifier:
    """A trained binary classifier. Load one with `Classifier.load`.

    Attributes:
        configuration: Configuration of its network.
        classes: Names of the classes, the positive one last.
        threshold: An image is called positive if its probability is at least this. Fixed on validation images.
        hash: SHA-256 of its weight file.
        network: Model from scaled images to the probabilities of both classes.
    """

    configuration: Configuration
    classes: tuple[str, ...]
    threshold: float
    hash: str
    network: keras.Model = field(repr=False)

    @classmethod
    def load(cls, folder: str | Path) -> "Classifier":
        """Build the network of a model folder and assign its weights.

        Raises:
            FileNotFoundError: The folder contains no model.
            WrongArtifactError: The model is not a classifier.
            CorruptFileError: The weights do not match the network.
        """
        model = read_model(folder, "classifier")
        configuration = Configuration(**model["configuration"])
        network = build_network(configuration)
        set_network_weights(network, read_weights(folder))
        return cls(configuration, tuple(model["classes"]), model["threshold"], weights_hash(folder), network)

    @property
    def positive_class(self) -> str:
        """The class that sensitivity is about."""
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
            batches: uint8 `(b, size, size, channels)`, 0-255, of any lengths b, which do not change the result.

        Returns:
            float64 `(n,)`.
        """
        return positive_probabilities(self._model, batches)

    def features(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """Input of the last layer, float64 `(n, d)`; `batches` as in `probabilities`."""
        return _run(feature_model(self._model), batches)

    @cached_property
    def _model(self) -> keras.Model:
        return from_pixels(self.configuration, self.network)


def positive_probabilities(model: keras.Model, batches: Iterable[np.ndarray]) -> np.ndarray:
    """Probability of the positive class.

    Args:
        model: Model of `from_pixels`.
        batches: uint8 `(b, size, size, channels)`, 0-255.

    Returns:
        float64 `(n,)`.
    """
    return _run(model, batches)[:, -1]


def _run(model: keras.Model, batches: Iterable[np.ndarray]) -> np.ndarray:
    """Run a model on batches of one shape, so that it is compiled once and the batches of the caller do not matter."""
    # The last bits of a result may depend on the shape of its batch; with one shape, they do not.
    shape = model.input_shape[1:]
    batch_size = max(1, min(256, _MAX_PIXELS // int(np.prod(shape))))
    answers = [np.empty((0, *model.output_shape[1:]), np.float64)]  # for an empty stream
    for images in _rebatch(batches, batch_size):
        # The padding is predicted too and cut off; in inference no image affects another one.
        padded = np.zeros((batch_size, *shape), np.uint8)
        padded[: len(images)] = images
        answer = ops.convert_to_numpy(model.predict_on_batch(padded))
        answers.append(answer[: len(images)].astype(np.float64))
    return np.concatenate(answers)


def _rebatch(batches: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    waiting: list[np.ndarray] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += len(batch)
        while count >= batch_size:
            joined = _concatenate(waiting)
            yield joined[:batch_size]
            waiting, count = [joined[batch_size:]], count - batch_size
    if count:
        yield _concatenate(waiting)


def _concatenate(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
