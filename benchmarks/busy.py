"""How a shortened demo and a part of the tests slow down beside busy processes, or under a CPU limit.

    python -m benchmarks.busy
    python -m benchmarks.busy --before ../old           # a git worktree of an older commit, measured in turn with ours
    python -m benchmarks.busy --before ../old --cpu-limit 0.5    # in a cgroup with half a CPU; needs root

On 2 cores the first line takes 10 minutes, the second 20. A busy process computes without end on one core. Beside n of
them on c cores, a program that keeps c cores busy can expect the c-th part of (c + n) shares of each: with 2 cores and
4 busy processes a third of its speed. What it loses beyond that, it loses to waiting for its own displaced threads.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

HERE = Path(__file__).resolve().parents[1]
BUSY = (0, 1, 4)
SHORTENED = ("gan_kimg=2", "gan_seeds=1-300", "gan_selection_images=100", "classifier_epochs=5", "test_per_class=50")
TESTS = ("tests/statistics", "tests/quality", "-m", "not slow and not pipeline")
# A float32 product of NumPy for five seconds, with as many threads as the library takes by itself.
MATRIX = """
import regan, time
import numpy as np
matrix, count, started = np.ones((768, 768), np.float32), 0, time.perf_counter()
while time.perf_counter() - started < 5:
    matrix @ matrix
    count += 1
print(2 * 768**3 * count / (time.perf_counter() - started) / 1e9)
"""


@dataclass(frozen=True)
class Taken:
    """Wall time and CPU time of a command, and what it printed last."""

    seconds: float
    cpu_seconds: float
    said: str


def demo(folder: Path) -> list[str]:
    """Command of a shortened demo."""
    settings = [word for setting in SHORTENED for word in ("--set", setting)]
    return ["-m", "pipelines", "local", "--preset", "demo", "--phantom", "--output", str(folder), *settings]


def measure(words: Sequence[str], checkout: Path, busy: int, limit: Path | None) -> Taken:
    """Run a Python command of a checkout beside busy processes.

    Args:
        words: Arguments of Python.
        checkout: Root of a working tree, whose code runs.
        busy: Busy processes beside it.
        limit: Folder of the cgroup that it runs in; None = that of this process.
    """
    command = [sys.executable, *words]
    if limit:
        command = ["sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(limit), *command]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryFile("w+") as output, _busy(busy):
        started = perf_counter()
        process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - started
        output.seek(0)
        lines = output.read().splitlines() or [""]
    if status:
        raise SystemExit("\n".join([f"{' '.join(words)} failed in {checkout}:", *lines[-20:]]))
    return Taken(seconds, usage.ru_utime + usage.ru_stime, lines[-1])


@contextmanager
def _busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def cpu_limit(cpus: float) -> Iterator[Path | None]:
    """A cgroup with a CPU limit, version 1 or 2; None for a limit of 0, which is none."""
    if not cpus:
        yield None
        return
    root = Path("/sys/fs/cgroup")
    is_second = (root / "cgroup.controllers").is_file()
    folder = root / ("" if is_second else "cpu") / f"regan-busy-{os.getpid()}"
    folder.mkdir()
    try:
        period, quota = "100000", str(int(cpus * 100_000))
        if is_second:
            (folder / "cpu.max").write_text(f"{quota} {period}")
        else:
            (folder / "cpu.cfs_period_us").write_text(period)
            (folder / "cpu.cfs_quota_us").write_text(quota)
        yield folder
    finally:
        folder.rmdir()


def _row(
    case: str, busy: int, checkouts: Sequence[Path], limit: Path | None, alone: dict[tuple[str, Path], float]
) -> str:
    cells = [case, str(busy)]
    for checkout in checkouts:
        with tempfile.TemporaryDirectory() as folder:
            words = {"demo": demo(Path(folder) / "run"), "tests": ["-m", "pytest", "-q", *TESTS]}
            taken = measure(words[case], checkout, busy, limit)
        first = alone.setdefault((case, checkout), taken.seconds)
        cells += [f"{taken.seconds:.0f} s", f"{taken.cpu_seconds:.0f} s", f"{taken.seconds / first:.2f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure what the command line asks for, and print tables."""
    options = _options()
    checkouts = [*([options.before.resolve()] if options.before else []), HERE]
    names = ["before", "after"] if options.before else ["now"]
    columns = [f"{name}{what}" for name in names for what in ("", ", CPU time", ", to alone")]
    alone: dict[tuple[str, Path], float] = {}
    with cpu_limit(options.cpu_limit) as limit:
        rates = [f"{name} {measure(['-c', MATRIX], at, 0, limit).said} GFLOP/s" for name, at in zip(names, checkouts)]
        print(f"matrix product of NumPy: {', '.join(rates)}")
        print(f"| what | busy processes | {' | '.join(columns)} |")
        print(f"|{'---|' * (2 + len(columns))}", flush=True)
        for case in options.case or ("demo", "tests"):
            for busy in options.busy if options.busy is not None else BUSY:
                print(_row(case, busy, checkouts, limit, alone), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, help="a git worktree of an older commit, to compare with")
    parser.add_argument("--case", choices=("demo", "tests"), action="append", help="default: both")
    parser.add_argument("--busy", type=int, action="append", help="busy processes; default: 0, 1 and 4 in turn")
    parser.add_argument("--cpu-limit", type=float, default=0.0, metavar="CPUS", help="run in a cgroup with this limit")
    return parser.parse_args()


if __name__ == "__main__":
    main()
