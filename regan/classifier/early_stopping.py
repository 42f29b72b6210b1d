"""What validation losses decide: which epoch is the best, when the learning rate falls, when training ends."""

import math
from dataclasses import dataclass

PATIENCE = 10  # epochs without a better validation loss before training ends
PLATEAU_PATIENCE = 3  # ... before the learning rate falls
_PLATEAU_DELTA = 1e-4  # nats; less than that is no better


@dataclass
class Watch:
    """Follows the validation loss from epoch to epoch.

    Attributes:
        best: Least loss so far, nats.
        since_best: Epochs since then.
        plateau: Loss that the learning rate is measured by.
        since_plateau: Epochs since it fell clearly, or since the learning rate did.
    """

    best: float = math.inf
    since_best: int = 0
    plateau: float = math.inf
    since_plateau: int = 0

    def note(self, loss: float) -> tuple[bool, bool]:
        """Note the loss of an epoch.

        Returns:
            Whether it is the best so far; whether the learning rate falls.
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
    def ends(self) -> bool:
        """Whether training has gone on for long without a better epoch."""
        return self.since_best >= PATIENCE
