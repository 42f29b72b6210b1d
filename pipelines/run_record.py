"""Figures of a finished local run, kept in its folder as `run.json`: results, time, memory."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.kfp_local import Step, figures_of
from regan.common.version import __version__

FILE = "run.json"
CLASSIFIERS = ("teacher", "student", "control")


def write_run_record(output: Path, steps: Sequence[Step], endpoint: str, seconds: float) -> None:
    """Write the figures of a run that reached its verdict.

    Args:
        output: Folder of the run.
        steps: Its finished steps.
        endpoint: What is compared, such as "auc".
        seconds: Wall time of this run; without the steps whose outputs were kept from an earlier one.
    """
    done = {step.title: step for step in steps}
    compared = done["compare classifiers"].outputs
    tests = {name: figures_of(done[f"test {name}"].outputs) for name in CLASSIFIERS}
    difference = {name: figures_of(compared)[name] for name in ("difference", "lower", "upper")}
    record = {
        "format": 1,
        "regan": __version__,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds(), 1),
        "peak_memory_bytes": peak_memory(),
        "steps": [{"title": step.title, "seconds": round(step.seconds, 1), "ran": step.ran} for step in steps],
        "estimate": time_estimate(done["preflight"]),
        "auc": {name: figures["auc"] for name, figures in tests.items()},
        "num_test_images": int(tests["teacher"]["num_images"]),
        "endpoint": endpoint,
        **difference,
        "sentence": compared["sentence"],
    }
    (output / FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8", newline="\n")


def time_estimate(preflight: Step) -> Mapping[str, Any]:
    """The preflight's estimate for this machine, with the seconds of each step; empty where there is none."""
    path = Path(preflight.outputs["report"].path, "preflight.json")
    return json.loads(path.read_text(encoding="utf-8"))["time"]


def peak_memory() -> int:
    """Bytes of the largest process that this one has started and that has ended."""
    import resource  # not on Windows, where a local run is refused before this is called

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit


def cpu_seconds() -> float:
    """CPU time of this process and of those that it has started and that have ended."""
    import resource

    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
