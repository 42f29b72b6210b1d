"""Training of a classifier: early stopping, learning rate, figures of each epoch."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from regan.backend import jit_compile
from regan.classifier.model import SMALL, freeze_like_reference, from_pixels
from regan.classifier.pixels import PixelCache, TrainingBatches
from regan.classifier.prediction import positive_probabilities
from regan.classifier.recipes import Recipe
from regan.classifier.start import Start
from regan.progress import Progress

_PATIENCE = 10  # epochs without a better validation loss before training ends
_PLATEAU_PATIENCE = 3  # ... before the learning rate falls
_PLATEAU_FACTOR = 0.1


@dataclass(frozen=True)
class Training:
    """What training left behind.

    Attributes:
        training_loss: Mean cross-entropy of each epoch, augmented images, nats.
        validation_loss: The same after each epoch, on validation images.
        validation_auc: Area under the ROC curve after each epoch.
        probabilities: Of the positive class with the kept weights, validation images, float64 `(n,)`.
    """

    training_loss: list[float]
    validation_loss: list[float]
    validation_auc: list[float]
    probabilities: np.ndarray


def train(
    start: Start,
    training: PixelCache,
    validation: PixelCache,
    recipe: Recipe,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
) -> Training:
    """Train the network of `start` in place.

    Args:
        start: Network and first learning rate.
        training: Images that train.
        validation: Images that early stopping watches, of both classes.
        recipe: See `Recipe`.
        epochs: At most so many.
        batch_size: Images a step.
        seed: Of shuffle and augmentation.

    Returns:
        Figures of every epoch, and the answers on validation images.

    Raises:
        ValueError: The loss is no finite number any more.
    """
    if recipe.freezes_backbone and start.configuration.backbone != SMALL:
        freeze_like_reference(start.network)
    model = from_pixels(start.configuration, start.network)
    model.compile(
        keras.optimizers.Adam(start.learning_rate), "sparse_categorical_crossentropy", jit_compile=jit_compile()
    )
    batches = TrainingBatches(training, batch_size, seed)
    with Progress("Train classifier", epochs * len(batches), "steps") as progress:
        callbacks = [
            _EpochFigures(validation, progress),
            keras.callbacks.EarlyStopping(
                "val_loss", mode="min", patience=_PATIENCE, restore_best_weights=recipe.keeps_best
            ),
            keras.callbacks.ReduceLROnPlateau(
                "val_loss", mode="min", factor=_PLATEAU_FACTOR, patience=_PLATEAU_PATIENCE
            ),
        ]
        curves = model.fit(batches, epochs=epochs, verbose=0, callbacks=callbacks).history
    return Training(
        training_loss=[float(value) for value in curves["loss"]],
        validation_loss=curves["val_loss"],
        validation_auc=curves["val_auc"],
        probabilities=positive_probabilities(model, validation.batches()),
    )


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy of two classes, nats; probabilities are kept 1e-7 away from 0 and 1, as Keras' loss does."""
    right = np.where(labels == 1, probabilities, 1 - probabilities)
    return float(-np.log(np.clip(right, 1e-7, 1 - 1e-7)).mean())


class _EpochFigures(keras.callbacks.Callback):
    """Put loss and AUC on validation images into the log of each epoch, from one pass over them."""

    def __init__(self, validation: PixelCache, progress: Progress) -> None:
        super().__init__()
        self._validation, self._progress = validation, progress
        self._last: dict[str, float] = {}

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._progress.advance(1, **self._last)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        probabilities = positive_probabilities(self.model, self._validation.batches())
        logs["val_loss"] = cross_entropy(probabilities, self._validation.labels)
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs["val_loss"]):
            raise ValueError(
                f"The loss must stay finite. In epoch {epoch + 1} it was {logs['loss']} in training and "
                f"{logs['val_loss']} in validation. Train with other weights, another recipe or another seed."
            )
        logs["val_auc"] = float(roc_auc_score(self._validation.labels, probabilities))
        self._last = {"epoch": epoch + 1, "validation_loss": logs["val_loss"], "validation_auc": logs["val_auc"]}
