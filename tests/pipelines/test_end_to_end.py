"""The whole pipeline on phantom images, at settings that only show that every part fits the next."""

from dataclasses import replace
from pathlib import Path

import pytest

import regan
from pipelines.kfp_local import figures_of
from pipelines.local import Request, run
from regan.artifacts.history import read_history
from regan.artifacts.image_set import ImageSet

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1800)]

SETTINGS = {
    "gan_kimg": "0.2",
    "gan_seeds": "1-40",
    "gan_selection_images": "32",
    "classifier_epochs": "2",
    "test_per_class": "20",
    "report_margin": "0.2",
}
RELEASED_LAST = ["compare classifiers", "publish images", "explain run"]


@pytest.fixture(scope="module")
def request_(tmp_path_factory) -> Request:
    folder = tmp_path_factory.mktemp("pipeline")
    regan.phantom(folder / "phantoms", per_class=60, size=32)
    return Request(
        output=folder / "run", source=str(folder / "phantoms"), classes=("benign", "malignant"), settings=SETTINGS
    )


@pytest.fixture(scope="module")
def finished(request_):
    said: list[str] = []
    return {step.title: step for step in run(request_, said.append)}, said


def images(step, name: str = "images") -> ImageSet:
    return ImageSet.open(step.outputs[name].path)


def test_every_step_runs_once_and_the_verdict_is_told(finished, request_):
    steps, said = finished
    assert all(step.ran for step in steps.values())
    assert len(steps) == 18
    assert f"Verdict: {steps['compare classifiers'].outputs['sentence']}" in said
    assert any(line.startswith("AUC on the test images: teacher 0.") for line in said)
    assert said[-1].endswith("run/report.html")


def test_the_report_rests_on_the_history_of_all_ten_verbs_but_the_last(finished, request_):
    steps, _ = finished
    report = Path(steps["compare classifiers"].outputs["report"].path)
    assert (request_.output / "report.html").read_bytes() == (report / "report.html").read_bytes()
    assert Path(steps["compare classifiers"].outputs["page"].uri) == report / "report.html"
    assert {step.verb for step in read_history(report).values()} == set(regan.VERBS) - {"publish_images"}


def test_no_seed_is_used_twice(finished):
    steps, _ = finished
    negative, positive = (images(steps[f"generate {name}"]) for name in ("negative", "positive"))
    assert {row.label for row in negative.rows} == {"benign"}
    assert {row.label for row in positive.rows} == {"malignant"}
    assert [int(row.seed) for row in negative.rows] == list(range(1, 41))
    assert [int(row.seed) for row in positive.rows] == list(range(41, 81))


def test_student_and_control_see_as_many_images_of_each_class(finished):
    steps, _ = finished
    student, control = images(steps["filter"]), images(steps["draw control"])
    assert student.counts == control.counts
    assert len(set(student.counts.values())) == 1


def test_all_three_classifiers_answer_the_same_test_images(finished):
    steps, _ = finished
    for name in ("teacher", "student", "control"):
        assert figures_of(steps[f"test {name}"].outputs)["num_images"] == 40


def test_the_release_is_what_the_student_learned_from(finished):
    steps, _ = finished
    released = images(steps["publish images"], "release")
    assert {row.sha256 for row in released.rows} == {row.sha256 for row in images(steps["filter"]).rows}


def test_a_second_run_only_makes_report_and_release_anew(finished, request_):
    again = run(request_, [].append)
    assert [step.title for step in again if step.ran] == ["preflight", *RELEASED_LAST]


def test_other_settings_run_again_from_where_they_matter(finished, request_):
    other = replace(request_, settings={**SETTINGS, "report_max_memorised": "0.5"})
    assert [step.title for step in run(other, [].append) if step.ran] == ["preflight", "audit images", *RELEASED_LAST]
