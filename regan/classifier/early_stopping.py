"""Early stopping and learning-rate schedule, from the validation loss of each epoch."""

import math
from dataclasses import dataclass

# The two patiences of the reference experiment. Three reductions of the learning rate fit into one early stop.
PATIENCE = 10  # epochs without a better validation loss before training ends
PLATEAU_PATIENCE = 3  # epochs without one before the learning rate is reduced
_PLATEAU_DELTA = 1e-4  # nats; a smaller improvement does not count, as in Keras' ReduceLROnPlateau


@dataclass
class EarlyStopping:
    """Tracks the validation loss from epoch to epoch. Its fields are part of the checkpoint.

    Attributes:
        best: Smallest loss so far, nats.
        since_best: Epochs since then.
        plateau: Loss that an epoch must improve on to keep the learning rate.
        since_plateau: Epochs since that improvement, or since the last reduction of the learning rate.
    """

    best: float = math.inf
    since_best: int = 0
    plateau: float = math.inf
    since_plateau: int = 0

    def update(self, loss: float) -> tuple[bool, bool]:
        """Add the loss of an epoch.

        Args:
            loss: Validation loss, nats.

        Returns:
            Whether it is the best so far; whether to reduce the learning rate.
        """
        is_best = loss < self.best
        self.best, self.since_best = (loss, 0) if is_best else (self.best, self.since_best + 1)
        if loss + _PLATEAU_DELTA < self.plateau:
            self.plateau, self.since_plateau = loss, 0
            return is_best, False
        self.since_plateau += 1
        falls = self.since_plateau >= PLATEAU_PATIENCE
        if falls:
            self.since_plateau = 0
        return is_best, falls

    @property
    def should_stop(self) -> bool:
        """Whether `PATIENCE` epochs have passed without a better one."""
        return self.since_best >= PATIENCE
