"""Whole training steps, with their share of lazy regularisation: images per second, phase by phase.

    python -m benchmarks.training                       # the four cases whose peer's figures are known
    python -m benchmarks.training --case 64-full --repeats 10
    python -m benchmarks.training --preset config-e --size 256 --batch-size 32 --precision bfloat16

`KERAS_BACKEND=jax` chooses JAX. The peer is stylegan2-ada-pytorch in float32 on 2 cores, whose float32 matrix product
ran at 133 GFLOP/s; our images per second are scaled to that rate by a matrix product timed in the same run.
"""

import argparse
import statistics
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from keras import ops, tree

from benchmarks.measure import TABLE_MATRIX_RATE, MatrixRate, describe_machine, seconds_of
from regan.gan.configuration import PRESETS, GanConfig, configure
from regan.gan.flop import step_flop
from regan.gan.inputs import Inputs, Stream, TrainingImages, random_generator
from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork
from regan.gan.steps import Phases, initial_state

_PHASES = ("generator", "path_length", "discriminator", "average", "r1")
_FULL = {"base_maps": 8192, "max_maps": 512, "mapping_layers": 2}
_SMALL = {"base_maps": 512, "max_maps": 128, "mapping_layers": 2, "batch_size": 16}


@dataclass(frozen=True)
class Case:
    """A configuration, the peer's images per second (0: unknown), and how often its speed we aim at."""

    size: int
    preset: str = "config-e"
    changes: dict[str, Any] = field(default_factory=dict)
    peer: float = 0.0
    aim: float = 0.0


CASES = {
    "64-full": Case(64, changes=_FULL | {"batch_size": 8}, peer=0.411, aim=1.35),
    "128-full": Case(128, changes=_FULL | {"batch_size": 4}, peer=0.303, aim=1.0),
    "32-small": Case(32, changes=_SMALL, peer=32.0, aim=1.9),
    "64-small": Case(64, changes=_SMALL, peer=24.1, aim=1.6),
}


@dataclass
class Steps:
    """Seconds of each phase: its first call, with compilation, and the median of the later ones."""

    config: GanConfig
    first: dict[str, float] = field(default_factory=dict)
    typical: dict[str, float] = field(default_factory=dict)

    @property
    def share(self) -> dict[str, float]:
        """Calls of each phase in a step."""
        config = self.config
        lazy = {"path_length": 1 / config.path_interval, "r1": 1 / config.r1_interval}
        return {phase: lazy.get(phase, 1.0) for phase in self.typical}

    @property
    def seconds(self) -> float:
        """Of a whole step, with its share of lazy regularisation."""
        return sum(seconds * self.share[phase] for phase, seconds in self.typical.items())

    @property
    def images_per_second(self) -> float:
        """Of whole steps."""
        return self.config.batch_size / self.seconds


def measure(config: GanConfig, rate: MatrixRate, repeats: int) -> Steps:
    """Time the phases of a step in turn, so that a disturbance does not hit one of them alone."""
    random = random_generator(0, Stream.WEIGHTS)
    networks = GeneratorNetwork.build(config, random), DiscriminatorNetwork.build(config, random)
    phases, state = Phases(config, *networks), initial_state(config, *networks)
    shape = (4 * config.batch_size, config.size, config.size, config.channels)
    images = TrainingImages(random.integers(0, 256, shape).astype(np.uint8), np.zeros(shape[0], int))
    batches = tree.map_structure(ops.convert_to_tensor, Inputs(config, images).draw(0))
    batches["r1"] = batches["discriminator"]
    batches["average"] = ops.convert_to_tensor(np.float32(0.999))
    calls = {name: partial(_run, phases, name, state, batches[name]) for name in _PHASES if name in batches}
    first = {phase: seconds_of(call) for phase, call in calls.items()}
    times: dict[str, list[float]] = {phase: [] for phase in calls}
    for _ in range(repeats):
        for phase, call in calls.items():
            times[phase].append(rate.seconds_of(call))
    return Steps(config, first, {phase: statistics.median(seen) / rate.median for phase, seen in times.items()})


def _run(phases: Phases, phase: str, state: dict[str, Any], batch: Any) -> Any:
    result = getattr(phases, phase)(state, batch)
    state.update(result if phase == "average" else result[0])
    return result if phase == "average" else [result[1], result[0]]


def main() -> None:
    """Measure the cases that the command line asks for, and print a table."""
    options = _options()
    print(describe_machine())
    for name, case in _cases(options).items():
        changes = case.changes | ({"precision": options.precision} if options.precision else {})
        config = configure(case.preset, size=case.size, channels=options.channels, labels=("all",), **changes)
        rate = MatrixRate("bfloat16" if options.precision == "bfloat16" else "float32")
        _report(name, case, measure(config, rate, options.repeats), rate)


def _report(name: str, case: Case, steps: Steps, rate: MatrixRate) -> None:
    config, speed = steps.config, steps.images_per_second
    reached = speed * step_flop(config) / rate.median
    print(
        f"\n{name}: {config.size} x {config.size}, {config.channels} channels, batch {config.batch_size}, "
        f"{step_flop(config) / 1e9:.3g} GFLOP an image, matrix product {rate.median / 1e9:.0f} GFLOP/s"
    )
    print(f"{'phase':>14}  {'a call, ms':>10}  {'share, %':>8}  {'first call, s':>13}")
    for phase, seconds in steps.typical.items():
        part = seconds * steps.share[phase] / steps.seconds
        print(f"{phase:>14}  {seconds * 1e3:10.1f}  {part:8.0%}  {steps.first[phase]:13.1f}")
    print(f"{speed:.4g} images/s, {reached:.0%} of the matrix product's rate")
    if case.peer:
        scaled = speed * TABLE_MATRIX_RATE / rate.median
        print(f"scaled to 133 GFLOP/s: {scaled:.4g} images/s, {scaled / case.peer:.2f} x the peer (aim {case.aim})")


def _cases(options: argparse.Namespace) -> dict[str, Case]:
    if not options.preset:
        return {name: CASES[name] for name in options.case or CASES}
    changes = {"batch_size": options.batch_size} if options.batch_size else {}
    return {options.preset: Case(options.size, options.preset, changes)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", choices=list(CASES), action="append", help="default: all; may be named several times")
    parser.add_argument("--preset", choices=list(PRESETS), help="measure a preset instead of the cases")
    parser.add_argument("--size", type=int, default=256, help="image size of the preset")
    parser.add_argument("--batch-size", type=int, default=0, help="0: the preset's")
    parser.add_argument("--channels", type=int, default=3, choices=[1, 3])
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="", help="default: the preset's")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each phase, of which the median counts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
