"""What manifests/README.md names exists, and its parameters are the pipeline's."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "manifests/README.md").read_text()
PIPELINE = next(yaml.safe_load_all((ROOT / "manifests/pipelines/synthetic_training_set.yaml").read_text()))
PARAMETERS = PIPELINE["root"]["inputDefinitions"]["parameters"]


def test_links_and_folders_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert all((ROOT / "manifests" / link).exists() for link in links)
    folders = re.findall(r"manifests/(?:overlays/\w+|tensorboard)\b", README)
    assert len(folders) > 3
    assert all((ROOT / folder).is_dir() for folder in folders)
    assert all((ROOT / "manifests" / path).is_file() for path in re.findall(r"`((?:base|overlays)/\S+\.yaml)`", README))


def test_placeholders_are_those_of_the_overlay():
    overlay = " ".join(path.read_text() for path in (ROOT / "manifests/overlays/gke").glob("*.yaml"))
    for placeholder, _ in re.findall(r"s/(my-\w+)/\$(\w+)/", README):
        assert placeholder in overlay


def test_kubernetes_objects_that_are_named_exist():
    written = "\n".join(path.read_text() for path in (ROOT / "manifests").glob("[bo]*/**/*.yaml"))
    for name in re.findall(r"(?:deployment|service)/(regan-\w+)", README):
        assert f"name: {name}" in written
    for account in re.findall(r"--as system:serviceaccount:kubeflow:(\S+)", README):
        assert f"name: {account}" in written


def test_gpu_parameters_are_json_of_the_kind_the_pipeline_takes():
    rows = re.findall(r"^\| (?:GKE|elsewhere)[^|]*\| `(.*)` \| `(.*)` \|$", README, re.MULTILINE)
    assert len(rows) == 3
    for selector, tolerations in rows:
        labels = json.loads(selector)
        assert all(isinstance(text, str) for text in labels.values())
        assert all(set(one) <= {"key", "operator", "value", "effect"} for one in json.loads(tolerations))


@pytest.mark.parametrize(
    ("name", "kind"), [("gpu_node_selector", "STRUCT"), ("gpu_tolerations", "LIST"), ("gpu_checkpoint_uri", "STRING")]
)
def test_parameters_that_are_named_are_the_pipelines(name, kind):
    assert f"`{name}`" in README
    assert PARAMETERS[name]["parameterType"] == kind
