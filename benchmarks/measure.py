"""Timing on a machine whose speed other work changes: a matrix product is timed before and after."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from regan import backend

TABLE_MATRIX_RATE = 133e9
"""FLOP/s of a float32 matrix product on the machine of the peer's figures (2 cores)."""


class MatrixRate:
    """Rate of a matrix product, timed before and after what is compared with it."""

    def __init__(self, dtype: str = "float32", side: int = 2048) -> None:
        random = np.random.default_rng(0)
        self._operands = [ops.cast(random.standard_normal((side, side), np.float32), dtype) for _ in range(2)]
        self._product, self._flops = backend.jit(ops.matmul), 2 * side**3
        self._rates: list[float] = []
        self._last = self._now(5)

    @property
    def median(self) -> float:
        """FLOP/s, the median of the run."""
        return statistics.median(self._rates)

    def seconds_of(self, function: Callable[[], Any]) -> float:
        """Wall time of a call, as it would have been at a rate of 1 FLOP/s: the product of time and rate."""
        before, seconds, self._last = self._last, seconds_of(function), self._now(3)
        return seconds * (before + self._last) / 2

    def _now(self, repeats: int) -> float:
        rates = [self._flops / seconds_of(lambda: self._product(*self._operands)) for _ in range(repeats)]
        self._rates.append(statistics.median(rates))
        return self._rates[-1]


def seconds_of(function: Callable[[], Any]) -> float:
    """Wall time of a call, until the first tensor that it gives can be read."""
    started = time.perf_counter()
    wait_for(function())
    return time.perf_counter() - started


def wait_for(values: Any) -> None:
    """Return when the last tensor of a nest of them is computed."""
    while isinstance(values, dict | tuple | list):
        values = list(values.values())[-1] if isinstance(values, dict) else values[-1]
    if np.prod(values.shape, dtype=int) > 1:
        values = ops.ravel(values)[0]  # a device is asked for one number, not for a copy of all
    ops.convert_to_numpy(values)


def describe_machine() -> str:
    """Framework, device, cores, processor, date."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{backend.NAME} on {backend.describe_devices()}, {cores} cores, {_processor()}, {date}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
