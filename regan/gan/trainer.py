"""Training loop of the GAN: steps, log, snapshots and checkpoints in a work folder."""

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops, tree

from regan import backend
from regan.artifacts.history import contact_sheet
from regan.common.errors import SettingError, TrainingStoppedError
from regan.common.progress import Progress
from regan.gan.configuration import GanConfig
from regan.gan.divergence import require_finite
from regan.gan.initial_weights import InitialWeights, adapt_discriminator, adapt_generator
from regan.gan.inputs import Inputs, Stream, TrainingImages, random_generator
from regan.gan.log import TrainingLog
from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork
from regan.gan.sampling import (
    STYLE_MEAN,
    Generator,
    snapshot_kimg,
    snapshots,
    surplus_snapshots,
    write_snapshot,
)
from regan.gan.steps import Phases, initial_state
from regan.training.checkpoint import CHECKPOINTS, load_checkpoint, save_checkpoint
from regan.training.workspace import StopRequest, catch_sigterm

_LOG = logging.getLogger("regan")
# Enough to see variety, and few enough for one sheet of the history.
_SAMPLES_PER_LABEL = 16
_COMPILED = "compiled"  # folder of compiled functions, a cache for the next start; not part of the state

OnSnapshot = Callable[[Path, float], Mapping[str, float] | None]


@dataclass(frozen=True)
class TrainingResult:
    """Result of a finished run.

    Attributes:
        kimg: Thousands of real images shown.
        seconds: Training time, summed over all starts.
        images_per_second: Mean over the run.
        num_parameters: Trainable parameters of `generator` and `discriminator`.
        samples: Images at fixed latents, uint8 `(n, size, size, channels)`, 0-255, 16 per class.
    """

    kimg: float
    seconds: float
    images_per_second: float
    num_parameters: dict[str, int]
    samples: np.ndarray = field(repr=False)


class Trainer:
    """Trains one configuration on one set of images, in a work folder from which an interrupted run resumes.

    Args:
        config: Configuration of the run.
        images: Real images.
        folder: Existing work folder: checkpoints, snapshots, log and TensorBoard files.
        classes: The two classes of the image set, the positive one last.
        configuration: Hash of all that a resumed run must share with the earlier run.
        training_index: (pixel hash, group) of the real images.
        start: Initial weights; None = random. Without a discriminator in them, a new one is trained.
        keep_snapshots: Largest number of snapshots to keep.
        checkpoint_seconds: Seconds between checkpoints; one is also written with every snapshot and on SIGTERM.
        on_snapshot: Called with the folder and kimg of each new snapshot; the figures that it returns are written for
            TensorBoard.
        on_checkpoint: Called when the state in `folder` is complete: after the first and the last checkpoint, on
            SIGTERM, and after a checkpoint when `checkpoint_seconds` have passed since the last call.
        devices: Number of devices that share each batch; 0 = as many of the visible ones as can.
        on_step: Called after each step; ends the training when it raises.
    """

    def __init__(
        self,
        config: GanConfig,
        images: TrainingImages,
        folder: Path,
        *,
        classes: tuple[str, ...],
        configuration: str,
        training_index: set[tuple[str, str]],
        start: InitialWeights | None = None,
        keep_snapshots: int = 25,
        checkpoint_seconds: float = 600.0,
        devices: int = 0,
        on_snapshot: OnSnapshot | None = None,
        on_checkpoint: Callable[[], None] = lambda: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.config, self.folder, self.classes = config, folder, classes
        self.training_index, self.keep_snapshots = training_index, keep_snapshots
        self._origin = start.provenance() if start else {}
        self.checkpoint_seconds, self.on_snapshot = checkpoint_seconds, on_snapshot
        self._on_checkpoint, self._on_step, self._configuration = on_checkpoint, on_step, configuration
        random = random_generator(config.seed, Stream.WEIGHTS)
        self._generator = GeneratorNetwork.build(config, random)
        self._discriminator = DiscriminatorNetwork.build(config, random)
        # Before the first compilation: a resumed run finds the functions here and does not wait for them again.
        backend.keep_compiled(folder / _COMPILED)
        self._replicas = backend.replicate(devices, config.batch_size)
        self._phases = Phases(config, self._generator, self._discriminator, self._replicas)
        self._inputs = Inputs(config, images)
        self._state = initial_state(config, self._generator, self._discriminator)
        if start is not None:
            self._state |= self._load_initial_weights(start)
        self._state = self._replicas.copies(self._state)
        self._step, self._seconds = 0, 0.0
        (folder / CHECKPOINTS).mkdir(exist_ok=True)

    @property
    def kimg(self) -> float:
        """Thousands of real images shown so far."""
        return self._step * self.config.batch_size / 1000

    def run(self) -> TrainingResult:
        """Train to the end, from the newest checkpoint if there is one.

        Raises:
            TrainingStoppedError: The process received SIGTERM; the same command resumes from the checkpoint.
            TrainingDivergedError: A figure is not finite or out of bounds, or the discriminator has won.
            CheckpointMismatchError: The work folder belongs to another configuration or other images.
            SettingError: The run is shorter than its checkpoint.
        """
        self._restore()
        left = self._num_steps - self._step
        with (
            catch_sigterm() as stop,
            TrainingLog(self.folder, self.kimg, self.config.kimg) as log,
            Progress("Train GAN", max(left, 1) * self.config.batch_size) as progress,
        ):
            before: dict[str, Any] = {}
            for batches, waited in self._batches():
                started = time.monotonic()
                figures = self._train_step(batches)
                # Devices compute asynchronously. Waiting for the step before this one leaves one step under way, so
                # that the device never idles and the clock measures computing, not queueing.
                tree.map_structure(ops.convert_to_numpy, before)
                before = figures
                self._step += 1
                seconds = waited + time.monotonic() - started
                self._seconds += seconds
                log.add(figures, num_images=self.config.batch_size, seconds=seconds, waited=waited)
                progress.advance(self.config.batch_size, **log.newest)
                self._write_due_files(log, stop)
                self._on_step()
        return self._result()

    @property
    def _num_steps(self) -> int:
        # Rounded up: a run shows at least the images that it promises.
        return math.ceil(self.config.kimg * 1000 / self.config.batch_size)

    def _load_initial_weights(self, start: InitialWeights) -> dict[str, Any]:
        channels = self.config.channels
        weights = adapt_generator(start, self._state["generator"], channels)
        # The average starts at the same weights, or it would mix in the random ones that they replace.
        changes: dict[str, Any] = {"generator": weights, "average": weights, "style_mean": start.weights[STYLE_MEAN]}
        if start.discriminator is not None:
            expected = self._state["discriminator"]
            changes["discriminator"] = adapt_discriminator(start.discriminator, expected, channels)
        return tree.map_structure(ops.convert_to_tensor, changes)

    def _restore(self) -> None:
        checkpoint = load_checkpoint(self.folder / CHECKPOINTS, configuration=self._configuration)
        if checkpoint is not None:
            self._step, self._seconds = checkpoint.step, checkpoint.seconds
            self._state = self._replicas.copies(checkpoint.state)
        if self._step > self._num_steps:
            raise SettingError(
                f"`kimg` is less than the checkpoint in {self.folder} has already: {self.kimg:g} kimg. "
                f"Received kimg={self.config.kimg:g}. Raise it, or use another folder."
            )
        self._last_checkpoint, self._last_callback = time.monotonic(), -math.inf
        # Snapshots after the checkpoint are made again; keeping them would mix two histories.
        for path in snapshots(self.folder):
            if snapshot_kimg(path) > self.kimg:
                shutil.rmtree(path)
        _LOG.info(
            "Train GAN: %d x %d, %d channels, classes %s, %s of %s kimg done, on %s (%s)",
            self.config.size,
            self.config.size,
            self.config.channels,
            ", ".join(self.config.labels),
            f"{self.kimg:g}",
            f"{self.config.kimg:g}",
            backend.describe_devices(),
            backend.NAME,
        )

    def _batches(self) -> Iterator[tuple[dict[str, Any], float]]:
        """Inputs of every remaining step, and the seconds spent waiting for them.

        The next inputs are drawn and moved to their devices while a step is computed.
        """
        with ThreadPoolExecutor(1) as drawer:
            drawn = drawer.submit(self._draw, self._step)
            for step in range(self._step, self._num_steps):
                started = time.monotonic()
                batches = drawn.result()
                waited = time.monotonic() - started
                drawn = drawer.submit(self._draw, step + 1)
                yield batches, waited

    def _draw(self, step: int) -> dict[str, Any]:
        return self._replicas.shares(self._inputs.draw(step))

    def _train_step(self, batches: dict[str, Any]) -> dict[str, Any]:
        # The order of the official training: generator, its regularisation, discriminator, moving average, R1.
        figures = self._apply(self._phases.generator, batches["generator"])
        if "path_length" in batches:
            figures |= self._apply(self._phases.path_length, batches["path_length"])
        figures |= self._apply(self._phases.discriminator, batches["discriminator"])
        self._state |= self._phases.average(self._state, self._replicas.copies(self._average_decay()))
        if self._step % self.config.r1_interval == 0:
            # On the real images of this step's discriminator phase, which are on the device already.
            figures |= self._apply(self._phases.r1, batches["discriminator"])
        return figures

    def _apply(self, phase: Callable[..., Any], batch: dict[str, Any]) -> dict[str, Any]:
        changes, figures = phase(self._state, batch)
        self._state |= changes
        return self._replicas.first(figures)

    def _average_decay(self) -> np.float32:
        # 0.5^(images of the batch / half-life). The ramp (Karras et al. 2020b) shortens the half-life at the start, or
        # the average would remember the random initial weights for long.
        half_life = self.config.average_kimg * 1000
        if self.config.average_ramp:
            half_life = min(half_life, (self._step + 1) * self.config.batch_size * self.config.average_ramp)
        return np.float32(0.5 ** (self.config.batch_size / half_life))

    def _write_due_files(self, log: TrainingLog, stop: StopRequest) -> None:
        is_last = self._step == self._num_steps
        if is_last or self._is_due(self.config.log_kimg):
            log.flush(self.kimg)
        if is_last or self._is_due(self.config.snapshot_kimg):
            log.flush(self.kimg)
            path = self._snapshot(log)
            # Measuring may fail, and may take longer than the notice of a preemption: the checkpoint comes first.
            self._checkpoint(log, offer=is_last or stop.requested or self.on_snapshot is not None)
            if not stop.requested:
                self._measure(path, log)
        elif stop.requested or time.monotonic() - self._last_checkpoint >= self.checkpoint_seconds:
            log.require_bounded()
            self._checkpoint(log, offer=True)
        # After the last step nothing is left to resume, so the run ends as usual.
        if stop.requested and not is_last:
            raise TrainingStoppedError(
                f"Training stopped by SIGTERM after {self.kimg:.1f} kimg. The checkpoint is in {self.folder}. "
                "Run the same command again to resume."
            )

    def _is_due(self, interval_kimg: float) -> bool:
        # In whole images, so that sums of fractions cannot skip an interval; due when this step crossed a multiple.
        interval, batch = round(interval_kimg * 1000), self.config.batch_size
        return self._step * batch // interval > (self._step - 1) * batch // interval

    def _checkpoint(self, log: TrainingLog, *, offer: bool) -> None:
        # The log first: a checkpoint must never be newer than the log that belongs to it.
        log.sync()
        state = tree.map_structure(ops.convert_to_numpy, self._replicas.first(self._state))
        require_finite(state)
        save_checkpoint(
            self.folder / CHECKPOINTS,
            configuration=self._configuration,
            step=self._step,
            seconds=self._seconds,
            state=state,
        )
        self._last_checkpoint = time.monotonic()
        if offer or self._last_checkpoint - self._last_callback >= self.checkpoint_seconds:
            self._last_callback = self._last_checkpoint
            self._on_checkpoint()

    def _snapshot(self, log: TrainingLog) -> Path:
        weights = tree.map_structure(ops.convert_to_numpy, self._averaged_weights())
        require_finite(weights)
        path = write_snapshot(
            self.folder,
            self.kimg,
            self.config,
            weights,
            classes=self.classes,
            training_index=self.training_index,
            origin=self._origin,
        )
        log.write_samples(self.kimg, contact_sheet(self._samples()))
        by_kimg = {snapshot_kimg(path): path for path in snapshots(self.folder)}
        # After the new snapshot is complete, so that a preemption in between loses none.
        for kimg in surplus_snapshots(sorted(by_kimg), self.keep_snapshots):
            shutil.rmtree(by_kimg[kimg])
        return path

    def _measure(self, path: Path, log: TrainingLog) -> None:
        if self.on_snapshot is None:
            return
        try:
            log.write_snapshot_figures(self.kimg, self.on_snapshot(path, self.kimg) or {})
        except (ValueError, OSError, RuntimeError) as error:
            # Distances during training are for people who watch it; `select_snapshot` measures again.
            _LOG.warning("Snapshot %s could not be measured. Training continues. %s", path.name, error)

    def _averaged_weights(self) -> dict[str, Any]:
        state = self._replicas.first({name: self._state[name] for name in ("average", "style_mean")})
        return state["average"] | self._generator.constants() | {STYLE_MEAN: state["style_mean"]}

    def _samples(self) -> np.ndarray:
        generator = Generator(self.config, self._averaged_weights())
        batches = [generator.images(range(_SAMPLES_PER_LABEL), label) for label in self.config.labels]
        return np.concatenate([batch for label in batches for batch in label])

    def _result(self) -> TrainingResult:
        return TrainingResult(
            kimg=self.kimg,
            seconds=self._seconds,
            images_per_second=self._step * self.config.batch_size / self._seconds,
            num_parameters={
                name: sum(math.prod(value.shape) for value in self._replicas.first(self._state[name]).values())
                for name in ("generator", "discriminator")
            },
            samples=self._samples(),
        )
