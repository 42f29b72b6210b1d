"""The figures of a run as means over an interval: `log.jsonl` and TensorBoard files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regan.common.files import atomic_write
from regan.gan.divergence import Watchdog
from regan.gan.memory import memory
from regan.gan.tensorboard import Board

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"
_SHOWN = ("generator_loss", "discriminator_loss", "augmentation_strength")


class TrainingLog:
    """Collects the figures of every step, and writes their means.

    Args:
        folder: The run's work folder.
        kimg: Where the run goes on; what an interrupted run wrote beyond is removed.
        total_kimg: Where it ends.
    """

    def __init__(self, folder: Path, kimg: float, total_kimg: float) -> None:
        self.newest: dict[str, float | str] = {}
        self._total_kimg = total_kimg
        self._path = folder / LOG
        _remove_lines_after(self._path, kimg)
        self._watchdog = Watchdog(read_log(folder) if self._path.is_file() else ())
        self._board = Board(folder / TENSORBOARD, purge_step=_board_step(kimg))
        self._clear()

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self._board.close()

    def add(self, figures: Mapping[str, Any], *, num_images: int, seconds: float, waited: float) -> None:
        """Note one step: its figures (tensors), its images, how long it took, and how long of that for its inputs."""
        self._figures.append(dict(figures))
        self._num_images += num_images
        self._seconds += seconds
        self._waited += waited

    def flush(self, kimg: float, **more: float) -> None:
        """Write the means since the last call as one line, if there were steps.

        Raises:
            TrainingDivergedError: See `Watchdog`. The line is written where its figures are finite.
        """
        if not self._figures:
            return
        means = self.require_sane()
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
        self.newest = _told(line)
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in line.items():
            self._board.add_scalar(name, value, _board_step(kimg))
        self.sync()
        self._clear()
        self._watchdog.require_contest(means)

    def sync(self) -> None:
        """Have all that TensorBoard is shown on disk."""
        self._board.sync()

    def require_sane(self) -> dict[str, float]:
        """Means since the last flush.

        Raises:
            TrainingDivergedError: One is not finite, or beyond all bounds.
        """
        names = dict.fromkeys(name for figures in self._figures for name in figures)
        means = {name: float(np.mean([float(f[name]) for f in self._figures if name in f])) for name in names}
        self._watchdog.require_sane(means)
        return means

    def write_samples(self, kimg: float, sheet: np.ndarray) -> None:
        """Show a sheet of samples, uint8 `(height, width, 1 or 3)`, in TensorBoard."""
        self._board.add_picture("samples", sheet, _board_step(kimg))

    def write_snapshot_figures(self, kimg: float, figures: Mapping[str, float]) -> None:
        """Show figures of a snapshot in TensorBoard."""
        for name, value in figures.items():
            self._board.add_scalar(f"snapshot/{name}", value, _board_step(kimg))

    def _clear(self) -> None:
        self._figures: list[dict[str, Any]] = []
        self._num_images, self._seconds, self._waited = 0, 0.0, 0.0


def read_log(folder: str | Path) -> list[dict[str, float]]:
    """The lines of a run's `log.jsonl`."""
    return [json.loads(line) for line in (Path(folder) / LOG).read_text(encoding="utf-8").splitlines()]


def _remove_lines_after(path: Path, kimg: float) -> None:
    """Keep the whole lines up to `kimg`: a killed process may have left later ones, or half a line."""
    if not path.is_file():
        return
    lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    kept = [line for line in lines if json.loads(line)["kimg"] <= kimg]
    with atomic_write(path, single_writer=True) as partial:
        partial.write_text("".join(kept), encoding="utf-8", newline="\n")


def _told(line: Mapping[str, float]) -> dict[str, float | str]:
    """What the progress line shows besides images, images per second and time left."""
    told: dict[str, float | str] = {name: line[name] for name in _SHOWN if name in line}
    told["s_per_kimg"] = line["seconds_per_kimg"]
    told["waiting"] = f"{line['waited_for_inputs']:.1%}"
    used = [f"{line[name]:.1f} GB ({name.split('_')[0]})" for name in line if name.endswith("_memory_gb")]
    return told | {"memory": " and ".join(used)}


def _board_step(kimg: float) -> int:
    return round(kimg * 1000)
