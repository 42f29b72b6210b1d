"""How long a local run will still take: predicted by the preflight, corrected by each step that has finished."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

_TRUST = 0.05  # the prediction weighs as much as finished steps that make up this share of the run


class Remaining:
    """Time left of a run.

    The ratio of measured to predicted seconds of all finished steps scales the prediction of the others. At first a
    twentieth of the run is taken as having lasted as predicted, so that one short step cannot throw the figure.

    Args:
        titles: Title of every step of the run, each as often as it will run as far as known.
        clock: Seconds since some start.
    """

    def __init__(self, titles: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting, self._clock = Counter(titles), clock
        self._running: dict[int, tuple[str, float]] = {}
        self._bounds: dict[int, tuple[float, float]] = {}
        self._seconds: dict[str, float] = {}
        self._finished: list[tuple[str, float]] = []
        self._lock = threading.Lock()  # the items of a loop run side by side

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Take a prediction: seconds of a step by the beginning of its title."""
        self._seconds |= seconds

    def start(self, number: int, title: str) -> None:
        """A step begins."""
        with self._lock:
            self._waiting[title] -= 1
            self._running[number] = (title, self._clock())

    def bound(self, number: int, seconds: float) -> None:
        """A running step has said that a part of it takes so many seconds more: it cannot end before."""
        self._bounds[number] = (self._clock(), seconds)

    def finish(self, number: int, *, ran: bool) -> None:
        """A step has ended; one whose outputs were kept from an earlier run tells nothing of this machine."""
        with self._lock:
            title, since = self._running.pop(number)
            if ran:
                self._finished.append((title, self._clock() - since))

    def seconds(self) -> float | None:
        """Seconds until the run ends; None as long as nothing is predicted."""
        if not self._seconds:
            return None
        with self._lock:
            ratio = self._ratio()
            waiting = sum(self._prediction(title) * count for title, count in self._waiting.items() if count > 0)
            return waiting * ratio + sum(self._left_of(number, ratio) for number in self._running)

    def _ratio(self) -> float:
        titles = [*self._waiting.elements(), *(title for title, _ in [*self._running.values(), *self._finished])]
        trust = _TRUST * sum(self._prediction(title) for title in titles)
        predicted = sum(self._prediction(title) for title, _ in self._finished)
        measured = sum(seconds for title, seconds in self._finished if self._prediction(title))
        return (trust + measured) / (trust + predicted) if trust else 1.0

    def _left_of(self, number: int, ratio: float) -> float:
        title, since = self._running[number]
        now = self._clock()
        said_at, said = self._bounds.get(number, (now, 0.0))
        return max(self._prediction(title) * ratio - (now - since), said - (now - said_at), 0.0)

    def _prediction(self, title: str) -> float:
        known = [beginning for beginning in self._seconds if f"{title} ".startswith(f"{beginning} ")]
        return self._seconds[max(known, key=len)] if known else 0.0
