"""What works without training also works where Python lacks what only Linux and macOS have; see like_windows.py."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for top in ("regan", "components", "pipelines") for path in (ROOT / top).rglob("*.py"))
TEXT_MODE = re.compile(r"r?t|[rwax]t?")

PREPARE = """
import sys
from pathlib import Path
import regan
work = Path(sys.argv[1])
regan.phantom(work / "phantoms", per_class=24, size=32)
for attempt in "12":  # the second one reads the saved split
    outputs = [work / f"{name}{attempt}" for name in ("train", "validation", "test")]
    regan.prepare_images(work / "phantoms", *outputs, size=32, test_per_class=4, split_uri=str(work / "split"))
"""
PREFLIGHT = """
settings = "gan_preset=demo\\ndata_size=32\\ntest_per_class=4"
regan.preflight(str(work / "phantoms"), work / "preflight", settings=settings)
"""
COMPARE_AND_PUBLISH = """
from tests.report import study
made = study.build_study(work / "study", per_sheet=1)
answers = [made[f"{name}_answers"] for name in ("student", "teacher", "control")]
regan.compare_classifiers(
    answers[0], answers[1], work / "report", control=answers[2], audit=made["audit"], report_uri=str(work / "reports")
)
regan.publish_images(made["filtered"], made["audit"], work / "report", work / "release")
"""
TRAIN = """
from pipelines.local import Request, run
from regan.common.errors import UnsupportedPlatformError
for train in (
    lambda: regan.train_gan(work / "train1", work / "run", label="benign", preset="demo"),
    lambda: regan.train_classifier(
        work / "train1", work / "validation1", work / "classifier", backbone="small", weights="none"
    ),
    lambda: run(Request(output=work / "local"), print),
):
    try:
        train()
    except UnsupportedPlatformError as error:
        print("refused:", error)
"""
IMPORT_ALL = """
import importlib
for name in sys.argv[2].split():
    importlib.import_module(name)
print("imported", len(sys.argv[2].split()), "modules on", sys.platform)
"""


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = [module(path) for path in SOURCES if path.name != "__main__.py"]


def run(code: str, work: Path, *disguise: str) -> str:
    script = work / "script.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", *disguise, str(script), str(work), " ".join(NAMES)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def like_windows(tmp_path_factory) -> tuple[Path, str]:
    """What was written, and what was printed."""
    work = tmp_path_factory.mktemp("like_windows")
    code = PREPARE + PREFLIGHT + COMPARE_AND_PUBLISH + TRAIN + IMPORT_ALL
    return work, run(code, work, str(ROOT / "tests/like_windows.py"))


def test_every_module_is_imported(like_windows):
    assert f"imported {len(NAMES)} modules on win32" in like_windows[1]


def test_images_are_prepared_to_the_same_bytes_as_elsewhere(like_windows, tmp_path):
    run(PREPARE, tmp_path)
    names = [f"{folder}{attempt}" for folder in ("train", "validation", "test") for attempt in "12"]
    for place in [like_windows[0] / name for name in names]:
        for path in place.glob("*.zip"):
            assert path.read_bytes() == (tmp_path / place.name / path.name).read_bytes()
        assert list(place.glob("*.zip"))


def test_predictions_are_compared_and_images_published(like_windows):
    work = like_windows[0]
    assert (work / "preflight").is_dir()
    assert (work / "reports").is_dir()
    assert b"\r" not in (work / "report" / "report.html").read_bytes()
    assert (work / "release" / "DATASHEET.md").is_file()


def test_training_and_local_runs_are_refused_with_advice(like_windows):
    refused = [line for line in like_windows[1].splitlines() if line.startswith("refused: ")]
    assert [line.split(" does not")[0] for line in refused] == [
        "refused: Training",
        "refused: Training",
        "refused: A local run of the pipeline",
    ]
    assert all("Use Linux, macOS, or Linux inside Windows (WSL 2)" in line for line in refused)


@pytest.mark.parametrize("path", SOURCES, ids=module)
def test_text_is_written_and_read_as_utf8_with_the_same_line_ends_everywhere(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            given = {keyword.arg for keyword in node.keywords}
            place = f"{path.name}, line {node.lineno}"
            if node.func.attr in ("read_text", "write_text") or is_text_file(node):
                assert "encoding" in given, place
            if node.func.attr == "write_text" or (is_text_file(node) and mode(node)[0] != "r"):
                assert "newline" in given, place


def is_text_file(call: ast.Call) -> bool:
    return call.func.attr == "open" and bool(mode(call))


def mode(call: ast.Call) -> str:
    texts = (argument.value for argument in call.args if isinstance(argument, ast.Constant))
    return next((text for text in texts if isinstance(text, str) and TEXT_MODE.fullmatch(text)), "")
