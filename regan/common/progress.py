"""Progress lines of long loops, through the log."""

import logging
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from regan.common.text import duration

_LOG = logging.getLogger("regan")
_LINES = 6  # the reported speed is the mean over this many lines, so that it follows a change within half a minute


class Progress:
    """Log at most every few seconds how far a loop is, its speed and the time left.

    Args:
        what: The work, such as "Generate images".
        total: How many units it has, more than 0.
        unit: What is counted, plural.
        seconds_between: Shortest time between two lines, seconds.
        clock: Seconds since some start.
    """

    def __init__(
        self,
        what: str,
        total: float,
        unit: str = "images",
        *,
        seconds_between: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if total <= 0:
            raise ValueError(
                f"Progress of {what!r} has nothing to count. Received total={total}; it must be more than 0."
            )
        self._what, self._total, self._unit = what, total, unit
        self._seconds_between, self._clock = seconds_between, clock
        self._done = 0.0
        self._started = self._last_line = clock()
        # (seconds, units done) at the latest lines. The first unit does not count: it waits for imports and compilers.
        self._marks: deque[tuple[float, float]] = deque(maxlen=_LINES)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            seconds = self._clock() - self._started
            _LOG.info("%s: done, %s %s in %.1f s", self._what, _count(self._done), self._unit, seconds)

    def advance(self, n: float = 1, **figures: float | str) -> None:
        """Count `n` more units; `figures` are shown in the line, as `name value`."""
        self._done += n
        now = self._clock()
        if not self._marks:
            self._marks.append((now, self._done))
        if now - self._last_line < self._seconds_between:
            return
        self._last_line = now
        parts = [f"{self._what}: {_count(self._done)} of {_count(self._total)} {self._unit} ({self._share():.0%})"]
        since, before = self._marks[0]
        if self._done > before and now > since:
            rate = (self._done - before) / (now - since)
            parts += [f"{rate:.3g} {self._unit}/s", f"{duration(max(self._total - self._done, 0) / rate)} left"]
            self._marks.append((now, self._done))
        parts += [f"{name.replace('_', ' ')} {_figure(value)}" for name, value in figures.items()]
        _LOG.info("%s", ", ".join(parts))

    def _share(self) -> float:
        return min(self._done / self._total, 1.0)


def _count(n: float) -> str:
    return f"{n:,.0f}" if n >= 100 or n == int(n) else f"{n:.1f}"


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
