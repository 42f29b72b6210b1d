"""How long a run will take on this machine: its matrix product is timed, and the arithmetic of each step scaled by it.

A model, not a promise: good to a factor of two or so. It tells minutes from hours before the hours have passed, and the
local run corrects it by each step that has finished.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from regan.common.cpus import available_cpus
from regan.gan.configuration import GanConfig
from regan.gan.flop import generator_flop, step_flop
from regan.runs.checks import Check
from regan.runs.settings import Plan

SLOW_RATE = 30e9  # FLOP/s; two cores of a laptop that computes nothing else reach 50e9 or more

# The machine that the seconds below belong to: 2 cores of a Xeon of 2023 with AVX-512. They were measured on it while
# other programs used it too, step by step of one demo, and reduced by what these took from the matrix product.
_REFERENCE_RATE, _REFERENCE_CPUS = 220e9, 2
_MOST_CPUS = 8  # assumed, not measured: with few maps an operation is too short to be cut into more parts
_SIDE = 768  # of the matrices: 0.9 GFLOP, whose operands fit into a core's cache
_ROUNDS = 5
_SECONDS_OF_ROUND = 0.06

# Share of the matrix product's rate that the networks reach. With 512 maps: benchmarks/README.md, 69 to 73 %; with
# few maps a convolution has too little to do at a time: 39 % there, 60 % for the demo beside 10 other processes.
_WIDE, _NARROW = 0.7, 0.6
_NARROW_MAPS = 128
_CLASSIFIER_SHARE = 0.065  # small classifiers spend their time between the convolutions
_WIDE_CLASSIFIER_SHARE = 0.5
_PASSES_TO_TRAIN = 3  # forward, and backward by the inputs and by the weights

# Multiplications of a forward pass and the side of the image that they hold for, as published with each architecture
# (`small`: ours, regan/classifier/model.py); another backbone is taken as InceptionResNetV2.
_BACKBONES = {
    "small": (0.6e6, 32),
    "InceptionResNetV2": (13.2e9, 299),
    "InceptionV3": (5.7e9, 299),
    "Xception": (8.4e9, 299),
    "ResNet50": (3.9e9, 224),
    "ResNet50V2": (3.5e9, 224),
    "MobileNet": (0.57e9, 224),
    "MobileNetV2": (0.30e9, 224),
    "DenseNet121": (2.9e9, 224),
    "EfficientNetB0": (0.39e9, 224),
}

# Seconds on the reference machine.
_START = 0.8  # a step's process, with what it imports
_START_NETWORK = 10.0  # the same with TensorFlow
_COMPILE_GAN = 20.0  # the first call of each phase
_COMPILE_CLASSIFIER = 3.0
_FIGURES = 5.0  # statistics, drawings and pages of the report
_PUBLISH = 3.0  # datasheet and checks of the release
_DECODE = 1.0e-3  # an image of the source: read, hashed, scaled
_STORED = 0.05e-3  # an image of 32 x 32 of an image set, read or written
_FEATURES = 0.9e-3  # radiomic features of an image of 32 x 32

_LONGEST_ON_CPUS = 7 * 86_400  # seconds: nobody waits longer on a machine without a GPU


@dataclass(frozen=True)
class MatrixRate:
    """Speed of float32 matrix products, one at a time on each available CPU.

    Attributes:
        rate: FLOP/s of all together, the median of some rounds.
        best: FLOP/s of the best round.
        cpus: Available CPUs.
    """

    rate: float
    best: float
    cpus: int

    @property
    def is_slow(self) -> bool:
        """Whether the machine is slow, or shared with other work."""
        return self.rate < SLOW_RATE


@dataclass(frozen=True)
class Workload:
    """What the settings ask for, in the numbers that time depends on.

    Attributes:
        plan: The settings.
        num_real: Real images of both classes.
        backbone: Network of the classifiers.
        epochs: Of each classifier, at most.
        selection_images: Synthetic images of each snapshot that is measured.
    """

    plan: Plan
    num_real: int
    backbone: str
    epochs: int
    selection_images: int

    @classmethod
    def of(cls, plan: Plan, values: Mapping[str, str], num_real: int | None) -> "Workload":
        """From the plan, the pipeline's parameters as text, and the images counted (None: taken as 1,000)."""
        return cls(
            plan=plan,
            num_real=1_000 if num_real is None else num_real,
            backbone=plan.backbone,
            epochs=int(float(values["classifier_epochs"])),
            selection_images=int(float(values["gan_selection_images"])),
        )


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds of each step.

    Attributes:
        matrix: What was measured.
        steps: Seconds of one step by the beginning of its title, such as "generate" for "generate negative".
        times: How often the pipeline has each of them.
        total: Seconds of the whole run.
        assumed: What the figures rest on, in words.
    """

    matrix: MatrixRate
    steps: Mapping[str, float]
    times: Mapping[str, int]
    total: float
    assumed: str


def matrix_rate() -> MatrixRate:
    """Time float32 matrix products for a third of a second.

    Each CPU has a product of its own: threads that share one product wait for each other, and on a shared machine
    mostly for a thread that another program has displaced (measured beside 12 other processes: 10 GFLOP/s in one
    product, 40 in two), which training does far less.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    cpus, matrix = available_cpus(), np.ones((_SIDE, _SIDE), np.float32)

    def products(until: float) -> int:
        count = 0
        while count == 0 or time.perf_counter() < until:
            np.matmul(matrix, matrix)
            count += 1
        return count

    def rate_of_round(pool: ThreadPoolExecutor) -> float:
        started = time.perf_counter()
        count = sum(pool.map(products, [started + _SECONDS_OF_ROUND] * cpus))
        return 2 * _SIDE**3 * count / (time.perf_counter() - started)

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cpus) as pool:
        rate_of_round(pool)  # the first one starts the threads
        rates = [rate_of_round(pool) for _ in range(_ROUNDS)]
    return MatrixRate(statistics.median(rates), max(rates), cpus)


def estimate_time(work: Workload, matrix: MatrixRate) -> TimeEstimate:
    """Seconds of each step and of the run on the CPU of this machine.

    Args:
        work: What the settings ask for.
        matrix: Speed of this machine.
    """
    steps = {title: _seconds(cost(work), work, matrix) for title, cost in _STEPS.items()}
    times = dict.fromkeys(_STEPS, 1) | dict.fromkeys(_OF_NETWORK, work.plan.networks)
    times |= dict.fromkeys(_OF_ROUND, work.plan.rounds) | {"generate": 2 * work.plan.rounds, "test": 3}
    assumed = (
        f"no GPU; each step's time measured at {_giga(_REFERENCE_RATE)} GFLOP/s and scaled by the matrix product; "
        f"small networks gain from at most {_MOST_CPUS} CPUs; half of classifier_epochs, since training stops early; "
        "two thirds of the synthetic images pass the filter"
    )
    total = sum(seconds * times[title] for title, seconds in steps.items())
    return TimeEstimate(matrix, steps, times, total, assumed)


def on_gpu(
    estimate: TimeEstimate, gpu: str, hours: tuple[float, float, str] | None, networks: int
) -> TimeEstimate | None:
    """The same where the networks compute on a GPU; None where nothing is known of it.

    Args:
        estimate: Of the CPU.
        gpu: Its name.
        hours: Lower and upper hours of GAN training on it, and where they come from; None if unknown.
        networks: Networks that are trained in these hours.
    """
    if hours is None:
        return None
    low, high, source = hours
    training = 3_600 * (low * high) ** 0.5 / networks
    faster = training / estimate.steps["train GAN"]
    starts = _START_NETWORK * _slower(estimate.matrix, 1)
    steps = {
        title: seconds if title in _ON_CPU else min(seconds, starts + seconds * faster)
        for title, seconds in estimate.steps.items()
    } | {"train GAN": starts + training}
    times = estimate.times
    assumed = (
        f"GAN training on one {gpu} takes {rounded(3_600 * low)} to {rounded(3_600 * high)} ({source}, not measured "
        "here), and the other networks gain as much"
    )
    total = sum(seconds * times[title] for title, seconds in steps.items())
    return TimeEstimate(estimate.matrix, steps, times, total, assumed)


def time_checks(estimate: TimeEstimate | None, matrix: MatrixRate, gpu: str | None) -> list[Check]:
    """Speed of the machine and time of the run, for the table of checks.

    Args:
        estimate: None where nothing can be said.
        matrix: What was measured.
        gpu: Name of the GPU; empty where none is used, None where one is needed and was not found.
    """
    takes = f"about {rounded(estimate.total)}" if estimate else "unknown: no figures for this GPU"
    detail = f"median of {_ROUNDS} rounds of float32 products, best {_giga(matrix.best)} GFLOP/s"
    speed = f"{_giga(matrix.rate)} GFLOP/s on {matrix.cpus} CPU{'s' * (matrix.cpus > 1)}"
    if matrix.is_slow and gpu == "":
        advice = (
            f"This machine is slow, or other work shares it: the run takes {takes}. Try smaller settings first, such "
            "as gan_kimg=4 gan_seeds=1-500 classifier_epochs=10, wait until the machine is idle, or use another."
        )
        machine = Check("matrix product", speed, f"{_giga(SLOW_RATE)} GFLOP/s or more", "warn", advice, detail)
    else:
        machine = Check("matrix product", speed, detail=detail)
    assumed = f"assumed: {estimate.assumed}" if estimate else ""
    if estimate and gpu == "" and estimate.total > _LONGEST_ON_CPUS:
        advice = "Without a GPU this is too long to wait for: set gpu_count=1, or gan_preset=demo for a trial."
        return [machine, Check("time of the run", takes, "days at most", "warn", advice, assumed)]
    return [machine, Check("time of the run", takes, detail=assumed)]


def rounded(seconds: float) -> str:
    """A length of time in one unit, as `5 min` or `3 h`: the estimate is not worth two."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (unit != "days" and seconds >= 0.95 * size):
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def _giga(rate: float) -> str:
    return f"{rate / 1e9:.3g}" if rate < 100e9 else f"{rate / 1e9:.0f}"


class _Cost(NamedTuple):
    """Seconds on the reference machine, by whether more CPUs would shorten them."""

    serial: float
    parallel: float = 0.0


def _slower(matrix: MatrixRate, cpus: int, of: int = 1) -> float:
    """Seconds that so many CPUs here need for a second of so many of the reference machine."""
    return (_REFERENCE_RATE / _REFERENCE_CPUS * of) / (matrix.rate / matrix.cpus * cpus)


def _seconds(cost: _Cost, work: Workload, matrix: MatrixRate) -> float:
    is_narrow = work.plan.config.max_maps <= _NARROW_MAPS
    cpus = min(matrix.cpus, _MOST_CPUS) if is_narrow else matrix.cpus
    return cost.serial * _slower(matrix, 1) + cost.parallel * _slower(matrix, cpus, of=_REFERENCE_CPUS)


def _gan(flop: float, config: GanConfig) -> float:
    share = _NARROW if config.max_maps <= _NARROW_MAPS else _WIDE
    return flop / (share * _REFERENCE_RATE)


def _prediction_seconds(work: Workload, images: float) -> float:
    """Seconds of a pass forward."""
    multiplications, side = _BACKBONES.get(work.backbone, _BACKBONES["InceptionResNetV2"])
    share = _CLASSIFIER_SHARE if work.backbone == "small" else _WIDE_CLASSIFIER_SHARE
    return 2 * multiplications * (work.plan.config.size / side) ** 2 * images / (share * _REFERENCE_RATE)


def _area(work: Workload) -> float:
    """Pixels of an image, as a multiple of 32 x 32."""
    return (work.plan.config.size / 32) ** 2


def _real(work: Workload) -> float:
    return max(work.num_real - 2 * work.plan.test_per_class, 1)


def _kept(work: Workload) -> float:
    """Synthetic images of both classes that pass the filter: two thirds did in the demo."""
    return 2 * work.plan.seeds * 2 / 3


def _prepare(work: Workload) -> _Cost:
    return _Cost(_START + _DECODE * work.num_real + _STORED * _area(work) * work.num_real)


def _train_gan(work: Workload) -> _Cost:
    config = work.plan.config
    return _Cost(_START_NETWORK + _COMPILE_GAN, _gan(1_000 * config.kimg * step_flop(config), config))


def _select(work: Workload) -> _Cost:
    config = work.plan.config
    snapshots = min(work.plan.snapshots, max(1, round(config.kimg / config.snapshot_kimg)))
    images = snapshots * work.selection_images
    features = _FEATURES * _area(work) * (images + _real(work))
    return _Cost(_START_NETWORK + features, _gan(images * generator_flop(config), config))


def _generate(work: Workload) -> _Cost:
    config, seeds = work.plan.config, work.plan.seeds
    return _Cost(_START_NETWORK + _STORED * _area(work) * seeds, _gan(seeds * generator_flop(config), config))


def _train_classifier(images: Callable[[Workload], float]) -> Callable[[Workload], _Cost]:
    def cost(work: Workload) -> _Cost:
        passes = _PASSES_TO_TRAIN * images(work) * work.epochs / 2
        return _Cost(_START_NETWORK + _COMPILE_CLASSIFIER, _prediction_seconds(work, passes))

    return cost


def _filter(work: Workload) -> _Cost:
    images = 2 * work.plan.seeds
    return _Cost(_START_NETWORK + 2 * _STORED * _area(work) * images, _prediction_seconds(work, images))


def _draw(work: Workload) -> _Cost:
    return _Cost(_START + 2 * _STORED * _area(work) * 2 * work.plan.seeds)


def _audit(work: Workload) -> _Cost:
    return _Cost(_START + _FEATURES * _area(work) * (_kept(work) + _real(work)))


def _test(work: Workload) -> _Cost:
    return _Cost(_START_NETWORK, _prediction_seconds(work, 2 * work.plan.test_per_class))


def _publish(work: Workload) -> _Cost:
    return _Cost(_START + _PUBLISH + _STORED * _area(work) * _kept(work))


# By the beginning of the step's title in pipelines/synthetic_training_set.py; a test compares them.
_STEPS: dict[str, Callable[[Workload], _Cost]] = {
    "preflight": lambda work: _Cost(_START + _ROUNDS * _SECONDS_OF_ROUND),
    "prepare images": _prepare,
    "train teacher": _train_classifier(_real),
    "train GAN": _train_gan,
    "select snapshot": _select,
    "generate": _generate,
    "filter": _filter,
    "draw control": _draw,
    "train student": _train_classifier(_kept),
    "train control": _train_classifier(_kept),
    "audit images": _audit,
    "test": _test,
    "compare classifiers": lambda work: _Cost(_START + _FIGURES),
    "publish images": _publish,
    "explain run": lambda work: _Cost(_START),
}
_OF_NETWORK = ("train GAN", "select snapshot")
_OF_ROUND = ("filter", "draw control", "train student", "train control", "audit images", "publish images")
_ON_CPU = ("preflight", "prepare images", "draw control", "compare classifiers", "publish images", "explain run")
