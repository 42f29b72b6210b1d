"""The committed figures are what the code says today."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import regan

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "docs" / "images"
SVG = "{http://www.w3.org/2000/svg}"

# The draw of the control's images is a task of its own in the pipeline; the figure joins it with what it feeds.
JOINED = {("generate_images", "train_classifier")}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    subprocess.run([sys.executable, str(ROOT / "docs" / "draw.py"), str(folder)], check=True)
    return folder


def test_committed_figures_equal_a_fresh_drawing(drawn):
    fresh = {path.name: path.read_bytes() for path in drawn.glob("*.svg")}
    committed = {path.name: path.read_bytes() for path in COMMITTED.glob("*.svg")}
    assert fresh.keys() == committed.keys()
    different = [name for name in fresh if fresh[name] != committed[name]]
    assert not different, "run `python docs/draw.py` and look at the change"


@pytest.mark.parametrize("path", sorted(COMMITTED.glob("*.svg")), ids=lambda path: path.name)
def test_a_figure_stays_inside_its_frame_and_loads_nothing(path):
    root = ElementTree.fromstring(path.read_text())
    width, height = float(root.get("width")), float(root.get("height"))
    for box in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(box.get(name)) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
    assert "href" not in path.read_text()
    assert root.find(f"{SVG}title").text


def pipeline_arrows() -> set[tuple[str, str]]:
    """Which component feeds which, from the compiled pipeline."""
    compiled = next(yaml.safe_load_all((ROOT / "manifests/pipelines/synthetic_training_set.yaml").read_text()))
    arrows = set()
    components = {"root": compiled["root"], **compiled["components"]}
    for component in components.values():
        tasks = component.get("dag", {}).get("tasks", {})
        verbs = {name: verb(task["componentRef"]["name"]) for name, task in tasks.items()}
        for name, task in tasks.items():
            for source in task.get("inputs", {}).get("artifacts", {}).values():
                if "taskOutputArtifact" in source:
                    arrows.add((verbs[source["taskOutputArtifact"]["producerTask"]], verbs[name]))
    return arrows


def verb(component: str) -> str:
    name = component.removeprefix("comp-").rstrip("-0123456789").replace("-", "_")
    return name if name in regan.VERBS else "publish_images"  # the condition that holds nothing but publication


def test_the_workflow_figure_shows_all_verbs_and_only_arrows_of_the_pipeline(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from workflow import ARROWS, STEPS

    assert {step.verb for step in STEPS.values() if step.is_verb} == set(regan.VERBS)
    drawn = {(STEPS[a].verb, STEPS[b].verb) for a, b in ARROWS if STEPS[a].is_verb and STEPS[b].is_verb}
    assert drawn - JOINED <= pipeline_arrows()
