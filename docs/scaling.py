"""The calculations behind docs/scaling.md. `python docs/scaling.py` updates the tables of that page.

Every figure is either measured on our own code, quoted from a source that the page names, or assumed. Constants in
capitals are for readers to replace with their own values: prices, GPUs, the number of images.
"""

import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from regan.gan.configuration import PRESETS
from regan.runs.parameter_row import num_seeds
from regan.runs.parameters import DEFAULTS

PAGE = Path(__file__).with_suffix(".md")
RUNS = (1, 10, 1_000)
KB, MB, GB, TB = 1e3, 1e6, 1e9, 1e12

# The data: 10,000 real images at 256 x 256, grey; the pipeline's defaults otherwise.
REAL_IMAGES = 10_000
TEST_IMAGES, SYNTHETIC_PER_CLASS = 2 * DEFAULTS["test_per_class"], num_seeds(DEFAULTS["gan_seeds"])
VALIDATION_IMAGES = round(DEFAULTS["data_validation_fraction"] * (REAL_IMAGES - TEST_IMAGES))
TRAIN_IMAGES = REAL_IMAGES - TEST_IMAGES - VALIDATION_IMAGES
PRESET = PRESETS[DEFAULTS["gan_preset"]]
KIMG, SNAPSHOT_KIMG, KEPT_SNAPSHOTS, SAMPLES = (
    PRESET["kimg"],
    PRESET["snapshot_kimg"],
    DEFAULTS["gan_keep_snapshots"],
    32,
)

# Measured on our own code, bytes.
REAL_PNG = 34_700  # mean of 571 breast ultrasound images after prepare_images
SYNTHETIC_PNG = 44_000  # at most; README, "Disk space"
INDEX_ROW, TRAINING_INDEX_ROW, HISTORY_FILE = 190, 48, 26 * KB  # means of a run of the demo
SNAPSHOT = 4 * (25_026_132 + 174_736 + 512)  # config-e, two classes: generator, noise, mean style
CHECKPOINT = 511_242_748  # both networks, the moving average, the optimiser's moments
CLASSIFIER = 4 * 55_912_674
COMPILED_PIPELINE = 133 * KB

# How often training pushes its state (if snapshots are more frequent: with the first snapshot after this time), and the
# requests of a push besides those for its files.
CHECKPOINT_SECONDS = 60 * DEFAULTS["gpu_checkpoint_minutes"]
EVENTS_FILE = 16_000_000  # bytes at which TensorBoard's file is closed, and not pushed again
PUSH_READS, PUSH_LISTS, PUSH_DELETES, PUSH_MARKS = 2, 2, 4, 3  # marks: the pointer, TensorBoard's manifest twice
LAUNCHER_PART, OUR_PART = 5 * 2**20, 16 * 2**20  # bytes that one S3 request moves: KFP's launcher, regan.storage

# Assumed, to be replaced: US dollars, list prices of us-central1, each with the date of the list.
STORAGE_PER_GB_MONTH, WRITE_OPERATION, READ_OPERATION, EGRESS_PER_GB = 0.020, 5e-6, 4e-7, 0.12
INTERRUPTIONS_PER_DAY, LOST_PER_INTERRUPTION_HOURS, STEP_START_HOURS = 1.0, 0.25, 1 / 6


@dataclass(frozen=True)
class Gpu:
    """A GPU: measured or assumed speed of matrix products, memory bandwidth, price of a spot hour and its date."""

    name: str
    teraflops: float
    terabytes_per_second: float
    dollars_per_hour: float
    priced: str

    @property
    def images_per_second(self) -> float:
        """Half of the upper bound from arithmetic plus memory traffic, without overlap of the two."""
        return 0.5 / (IMAGE_FLOP / (self.teraflops * 1e12) + IMAGE_TRAFFIC / (self.terabytes_per_second * 1e12))


IMAGE_FLOP = 399e9  # a complete training step of config-e at 256, per image
IMAGE_TRAFFIC = (1e-3 - IMAGE_FLOP / 790e12) * 4.8e12  # bytes, from the upper bound of 1,000 images/s on an H200
GPUS = (
    Gpu("H200", 790, 4.8, 6.26, "2026-10-13"),
    Gpu("H100", 790, 3.35, 6.57, "2026-09-26"),
    Gpu("A100 40 GB", 250, 1.555, 1.29, "2025-03-06"),
)
CHOSEN = GPUS[0]
CLASSIFIER_FLOP = 3 * 19e9 * 50 * (TRAIN_IMAGES + 4 * SYNTHETIC_PER_CLASS)  # 3 trainings, 50 epochs, no early stopping


@dataclass(frozen=True)
class Output:
    """Files of one artifact, as (number of files, size in bytes)."""

    files: tuple[tuple[int, float], ...]

    @property
    def bytes(self) -> float:
        """Size of all files."""
        return sum(number * size for number, size in self.files)

    @property
    def objects(self) -> int:
        """Number of objects: one for each file."""
        return sum(number for number, _ in self.files)

    def requests(self, part: int) -> int:
        """S3 requests to write it: one for each file, or one for each part and two more."""
        return sum(number * (1 if size <= part else math.ceil(size / part) + 2) for number, size in self.files)


def image_set(images: int, history: int, *, synthetic: bool = True) -> Output:
    """Shards of 1,000 images, their index, and for synthetic images the training index of their generator."""
    shards = math.ceil(images / 1_000)
    behind = ((1, TRAIN_IMAGES * TRAINING_INDEX_ROW),) if synthetic else ()
    index = ((1, images * INDEX_ROW), (1, KB))
    png = SYNTHETIC_PNG if synthetic else REAL_PNG
    return Output(((shards, images * png / shards), *index, *behind, (history, HISTORY_FILE)))


def _outputs() -> dict[str, Output]:
    index = (1, TRAIN_IMAGES * TRAINING_INDEX_ROW)
    events = (1, KIMG / SNAPSHOT_KIMG * SAMPLES * SYNTHETIC_PNG)
    snapshot = ((KEPT_SNAPSHOTS, SNAPSHOT), (KEPT_SNAPSHOTS, index[1]), (KEPT_SNAPSHOTS, KB))
    return {
        "train": image_set(TRAIN_IMAGES, 2, synthetic=False),
        "validation": image_set(VALIDATION_IMAGES, 2, synthetic=False),
        "test": image_set(TEST_IMAGES, 2, synthetic=False),
        "run": Output((*snapshot, index, events, (2, MB), (3, HISTORY_FILE))),
        "generator": Output(((1, SNAPSHOT), index, (2, KB), (4, HISTORY_FILE))),
        "raw": image_set(SYNTHETIC_PER_CLASS, 5),
        "kept": image_set(2 * SYNTHETIC_PER_CLASS, 8),
        "classifier": Output(((1, CLASSIFIER), index, (1, KB), (8, HISTORY_FILE))),
        "predictions": Output(((2, 40 * KB), (9, HISTORY_FILE))),
        "audit": Output(((3, 100 * KB), (10, HISTORY_FILE))),
        "report": Output(((2, MB), (17, HISTORY_FILE))),
        "release": image_set(2 * SYNTHETIC_PER_CLASS, 17),
    }


@dataclass(frozen=True)
class Step:
    """A step of the pipeline: how often it runs, what it reads and writes, and whether it uses a GPU."""

    name: str
    times: int
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    gpu: bool = True


OUTPUTS = _outputs()
STEPS = (
    Step("preflight", 1, (), (), gpu=True),
    Step("prepare_images", 1, (), ("train", "validation", "test"), gpu=False),
    Step("train_gan", 1, ("train",), ("run",)),
    Step("select_snapshot", 1, ("run", "train"), ("generator",)),
    Step("generate_images", 2, ("generator",), ("raw",)),
    Step("filter_images", 2, ("raw", "raw", "classifier"), ("kept",)),
    Step("train_classifier (teacher)", 1, ("train", "validation"), ("classifier",)),
    Step("train_classifier (student, control)", 2, ("kept", "validation"), ("classifier",)),
    Step("evaluate_classifier", 3, ("classifier", "test"), ("predictions",)),
    Step("audit_images", 1, ("kept", "train", "validation"), ("audit",)),
    Step("compare_classifiers", 1, ("predictions",) * 3 + ("audit",), ("report",), gpu=False),
    Step("publish_images", 1, ("kept", "audit", "report"), ("release",), gpu=False),
    Step("explain_run", 1, (), (), gpu=False),
)
GROUPS = 4  # root, exit handler, two conditions: one driver for each


def _sum(pick: Callable[[Step], float]) -> float:
    return sum(step.times * pick(step) for step in STEPS)


def _bytes(names: tuple[str, ...]) -> float:
    return sum(OUTPUTS[name].bytes for name in names)


def _objects(names: tuple[str, ...]) -> int:
    return sum(OUTPUTS[name].objects for name in names)


def _requests(step: Step) -> int:
    """S3 requests of one execution: list each input, read each of its objects, write the outputs and one log."""
    written = sum(OUTPUTS[name].requests(LAUNCHER_PART) for name in step.writes)
    return len(step.reads) + _objects(step.reads) + written + 1


TASKS = sum(step.times for step in STEPS)
PODS = 2 * TASKS + GROUPS  # one driver and one executor for each
ARTIFACT_BYTES = _sum(lambda step: _bytes(step.writes))
READ_BYTES = _sum(lambda step: _bytes(step.reads))
ARTIFACT_OBJECTS = _sum(lambda step: _objects(step.writes) + 1)
READ_OBJECTS = _sum(lambda step: _objects(step.reads))

TRAINING_HOURS = KIMG * 1_000 / CHOSEN.images_per_second / 3600
SNAPSHOT_SECONDS = SNAPSHOT_KIMG * 1_000 / CHOSEN.images_per_second
_SNAPSHOTS_APART = max(1.0, -(-CHECKPOINT_SECONDS // SNAPSHOT_SECONDS))
PUSH_SECONDS = CHECKPOINT_SECONDS if SNAPSHOT_SECONDS > CHECKPOINT_SECONDS else _SNAPSHOTS_APART * SNAPSHOT_SECONDS
PUSHES = TRAINING_HOURS * 3600 / PUSH_SECONDS
NEW_SNAPSHOTS = PUSH_SECONDS * CHOSEN.images_per_second / (SNAPSHOT_KIMG * 1_000)
EVENTS = OUTPUTS["run"].files[4][1]  # of the whole training
NEW_EVENTS = EVENTS / PUSHES + EVENTS_FILE / 2  # new events, and the growing file, on average half full
PUSH_BYTES = CHECKPOINT + NEW_SNAPSHOTS * SNAPSHOT + 2 * NEW_EVENTS  # twice: with the state, and for TensorBoard
PUSH_FILES = 1 + 3 * NEW_SNAPSHOTS + 3
PUSH_REQUESTS = PUSH_BYTES / OUR_PART + PUSH_FILES + PUSH_READS + PUSH_LISTS + PUSH_DELETES + PUSH_MARKS
KEPT_BYTES = 3 * CHECKPOINT + KEPT_SNAPSHOTS * SNAPSHOT + 2 * EVENTS
KEPT_OBJECTS = 3 + 3 * KEPT_SNAPSHOTS + 5
STORED = ARTIFACT_BYTES + KEPT_BYTES

S3_REQUESTS = _sum(_requests) + PUSHES * PUSH_REQUESTS
WRITES = ARTIFACT_OBJECTS + PUSHES * (PUSH_FILES + PUSH_LISTS + PUSH_MARKS) + _sum(lambda step: len(step.reads))
READS = READ_OBJECTS + PUSHES * PUSH_READS


def gpu_hours(gpu: Gpu) -> tuple[float, float, float]:
    """Hours of GAN training, of the other steps, and of starts and restarts, for one run."""
    training = KIMG * 1_000 / gpu.images_per_second / 3600
    others = CLASSIFIER_FLOP / (0.25 * gpu.teraflops * 1e12) / 3600
    starts = STEP_START_HOURS * sum(step.times for step in STEPS if step.gpu)
    return training, others, starts + training / 24 * INTERRUPTIONS_PER_DAY * LOST_PER_INTERRUPTION_HOURS


HOURS = sum(gpu_hours(CHOSEN))


def _number(value: float) -> str:
    if value >= 100:
        return f"{round(value, 2 - int(math.log10(value))):,.0f}"
    return f"{value:.3g}" if value >= 0.0005 else "0"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    rule = ("---", *["---:"] * (len(head) - 1))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def steps_table() -> str:
    """Data that each step reads and writes."""
    rows = [
        (
            f"`{step.name}`" if "(" not in step.name else re.sub(r"^(\w+)", r"`\1`", step.name),
            str(step.times),
            _number(_bytes(step.reads) / GB),
            _number(_bytes(step.writes) / GB),
            _number(_objects(step.writes)),
            _number(_requests(step)),
        )
        for step in STEPS
    ]
    total = ("**one run**", str(TASKS), *map(_number, (READ_BYTES / GB, ARTIFACT_BYTES / GB, ARTIFACT_OBJECTS)))
    last = (*total, _number(_sum(_requests)))
    return _table(("step", "times", "reads, GB", "writes, GB", "objects", "S3 requests"), [*rows, last])


def pushes_table() -> str:
    """What GAN training pushes besides its artifacts."""
    rows = [
        ("time between pushes", f"{_number(PUSH_SECONDS)} s"),
        ("pushes per run", _number(PUSHES)),
        ("bytes per push, mean", f"{_number(PUSH_BYTES / GB)} GB"),
        ("S3 requests per push", _number(PUSH_REQUESTS)),
        ("transferred per run", f"{_number(PUSHES * PUSH_BYTES / GB)} GB"),
        ("stored at the URI", f"{_number(KEPT_BYTES / GB)} GB in {_number(KEPT_OBJECTS)} objects"),
        ("rate per run", f"{_number(PUSH_BYTES / PUSH_SECONDS / MB)} MB/s"),
    ]
    return _table(("", "`train_gan`"), rows)


def gpus_table() -> str:
    """Hours and cost of one run, by GPU."""
    rows = []
    for gpu in GPUS:
        training, others, lost = gpu_hours(gpu)
        total = training + others + lost
        price = f"{gpu.dollars_per_hour:.2f} ({gpu.priced})"
        figures = [gpu.images_per_second, training, others, lost, total]
        rows.append((gpu.name, *map(_number, figures), price, _number(total * gpu.dollars_per_hour)))
    head = ("GPU", "images/s", "GAN, h", "other steps, h", "starts, h", "one run, h", "$/h spot (date)", "one run, $")
    return _table(head, rows)


def runs_table() -> str:
    """What 1, 10 and 1,000 concurrent runs cost."""
    lines: dict[str, Callable[[int], float]] = {
        "stored in the bucket, TB": lambda runs: runs * STORED / TB,
        "written to the bucket, TB": lambda runs: runs * (ARTIFACT_BYTES + PUSHES * PUSH_BYTES) / TB,
        "read from the bucket, TB": lambda runs: runs * READ_BYTES / TB,
        "objects": lambda runs: runs * (ARTIFACT_OBJECTS + KEPT_OBJECTS),
        "S3 requests": lambda runs: runs * S3_REQUESTS,
        "pods": lambda runs: runs * PODS,
        "concurrent GPUs (GAN training)": lambda runs: runs,
        "GPU hours": lambda runs: runs * HOURS,
        "GPU, $": lambda runs: runs * HOURS * CHOSEN.dollars_per_hour,
        "storage, $ per month": lambda runs: runs * STORED / GB * STORAGE_PER_GB_MONTH,
        "operations of Cloud Storage, $": lambda runs: runs * (WRITES * WRITE_OPERATION + READS * READ_OPERATION),
        "one download of the release over the internet, $": lambda runs: (
            runs * OUTPUTS["release"].bytes / GB * EGRESS_PER_GB
        ),
        "pushes while all runs train, MB/s": lambda runs: runs * PUSH_BYTES / PUSH_SECONDS / MB,
        "push requests while all runs train, 1/s": lambda runs: runs * PUSH_REQUESTS / PUSH_SECONDS,
    }
    rows = [(name, *(_number(cost(runs)) for runs in RUNS)) for name, cost in lines.items()]
    return _table(("", *(f"{runs:,} run{'s' * (runs > 1)}" for runs in RUNS)), rows)


def limits_table() -> str:
    """Number of concurrent runs at which each limit is reached."""
    kube_requests = 3 * PODS
    per_task = COMPILED_PIPELINE / TASKS + 5 * KB
    rows = [
        ("volume of KFP's SeaweedFS, 10 GiB", 10 * 2**30 / STORED, "[1]"),
        ("GPU quota of a new project, 1 per model", 1, "[2]"),
        ("Kubernetes API while pods are pending", 100, "[3]"),
        ("etcd at 2 GiB, its default size", 2 * 2**30 / (8 * 2**30 / 500), "[5]"),
        ("MySQL's 151 connections, if all runs publish at the same time", 151, "[4]"),
        ("etcd at 8 GiB, its suggested maximum size", 500, "[5]"),
        ("Argo's 20 requests/s: all requests of the runs take an hour", 20 * 3600 / kube_requests, "[6]"),
        ("one SeaweedFS pod with 10 Gbit/s: pushes", 1.25 * GB / (PUSH_BYTES / PUSH_SECONDS), "[1]"),
        ("5,000 nodes with one GPU each", 5_000, "[7]"),
        ("S3: 3,500 writes/s of a partitioned prefix: pushes", 3_500 / (PUSH_REQUESTS / PUSH_SECONDS), "[8]"),
        ("Cloud Storage: initially 1,000 writes/s: pushes", 1_000 / (PUSH_FILES / PUSH_SECONDS), "[9]"),
    ]
    rows.sort(key=lambda row: row[1])
    table = _table(("limit", "concurrent runs at the limit", "source"), [(a, _number(b), c) for a, b, c in rows])
    tasks = 10 * int(1e5 / per_task)
    return f"{table}\n\nA workflow is limited to 1 MB in etcd [10]; this one has {TASKS} tasks, and about {tasks} fit."


TABLES: dict[str, Callable[[], str]] = {
    "steps": steps_table,
    "pushes": pushes_table,
    "gpus": gpus_table,
    "runs": runs_table,
    "limits": limits_table,
}


def with_tables(page: str) -> str:
    """The page with every table between its markers updated.

    Args:
        page: Text with `<!-- table: NAME -->` and `<!-- end -->` around each table.

    Returns:
        The same text with the current tables.
    """

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

    return re.sub(r"(<!-- table: (\w+) -->).*?(<!-- end -->)", fill, page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
