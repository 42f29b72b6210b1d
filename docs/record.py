"""Record one run of the demo: its figures, the picture of its report, and both in the README.

    python docs/record.py [folder]

`folder` (default: runs/demo) holds a finished run that kept no step from an earlier one; where there is none yet, the
demo is run in it. Needs Chromium.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RECORD, PICTURE, README = HERE / "recorded_run.json", HERE / "images" / "report.png", ROOT / "README.md"
WIDTH, HEIGHT = 1280, 1000
HASH = "regan-recorded-run"  # text chunk of the picture: the hash of the record that it belongs to
_MARKS = re.compile(r"(<!-- recorded: (\w+) -->\n?).*?(\n?<!-- /recorded -->)", re.DOTALL)
_KEPT = ("regan", "seconds", "cpu_seconds", "peak_memory_bytes", "steps", "estimate", "auc", "num_test_images")
_VERDICT = ("endpoint", "difference", "lower", "upper", "sentence")


class RecordError(ValueError):
    """The folder holds no run that can be recorded."""


def record(folder: Path) -> None:
    """Write the record, the picture and the README's paragraph from one run; the demo is run where there is none."""
    if not (folder / "run.json").is_file():
        command = [sys.executable, "-m", "pipelines", "local", "--preset", "demo", "--phantom", "--output", folder]
        subprocess.run(command, cwd=ROOT, check=True)
    text = json.dumps(figures(folder, machine()), indent=1) + "\n"
    picture = screenshot(folder / "report.html", hashlib.sha256(text.encode()).hexdigest())
    readme = with_figures(README.read_text(encoding="utf-8"), json.loads(text))
    # All three are made before the first is written, so that a failure leaves the last record whole.
    RECORD.write_text(text, encoding="utf-8")
    PICTURE.write_bytes(picture)
    README.write_text(readme, encoding="utf-8")


def figures(folder: Path, where: str) -> dict[str, Any]:
    """What is recorded of a run.

    Args:
        folder: Output folder of a local run.
        where: The machine, in words.

    Raises:
        RecordError: Some of its steps were kept from an earlier run, so that its time says nothing.
    """
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    kept = [step["title"] for step in run["steps"] if not step["ran"]]
    if kept:
        raise RecordError(
            f"{len(kept)} of {len(run['steps'])} steps in {folder} were kept from an earlier run. Name a new folder."
        )
    return {"machine": where} | {name: run[name] for name in (*_KEPT, *_VERDICT)}


def with_figures(page: str, run: dict[str, Any]) -> str:
    """A page with the paragraphs between its marks written anew.

    Args:
        page: Text with `<!-- recorded: demo -->` and `<!-- /recorded -->` around each paragraph.
        run: The record.
    """
    return _MARKS.sub(lambda match: f"{match[1]}{PARAGRAPHS[match[2]](run)}{match[3]}", page)


def demo(run: dict[str, Any]) -> str:
    """The paragraph on the demo: machine, time, memory, results."""
    auc = {name: f"{value:.3f}" for name, value in run["auc"].items()}
    # A demo that has 2 cores to itself keeps them busy for two thirds of its time.
    cores = int(run["machine"].split()[0])
    shared = ", while other jobs shared the cores" if run["cpu_seconds"] < 0.6 * cores * run["seconds"] else ""
    return (
        f"Measured on {run['machine']}: the demo took {run['seconds'] / 60:.1f} minutes "
        f"({run['cpu_seconds'] / 60:.1f} minutes of CPU time{shared}) with a peak of "
        f"{run['peak_memory_bytes'] / 2**30:.1f} GB of memory. On its {run['num_test_images']} test images "
        f"the teacher reached an AUC of {auc['teacher']}, the "
        f"student {auc['student']} and the control {auc['control']}. The difference between student and teacher was "
        f"{run['difference']:+.3f} (95 % confidence interval {run['lower']:+.3f} to {run['upper']:+.3f}). Another seed "
        "gives other figures. The picture shows the report of this run."
    )


PARAGRAPHS = {"demo": demo}


def machine() -> str:
    """This machine in words: cores, processor, what its matrix product needs to be compared."""
    from regan.common.cpus import available_cpus

    cpus, info = available_cpus(), Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    model = re.sub(r"\((R|TM)\)| Processor| CPU|@.*", "", values.get("model name", "an unknown processor")).strip()
    vectors = {"avx512f": " with AVX-512", "avx2": " with AVX2"}
    flags = values.get("flags", "").split()
    vector = next((text for flag, text in vectors.items() if flag in flags), "")
    return f"{cpus} core{'s' * (cpus > 1)} ({model}{vector}), without a GPU"


def screenshot(page: Path, of_record: str) -> bytes:
    """Top of a page as a PNG that names the record that it belongs to.

    Args:
        page: HTML file.
        of_record: Hash of the record.

    Raises:
        RecordError: There is no Chromium, or it makes no picture.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise RecordError("Chromium was not found. Install the package `chromium`.")
    with tempfile.TemporaryDirectory() as folder:
        taken, named = Path(folder) / "taken.png", Path(folder) / "named.png"
        switches = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/data",
        ]
        size = [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={taken}"]
        done = subprocess.run([program, *switches, *size, page.resolve().as_uri()], capture_output=True, text=True)
        if not taken.is_file():
            raise RecordError(f"Chromium made no picture of {page}: {done.stderr[-500:]}")
        chunk = PngInfo()
        chunk.add_text(HASH, of_record)
        with Image.open(taken) as image:
            image.convert("RGB").quantize(256).save(named, pnginfo=chunk, optimize=True)
        return named.read_bytes()


if __name__ == "__main__":
    try:
        record(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
    except RecordError as error:
        sys.exit(str(error))
