"""Stop a run that has diverged, before it wastes days or overwrites good snapshots and checkpoints."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from regan.common.errors import TrainingDivergedError

# Logistic losses start near log 2 (generator) and 2 log 2 (discriminator). These bounds are two orders of magnitude
# above, so that a noisy but healthy run never meets them.
_LARGEST = {"_loss": 100.0, "path_length": 1000.0}  # by the suffix of the figure's name
_LINES = 5  # consecutive lines of the log, because one line may be an outlier
# A mean sign of 0.999 is all but one of 2,000 images on the right side. A generator loss over 10 means scores of -10 on
# average: the discriminator gives a synthetic image a probability of e^-10 of being real.
_WON_SIGN, _WON_LOSS = 0.999, 10.0
_ADVICE = "Earlier snapshots and checkpoints are kept. Train again with another `seed` or a larger `r1_gamma`"


class DivergenceMonitor:
    """Checks the figures of a run, line by line of its log.

    Args:
        lines: Lines of the log so far, for a run that resumes.
    """

    def __init__(self, lines: Iterable[Mapping[str, float]] = ()) -> None:
        self._recent = deque((_discriminator_has_won(line) for line in lines), maxlen=_LINES)

    def require_bounded(self, figures: Mapping[str, float]) -> None:
        """Refuse figures that are NaN, infinite or out of bounds.

        Raises:
            TrainingDivergedError: A figure is.
        """
        # `not <=` instead of `>`, because comparisons with NaN are false.
        broken = {name: value for name, value in figures.items() if not abs(value) <= _largest(name)}
        if broken:
            values = ", ".join(f"{name}={value:.4g}" for name, value in broken.items())
            raise TrainingDivergedError(
                f"Training diverged: {values}. Figures must be finite, losses at most {_LARGEST['_loss']:g} and path "
                f"lengths at most {_LARGEST['path_length']:g}. {_ADVICE}."
            )

    def require_balance(self, figures: Mapping[str, float]) -> None:
        """Refuse a discriminator that has separated all images for several lines of the log.

        Raises:
            TrainingDivergedError: The discriminator has won.
        """
        self._recent.append(_discriminator_has_won(figures))
        if len(self._recent) == _LINES and all(self._recent):
            raise TrainingDivergedError(
                f"The discriminator has won: in the last {_LINES} lines of the log it separated all real and synthetic "
                f"images, and the generator's loss was above {_WON_LOSS:g}. Received real_sign="
                f"{figures['real_sign']:.4g}, fake_sign={figures['fake_sign']:.4g}, generator_loss="
                f"{figures['generator_loss']:.4g}. {_ADVICE}; with few images, use `augment='ada'`."
            )


def require_finite(state: Mapping[str, Any], where: str = "") -> None:
    """Refuse a state that must not be written.

    Args:
        state: NumPy arrays of any shape by name, or nests of them.
        where: Name of the nest.

    Raises:
        TrainingDivergedError: A value is NaN or infinite.
    """
    for name, value in state.items():
        path = f"{where}/{name}" if where else name
        if isinstance(value, Mapping):
            require_finite(value, path)
        elif not np.isfinite(value).all():
            raise TrainingDivergedError(f"Training diverged: {path} contains NaN or infinity. {_ADVICE}.")


def _largest(name: str) -> float:
    return next((bound for end, bound in _LARGEST.items() if name.endswith(end)), np.finfo(float).max)


def _discriminator_has_won(figures: Mapping[str, float]) -> bool:
    return (
        figures.get("real_sign", 0) >= _WON_SIGN
        and figures.get("fake_sign", 0) <= -_WON_SIGN
        and figures.get("generator_loss", math.nan) > _WON_LOSS
    )
