"""Parameters that the launcher chooses for a source."""

import shutil
import time
from pathlib import Path

import pytest
from kfp import dsl

from pipelines import step_runner
from pipelines.kfp_local import Step
from pipelines.local import Request, _parameters, _summary, _volumes, run
from regan.preparation.listing import SourceListing


def source(per_class: int = 40, version: str = "v1", classes: tuple[str, str] = ("b", "m")) -> SourceListing:
    names = tuple(f"{label}/{i}.png" for label in classes for i in range(per_class))
    return SourceListing("/images", names, 1_000, version)


@pytest.fixture
def parameters(tmp_path):
    def choose(request=None, of=None, said=None, **settings):
        request = request or Request(output=tmp_path, source="/images", classes=("b", "m"))
        return _parameters(request, settings, of or source(), tmp_path, (said if said is not None else []).append)

    return choose


def test_a_small_source_keeps_three_quarters_for_training_and_says_so(parameters):
    said: list[str] = []
    assert parameters(said=said)["test_per_class"] == 10
    assert said == [
        "test_per_class is 10, a quarter of the 40 images of the rarer class, instead of 150: "
        "the others are needed for training. Set another number with --set test_per_class=N."
    ]


def test_the_test_shrinks_for_a_small_source_whose_classes_are_not_named_too(parameters, tmp_path):
    assert parameters(Request(output=tmp_path, source="/images"))["test_per_class"] == 10


def test_the_least_test_is_told_as_such(parameters):
    said: list[str] = []
    assert parameters(of=source(6), said=said)["test_per_class"] == 2
    assert said[0].startswith("test_per_class is 2, the least there can be, of the 6 images of the rarer class,")


def test_a_source_that_is_too_small_for_a_test_ends_the_run_before_it_begins(parameters):
    with pytest.raises(ValueError, match=r"fewer than 4 images.*Found b: 3, m: 3\. Add images"):
        parameters(of=source(3))


def test_an_archive_at_an_address_is_not_counted(parameters):
    archive = SourceListing("gs://bucket/images.zip", ("images.zip",), 1_000, "v1")
    assert parameters(of=archive)["test_per_class"] == 150


def test_a_large_source_and_a_person_are_not_overruled(parameters):
    said: list[str] = []
    assert parameters(of=source(600), said=said)["test_per_class"] == 150
    assert parameters(test_per_class=20, said=said)["test_per_class"] == 20
    assert said == []


def test_the_classes_and_the_version_of_the_source_are_parameters(parameters):
    chosen = parameters()
    assert (chosen["negative_class"], chosen["positive_class"], chosen["data_version"]) == ("b", "m", "v1")


def test_phantoms_have_their_own_classes(parameters, tmp_path):
    chosen = parameters(Request(output=tmp_path), source(600, classes=("benign", "malignant")))
    assert (chosen["negative_class"], chosen["positive_class"]) == ("benign", "malignant")


def test_the_state_of_training_changes_with_the_graph_and_the_backend(parameters, tmp_path, monkeypatch):
    # Data and settings are the preflight's part of the address.
    images = {"output": tmp_path, "source": "/images", "classes": ("b", "m")}
    chosen = [parameters(), parameters(Request(**images, conditional=False))]
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    chosen.append(parameters())
    assert len({parameters["gpu_checkpoint_uri"] for parameters in chosen}) == 3


def test_no_gpu_is_expected_here_unless_a_person_says_so(parameters):
    chosen = parameters(gpu_count_gan="2")
    assert (chosen["gpu_count"], chosen["gpu_count_gan"]) == ("0", "2")


def test_local_addresses_become_absolute_and_others_stay(parameters, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = parameters(report_uri="verdicts", data_split_uri="gs://bucket/split", gan_start_uri="")
    assert chosen["report_uri"] == str(tmp_path / "verdicts")
    assert chosen["data_split_uri"] == "gs://bucket/split"
    assert chosen["gan_start_uri"] == ""


def test_containers_see_the_source_to_read_and_every_other_local_address_to_write():
    parameters = {"source_uri": "/images", "report_uri": "/verdicts", "data_split_uri": "s3://b/c", "gan_start_uri": ""}
    assert _volumes(parameters) == {"/images": "ro", "/verdicts": "rw"}


@pytest.mark.parametrize(
    ("file", "is_another"),
    [
        ("gan/losses.py", True),
        ("backend/__init__.py", True),
        ("training/checkpoint.py", True),
        ("report/page.py", False),
        ("verbs/select_snapshot.py", False),
    ],
)
def test_only_a_changed_line_that_training_runs_has_another_checkpoint(
    parameters, tmp_path, monkeypatch, file, is_another
):
    package = tmp_path / "regan"
    shutil.copytree(step_runner.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(step_runner, "PACKAGE", package)
    place = parameters()["gpu_checkpoint_uri"]
    with (package / file).open("a") as code:
        code.write("# another line\n")
    assert (parameters()["gpu_checkpoint_uri"] != place) is is_another


def test_the_report_of_an_earlier_run_is_gone_when_a_run_fails(tmp_path):
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(FileNotFoundError, match="no such folder or archive"):
        run(Request(output=tmp_path, source=str(tmp_path / "absent")), print)
    assert not (tmp_path / "report.html").exists()
    assert (tmp_path / "report-of-an-earlier-run.html").read_text() == "old"


def test_the_presets_are_where_a_run_starts(parameters, tmp_path):
    assert parameters()["data_size"] == 32
    assert "data_size" not in parameters(Request(output=tmp_path, source="/images", preset="config-e"))


def finished_steps(folder: Path, verdict: str) -> list[Step]:
    def step(title: str, **outputs) -> Step:
        return Step(title, title, 1, folder / "log", time.monotonic(), ran=True, outputs=outputs)

    report = dsl.Artifact(uri=str(folder))
    (folder / "report.html").write_text("<html>")
    difference = dsl.Metrics(metadata={"difference": -0.05, "lower": -0.1, "upper": 0.01})
    steps = [step("preflight", go="yes")]
    steps += [step(f"test {name}", metrics=dsl.Metrics(metadata={"auc": 0.9})) for name in ("teacher", "student")]
    steps.append(step("test control", metrics=dsl.Metrics(metadata={"auc": 0.8})))
    steps.append(step("audit images", verdict=verdict))
    steps.append(step("compare classifiers", report=report, metrics=difference, sentence="It is so."))
    if verdict == "passed":
        steps.append(step("publish images", release=dsl.Dataset(uri=str(folder / "release"))))
    return steps


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        ("passed", "Release: release"),
        ("failed", "Nothing was released, because the audit failed; the report shows which check."),
    ],
)
def test_the_end_tells_verdict_figures_and_release(tmp_path, monkeypatch, verdict, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    lines = list(_summary(finished_steps(tmp_path, verdict), tmp_path / "run", {"report_endpoint": "auc"}))
    assert lines[1:5] == [
        "Verdict: It is so.",
        "AUC on the test images: teacher 0.900   student 0.900   control 0.800",
        "Difference in auc, student minus teacher: -0.050 (95 % interval -0.100 to +0.010)",
        f"Audit of the synthetic images: {verdict}",
    ]
    assert lines[5:] == [line]
    assert (tmp_path / "run" / "report.html").read_text() == "<html>"


def test_a_run_without_anything_new_says_so_and_leaves_the_report_where_it_is(tmp_path):
    step = Step("preflight", "preflight", 1, tmp_path / "log", time.monotonic(), ran=True, outputs={"go": "no"})
    (tmp_path / "report-of-an-earlier-run.html").write_text("of the previous verdict")
    line, advice = _summary([step], tmp_path, {})
    assert (tmp_path / "report.html").read_text() == "of the previous verdict"
    assert line == "Nothing new: source and settings are those of the previous verdict."
    assert advice.startswith("--set data_unchanged=run")
