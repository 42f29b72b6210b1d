"""Log of a run: the means of its figures over an interval, in `log.jsonl` and TensorBoard files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regan.common.files import atomic_write
from regan.gan.divergence import DivergenceMonitor
from regan.gan.memory import memory
from regan.gan.tensorboard import TensorBoardWriter

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"
_SHOWN = ("generator_loss", "discriminator_loss", "augmentation_strength")


class TrainingLog:
    """Collects the figures of every step, and writes their means.

    Args:
        folder: Work folder of the run.
        kimg: Thousands of images at which the run resumes; later lines of an interrupted run are removed.
        total_kimg: Thousands of images at which the run ends.
    """

    def __init__(self, folder: Path, kimg: float, total_kimg: float) -> None:
        self.newest: dict[str, float | str] = {}
        self._total_kimg = total_kimg
        self._path = folder / LOG
        _remove_lines_after(self._path, kimg)
        self._monitor = DivergenceMonitor(read_log(folder) if self._path.is_file() else ())
        self._tensorboard = TensorBoardWriter(folder / TENSORBOARD, purge_step=_event_step(kimg))
        self._clear()

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self._tensorboard.close()

    def add(self, figures: Mapping[str, Any], *, num_images: int, seconds: float, waited: float) -> None:
        """Add one step.

        Args:
            figures: Figures of the step by name, scalar tensors `()`.
            num_images: Real images of the step.
            seconds: Duration of the step.
            waited: Seconds of it spent waiting for inputs.
        """
        # The tensors are kept as they are: reading a number here would wait for the device in every step.
        self._figures.append(dict(figures))
        self._num_images += num_images
        self._seconds += seconds
        self._waited += waited

    def flush(self, kimg: float, **more: float) -> None:
        """Write the means since the last call as one line, if there were steps.

        Args:
            kimg: Thousands of images so far.
            more: Further figures of the line.

        Raises:
            TrainingDivergedError: See `DivergenceMonitor`. The line is written if its figures are within bounds.
        """
        if not self._figures:
            return
        means = self.require_bounded()
        speed = self._num_images / self._seconds
        line = {
            "kimg": kimg,
            **means,
            "images_per_second": speed,
            "seconds_per_kimg": 1000 / speed,
            "seconds_left": max(self._total_kimg - kimg, 0) * 1000 / speed,
            "waited_for_inputs": self._waited / self._seconds,
            **{f"{where}_memory_gb": size / 1e9 for where, size in memory().items()},
            **more,
        }
        self.newest = _progress_figures(line)
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in line.items():
            self._tensorboard.add_scalar(name, value, _event_step(kimg))
        self.sync()
        self._clear()
        self._monitor.require_balance(means)

    def sync(self) -> None:
        """Write all events for TensorBoard to disk."""
        self._tensorboard.sync()

    def require_bounded(self) -> dict[str, float]:
        """Compute the means since the last flush.

        Raises:
            TrainingDivergedError: A mean is not finite, or out of bounds.
        """
        # Lazy regularisation: not every step has every figure.
        names = dict.fromkeys(name for figures in self._figures for name in figures)
        means = {name: float(np.mean([float(f[name]) for f in self._figures if name in f])) for name in names}
        self._monitor.require_bounded(means)
        return means

    def write_samples(self, kimg: float, sheet: np.ndarray) -> None:
        """Write a contact sheet of samples, uint8 `(height, width, 1 or 3)`, for TensorBoard."""
        self._tensorboard.add_image("samples", sheet, _event_step(kimg))

    def write_snapshot_figures(self, kimg: float, figures: Mapping[str, float]) -> None:
        """Write the figures of a snapshot for TensorBoard."""
        for name, value in figures.items():
            self._tensorboard.add_scalar(f"snapshot/{name}", value, _event_step(kimg))

    def _clear(self) -> None:
        self._figures: list[dict[str, Any]] = []
        self._num_images, self._seconds, self._waited = 0, 0.0, 0.0


def read_log(folder: str | Path) -> list[dict[str, float]]:
    """Read the lines of `log.jsonl` in the folder of a run."""
    return [json.loads(line) for line in (Path(folder) / LOG).read_text(encoding="utf-8").splitlines()]


def _remove_lines_after(path: Path, kimg: float) -> None:
    """Keep the complete lines up to `kimg`: a killed process may have left later lines, or an incomplete one."""
    if not path.is_file():
        return
    lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    kept = [line for line in lines if json.loads(line)["kimg"] <= kimg]
    with atomic_write(path, single_writer=True) as partial:
        partial.write_text("".join(kept), encoding="utf-8", newline="\n")


def _progress_figures(line: Mapping[str, float]) -> dict[str, float | str]:
    """Figures of the progress line besides images, images per second and remaining time."""
    figures: dict[str, float | str] = {name: line[name] for name in _SHOWN if name in line}
    figures["s_per_kimg"] = line["seconds_per_kimg"]
    figures["waiting"] = f"{line['waited_for_inputs']:.1%}"
    used = [f"{line[name]:.1f} GB ({name.split('_')[0]})" for name in line if name.endswith("_memory_gb")]
    return figures | {"memory": " and ".join(used)}


def _event_step(kimg: float) -> int:
    # TensorBoard's steps are integers: single images.
    return round(kimg * 1000)
