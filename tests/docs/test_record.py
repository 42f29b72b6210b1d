"""The README's figures, the record and the picture are of one run."""

import hashlib
import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from regan.runs.time_estimate import MatrixRate

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("record", ROOT / "docs" / "record.py")
record = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(record)

RUN = {
    "regan": "0.1.0",
    "machine": "2 cores",
    "seconds": 312.0,
    "cpu_seconds": 426.0,
    "peak_memory_bytes": 1.3 * 2**30,
    "steps": [{"title": "preflight", "seconds": 1.0, "ran": True}],
    "estimate": {},
    "auc": {"teacher": 0.978, "student": 0.925, "control": 0.831},
    "num_test_images": 300,
    "endpoint": "auc",
    "difference": -0.05,
    "lower": -0.1,
    "upper": 0.0,
    "sentence": "The student is worse.",
}


def test_the_readme_shows_the_recorded_run():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    run = json.loads(record.RECORD.read_text(encoding="utf-8"))
    assert record.with_figures(page, run) == page, "run `make record`"
    assert f"an AUC of {run['auc']['teacher']:.3f}" in page


def test_the_picture_is_that_of_the_recorded_run():
    with Image.open(record.PICTURE) as image:
        assert image.info[record.HASH] == hashlib.sha256(record.RECORD.read_bytes()).hexdigest(), "run `make record`"
        assert image.size == (record.WIDTH, record.HEIGHT)


def test_the_recorded_run_took_as_long_as_was_predicted_to_a_factor_of_two_and_a_half():
    run = json.loads(record.RECORD.read_text(encoding="utf-8"))
    assert 0.4 < run["estimate"]["total"] / run["seconds"] < 2.5
    assert MatrixRate(**run["estimate"]["matrix"]).rate > 1e9


def test_the_paragraph_is_written_between_the_marks_only():
    page = "before\n<!-- recorded: demo -->\nold\n<!-- /recorded -->\nafter"
    written = record.with_figures(page, RUN)
    assert re.fullmatch(r"before\n<!-- recorded: demo -->\nMeasured on 2 cores.*\n<!-- /recorded -->\nafter", written)
    assert "5.2 minutes (7.1 minutes of CPU time)" in written
    assert "an AUC of 0.978, the student 0.925 and the control 0.831" in written
    assert record.with_figures(written, RUN) == written
    assert "other jobs" not in written
    assert "CPU time, while other jobs shared the cores)" in record.with_figures(page, RUN | {"seconds": 900.0})


def test_a_run_with_steps_of_an_earlier_one_is_not_recorded(tmp_path):
    kept = RUN | {"steps": [*RUN["steps"], {"title": "train GAN", "seconds": 0.1, "ran": False}]}
    (tmp_path / "run.json").write_text(json.dumps(kept))
    with pytest.raises(record.RecordError, match=r"1 of 2 steps .* were kept from an earlier run"):
        record.figures(tmp_path, "here")


def test_a_figure_that_the_run_does_not_have_is_an_error(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"steps": []}))
    with pytest.raises(KeyError):
        record.figures(tmp_path, "here")


@pytest.mark.skipif(not (shutil.which("chromium") or shutil.which("google-chrome")), reason="needs Chromium")
def test_the_picture_carries_the_hash_that_it_is_given(tmp_path):
    (tmp_path / "page.html").write_text("<h1>Report</h1>")
    (tmp_path / "page.png").write_bytes(record.screenshot(tmp_path / "page.html", "abc"))
    with Image.open(tmp_path / "page.png") as image:
        assert image.info[record.HASH] == "abc"
        assert image.size == (record.WIDTH, record.HEIGHT)
        assert len(image.convert("RGB").getcolors()) > 1


def test_the_machine_is_described_without_its_name():
    import platform

    words = record.machine()
    assert re.match(r"\d+ cores? \(", words)
    assert platform.node() not in words
