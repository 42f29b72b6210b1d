"""Training loop of the classifier: steps, early stopping, learning rate, figures of each epoch, checkpoints."""

import contextlib
import itertools
import logging
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.metrics import roc_auc_score

from regan.backend import jit_compile
from regan.classifier.early_stopping import EarlyStopping
from regan.classifier.initial_network import InitialNetwork
from regan.classifier.model import SMALL, freeze_like_reference, from_pixels
from regan.classifier.pixels import PixelCache, TrainingBatches
from regan.classifier.prediction import positive_probabilities
from regan.classifier.recipes import Recipe
from regan.common.errors import SettingError, TrainingDivergedError, TrainingStoppedError
from regan.common.progress import Progress
from regan.training.checkpoint import load_checkpoint, save_checkpoint
from regan.training.workspace import StopRequest, catch_sigterm

_LOG = logging.getLogger("regan")
_PLATEAU_FACTOR = 0.1  # on the learning rate, as in the reference experiment
_CURVES = ("training_loss", "validation_loss", "validation_auc")


@dataclass(frozen=True)
class Training:
    """Result of a training.

    Attributes:
        training_loss: Mean cross-entropy on the augmented training images during each epoch, nats.
        validation_loss: Mean cross-entropy on the validation images after each epoch, nats.
        validation_auc: Area under the ROC curve on the validation images after each epoch.
        probabilities: Probability of the positive class of each validation image with the kept weights, float64 `(n,)`.
    """

    training_loss: list[float]
    validation_loss: list[float]
    validation_auc: list[float]
    probabilities: np.ndarray


@dataclass(frozen=True)
class Checkpointing:
    """Where and when checkpoints are written.

    Attributes:
        folder: Existing folder for them.
        configuration: Hash of all that a resumed training must share with the earlier one.
        seconds: Seconds between checkpoints; one is also written at the end and on SIGTERM.
        on_checkpoint: Called after each.
        on_step: Called after each step; ends the training when it raises.
    """

    folder: Path
    configuration: str
    seconds: float = 600.0
    on_checkpoint: Callable[[], None] = lambda: None
    on_step: Callable[[], None] = lambda: None


def train(
    start: InitialNetwork,
    training: PixelCache,
    validation: PixelCache,
    recipe: Recipe,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    checkpointing: Checkpointing | None = None,
) -> Training:
    """Train the network of `start` in place, from the newest checkpoint if there is one.

    Args:
        start: Network and initial learning rate.
        training: Training images.
        validation: Validation images for early stopping, of both classes.
        recipe: See `Recipe`.
        epochs: Largest number of epochs.
        batch_size: Images per step (minibatch size).
        seed: Seed of shuffle and augmentation.
        checkpointing: None = no checkpoints.

    Returns:
        Figures of every epoch, and the predictions on validation images.

    Raises:
        TrainingDivergedError: A loss is not finite.
        CheckpointMismatchError: The checkpoint belongs to another training.
        SettingError: `epochs` is less than the checkpoint has.
        TrainingStoppedError: The process received SIGTERM; the same call resumes from the checkpoint.
    """
    batches = TrainingBatches(training, batch_size, seed)
    return _Trainer(start, batches, validation, recipe, epochs, checkpointing).run()


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy of two classes.

    Args:
        probabilities: Probability of the positive class, float64 `(n,)`, 0 to 1.
        labels: int64 `(n,)`, 1 for the positive class.

    Returns:
        Nats. Probabilities are clipped to 1e-7 from 0 and 1, as in Keras' loss, or one wrong image could make it
        infinite.
    """
    right = np.where(labels == 1, probabilities, 1 - probabilities)
    return float(-np.log(np.clip(right, 1e-7, 1 - 1e-7)).mean())


class _Trainer:
    def __init__(
        self,
        start: InitialNetwork,
        batches: TrainingBatches,
        validation: PixelCache,
        recipe: Recipe,
        epochs: int,
        checkpointing: Checkpointing | None,
    ) -> None:
        if recipe.freezes_backbone and start.configuration.backbone != SMALL:
            freeze_like_reference(start.network)
        self._model = from_pixels(start.configuration, start.network)
        self._optimizer = keras.optimizers.Adam(start.learning_rate)
        # Two softmax outputs, not one sigmoid, as in the reference experiment.
        self._model.compile(self._optimizer, "sparse_categorical_crossentropy", jit_compile=jit_compile())
        # Keras creates the optimizer's variables in the first step; a checkpoint is restored before it.
        self._optimizer.build(self._model.trainable_variables)
        self._batches, self._validation, self._epochs = batches, validation, epochs
        self._keeps_best, self._checkpointing = recipe.keeps_best, checkpointing
        # `_number` counts the steps of the current epoch; after the last one validation is due.
        self._epoch, self._number, self._loss_sum = 0, 0, 0.0
        self._early_stopping, self._best = EarlyStopping(), self._model.get_weights()
        self._curves: dict[str, list[float]] = {name: [] for name in _CURVES}
        self._seconds, self._stop = 0.0, StopRequest()

    def run(self) -> Training:
        self._restore()
        self._clock = self._last_checkpoint = time.monotonic()
        if not self._is_complete:
            left = (self._epochs - self._epoch) * len(self._batches) - self._number
            with self._handle_sigterm(), Progress("Train classifier", max(left, 1), "steps") as progress:
                self._train(progress)
                self._checkpoint()
        # The predictions below, and the threshold made of them, belong to the weights that are kept.
        if self._keeps_best:
            self._model.set_weights(self._best)
        return Training(**self._curves, probabilities=self._probabilities(self._validation.batches()))

    @property
    def _is_complete(self) -> bool:
        return self._epoch >= self._epochs or self._early_stopping.should_stop

    @property
    def _steps_done(self) -> int:
        # Validation counts as a step, so that the checkpoint after it has a higher number than the one before it.
        return self._epoch * (len(self._batches) + 1) + self._number

    def _train(self, progress: Progress) -> None:
        figures: dict[str, float] = {}
        with contextlib.closing(self._draw_batches()) as drawn:
            while not self._is_complete:
                while self._number < len(self._batches):
                    answer = self._model.train_on_batch(*next(drawn), return_dict=True)
                    self._loss_sum += float(answer["loss"])
                    self._number += 1
                    progress.advance(1, **figures)
                    self._checkpoint_if_due()
                figures = self._end_epoch()

    def _draw_batches(self) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
        """Batches from the current step on; the next one is drawn while a step is computed."""
        first = self._epoch * len(self._batches) + self._number
        with ThreadPoolExecutor(1) as drawer:
            drawn = drawer.submit(self._batches.draw, first)
            for number in itertools.count(first + 1):
                batch = drawn.result()
                drawn = drawer.submit(self._batches.draw, number)
                yield batch

    def _end_epoch(self) -> dict[str, float]:
        probabilities = self._probabilities(self._unless_stopped(self._validation.batches()))
        # The mean over the epoch's steps, while the weights moved; the validation loss is of the last weights alone.
        training_loss = self._loss_sum / len(self._batches)
        loss = cross_entropy(probabilities, self._validation.labels)
        if not math.isfinite(training_loss) or not math.isfinite(loss):
            raise TrainingDivergedError(
                f"The loss of the classifier is not finite: in epoch {self._epoch + 1} it was {training_loss} in "
                f"training and {loss} in validation. Train with other weights, another recipe or another seed."
            )
        # Recorded for the report; the loss decides, since the AUC of few images moves in large steps.
        auc = float(roc_auc_score(self._validation.labels, probabilities))
        for name, value in zip(_CURVES, (training_loss, loss, auc), strict=True):
            self._curves[name].append(value)
        is_best, reduce_rate = self._early_stopping.update(loss)
        if is_best:
            self._best = self._model.get_weights()
        if reduce_rate:
            # Assigned in place: the rate is a variable of the compiled step and part of the checkpoint.
            self._optimizer.learning_rate = float(ops.convert_to_numpy(self._optimizer.learning_rate)) * _PLATEAU_FACTOR
        self._epoch, self._number, self._loss_sum = self._epoch + 1, 0, 0.0
        return {"epoch": self._epoch, "validation_loss": loss, "validation_auc": auc}

    def _probabilities(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        return positive_probabilities(self._model, batches)

    def _unless_stopped(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Check for SIGTERM between batches: validation may take longer than the notice of a preemption."""
        for batch in batches:
            self._end_if_stopped()
            yield batch

    def _handle_sigterm(self) -> contextlib.AbstractContextManager[StopRequest]:
        """Handle SIGTERM only with checkpoints; without them it ends the process as usual."""
        if self._checkpointing is None:
            return contextlib.nullcontext(self._stop)
        return catch_sigterm(self._stop)

    def _checkpoint_if_due(self) -> None:
        if self._checkpointing is None:
            return
        self._end_if_stopped()
        if time.monotonic() - self._last_checkpoint >= self._checkpointing.seconds:
            self._checkpoint()
        self._checkpointing.on_step()

    def _end_if_stopped(self) -> None:
        if self._stop.requested and self._checkpointing is not None:
            self._checkpoint()
            raise TrainingStoppedError(
                f"Training stopped by SIGTERM in epoch {self._epoch + 1}. The checkpoint is in "
                f"{self._checkpointing.folder}. Run the same command again to resume."
            )

    def _checkpoint(self) -> None:
        if self._checkpointing is None:
            return
        # The time of earlier starts is added, so that `seconds` is that of the whole training.
        now = time.monotonic()
        self._seconds, self._clock = self._seconds + now - self._clock, now
        save_checkpoint(
            self._checkpointing.folder,
            configuration=self._checkpointing.configuration,
            step=self._steps_done,
            seconds=self._seconds,
            state=self._state(),
        )
        self._last_checkpoint = time.monotonic()
        self._checkpointing.on_checkpoint()

    def _state(self) -> dict[str, Any]:
        # The batches are functions of seed and number, so no random state is stored.
        position = {"epoch": self._epoch, "number": self._number, "loss_sum": self._loss_sum}
        return {
            "model": _by_position(ops.convert_to_numpy(variable) for variable in self._model.variables),
            "optimizer": _by_position(ops.convert_to_numpy(variable) for variable in self._optimizer.variables),
            "best": _by_position(self._best),
            "position": _as_arrays(position),
            "watch": _as_arrays(asdict(self._early_stopping)),  # an older name, which old checkpoints have
            "curves": {name: np.array(values, np.float64) for name, values in self._curves.items()},
        }

    def _restore(self) -> None:
        if self._checkpointing is None:
            return
        found = load_checkpoint(self._checkpointing.folder, configuration=self._checkpointing.configuration)
        if found is None:
            return
        state, position = found.state, found.state["position"]
        if position["epoch"] > self._epochs:
            raise SettingError(
                f"`epochs` is less than the checkpoint in {self._checkpointing.folder} has already: "
                f"{int(position['epoch'])}. Received epochs={self._epochs}. Raise it, or use another output."
            )
        _assign(self._model.variables, state["model"])
        _assign(self._optimizer.variables, state["optimizer"])
        # The names sort by position; Keras takes the weights as a list.
        self._best = [state["best"][place] for place in sorted(state["best"])]
        self._epoch, self._number = int(position["epoch"]), int(position["number"])
        self._loss_sum, self._seconds = float(position["loss_sum"]), found.seconds
        self._early_stopping = EarlyStopping(**{name: value.item() for name, value in state["watch"].items()})
        self._curves = {name: state["curves"][name].tolist() for name in _CURVES}
        _LOG.info("Train classifier: resume in epoch %d, after %d of its steps", self._epoch + 1, self._number)


def _by_position(values: Iterable[Any]) -> dict[str, np.ndarray]:
    # By position, because Keras' variable names are not the same in the next process; five digits sort as numbers.
    return {f"{place:05d}": np.asarray(value) for place, value in enumerate(values)}


def _as_arrays(numbers: Mapping[str, float]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in numbers.items()}


def _assign(variables: Sequence[keras.Variable], values: Mapping[str, np.ndarray]) -> None:
    for place, variable in zip(sorted(values), variables, strict=True):
        variable.assign(values[place])
