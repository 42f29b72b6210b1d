"""Stops a run that has diverged, before it spends days on it or overwrites what was good."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

_LARGEST = {"_loss": 100.0, "path_length": 1000.0}  # by the end of the figure's name
_LINES = 5  # so many lines of the log must say that the discriminator has won
_WON_SIGN, _WON_LOSS = 0.999, 10.0
_ADVICE = (
    "The last snapshot and checkpoint are from before and are kept. Train anew with another `seed` or a larger "
    "`r1_gamma`"
)


class TrainingDivergedError(RuntimeError):
    """The figures of a run are no longer finite, or where training does not come back from."""


class Watchdog:
    """Looks at the figures of a run.

    Args:
        lines: Lines of the log so far, of a run that goes on.
    """

    def __init__(self, lines: Iterable[Mapping[str, float]] = ()) -> None:
        self._is_won = deque((_is_won(line) for line in lines), maxlen=_LINES)

    def require_sane(self, figures: Mapping[str, float]) -> None:
        """Refuse figures that are not finite, or beyond all bounds.

        Raises:
            TrainingDivergedError: There are some.
        """
        broken = {name: value for name, value in figures.items() if not abs(value) <= _largest(name)}
        if broken:
            told = ", ".join(f"{name}={value:.4g}" for name, value in broken.items())
            bounds = " and ".join(
                f"{what} below {_LARGEST[end]:g}"
                for what, end in (("losses", "_loss"), ("path lengths", "path_length"))
            )
            raise TrainingDivergedError(
                f"Training figures must be finite, {bounds}. Received {told}. The run has diverged. {_ADVICE}."
            )

    def require_contest(self, figures: Mapping[str, float]) -> None:
        """Refuse that the discriminator has told all images apart for some lines of the log, and the generator is lost.

        Raises:
            TrainingDivergedError: That is so.
        """
        self._is_won.append(_is_won(figures))
        if len(self._is_won) == _LINES and all(self._is_won):
            raise TrainingDivergedError(
                f"The discriminator must not win outright. In the last {_LINES} lines of the log all images were told "
                f"apart and the generator's loss was above {_WON_LOSS:g}. Received real_sign="
                f"{figures['real_sign']:.4g}, fake_sign={figures['fake_sign']:.4g}, generator_loss="
                f"{figures['generator_loss']:.4g}. {_ADVICE}; with few images, use `augment='ada'`."
            )


def require_finite(state: Mapping[str, Any], where: str = "") -> None:
    """Refuse a state that must not be written.

    Args:
        state: NumPy arrays by name, or nests of them.
        where: Name of the nest.

    Raises:
        TrainingDivergedError: A value is not finite.
    """
    for name, value in state.items():
        path = f"{where}/{name}" if where else name
        if isinstance(value, Mapping):
            require_finite(value, path)
        elif not np.isfinite(value).all():
            raise TrainingDivergedError(
                f"The training state must be finite. Received other values in {path}. The run has diverged. {_ADVICE}."
            )


def _largest(name: str) -> float:
    return next((bound for end, bound in _LARGEST.items() if name.endswith(end)), np.finfo(float).max)


def _is_won(figures: Mapping[str, float]) -> bool:
    return (
        figures.get("real_sign", 0) >= _WON_SIGN
        and figures.get("fake_sign", 0) <= -_WON_SIGN
        and figures.get("generator_loss", math.nan) > _WON_LOSS
    )
