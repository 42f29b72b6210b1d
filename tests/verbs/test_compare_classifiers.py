import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import regan
from regan.data.history import last_step, write_step
from regan.statistics.comparison import compare_predictions
from regan.statistics.predictions import Predictions


def load_study():
    path = Path(__file__).parents[1] / "report" / "study.py"
    spec = importlib.util.spec_from_file_location("study_for_compare", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


study = load_study()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return study.build_study(tmp_path_factory.mktemp("study"), per_sheet=1)


@pytest.fixture(scope="module")
def compared(made, tmp_path_factory):
    return regan.compare_classifiers(
        made["student_answers"],
        made["teacher_answers"],
        tmp_path_factory.mktemp("compared") / "report",
        control=made["control_answers"],
        audit=made["audit"],
        endpoint="sensitivity",
        margin=0.08,
    )


def answers(folder, *, images=40, power=2.0, role="one", **options):
    study.answer(folder, None, None, study.draw_test_set(images), power, role, **options)
    return folder


def changed(folder, target, **columns):
    """A copy of predictions with some columns changed."""
    table = Predictions.read(folder)
    names = ("sha256", "group", "label", "probability", "predicted", "positive_class", "negative_class")
    target.mkdir()
    Predictions(**{name: columns.get(name, getattr(table, name)) for name in names}).write(target)
    return target


def test_the_figures_are_those_of_the_paired_statistics(made, compared):
    student, teacher = (Predictions.read(made[f"{name}_answers"]) for name in ("student", "teacher"))
    expected = compare_predictions(student, teacher, endpoint="sensitivity", margin=0.08, names=("student", "teacher"))
    assert (compared.verdict, compared.sentence) == (expected.verdict, expected.sentence)
    assert (compared.difference, compared.lower, compared.upper) == (
        expected.difference,
        expected.lower,
        expected.upper,
    )
    missed = [np.sum(~table.predicted & table.label) for table in (student, teacher)]
    assert compared.difference == pytest.approx(-(missed[0] - missed[1]) / 150)


def test_the_declared_endpoint_and_margin_stand_in_output_and_history(compared):
    summary = json.loads((compared.path / "comparison.json").read_text())
    settings = last_step(compared.path).settings
    for told in (summary, settings):
        assert (told["endpoint"], told["margin"]) == ("sensitivity", 0.08)
        assert told["sentence"] == compared.sentence


def test_candidate_control_and_reference_are_compared_with_each_other(compared):
    summary = json.loads((compared.path / "comparison.json").read_text())
    assert [(one["first"], one["second"]) for one in summary["comparisons"]] == [
        ("candidate", "reference"),
        ("candidate", "control"),
        ("control", "reference"),
    ]
    tests = last_step(compared.path).tables["tests"]
    assert {row["comparison"] for row in tests} == {
        "candidate - reference",
        "candidate - control",
        "control - reference",
    }
    assert {"name", "value", "lower", "upper", "p", "method"} <= set(tests[0])
    assert tests[0]["name"] == "sensitivity, student minus teacher"


def test_the_history_holds_every_input_and_what_the_report_needs(made, compared):
    step = last_step(compared.path)
    assert step.verb == "compare_classifiers"
    for role, folder in (("candidate", "student"), ("reference", "teacher"), ("control", "control")):
        assert step.inputs[role] == [last_step(made[f"{folder}_answers"]).id]
    assert step.inputs["audit"] == [last_step(made["audit"]).id]
    assert step.counts == {"num_images": 300, "num_positive": 150, "num_negative": 150, "num_units": 300}
    assert {row["classifier"] for row in step.tables["confusion"]} == {"candidate", "reference", "control"}
    assert (compared.path / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_answers_are_paired_by_image_and_not_by_row(tmp_path):
    one, two = answers(tmp_path / "one"), answers(tmp_path / "two", role="two", power=1.0)
    straight = regan.compare_classifiers(one, two, tmp_path / "straight")
    table = Predictions.read(two)
    order = np.random.default_rng(0).permutation(len(table))
    rows = {name: getattr(table, name)[order] for name in ("sha256", "group", "label", "probability", "predicted")}
    shuffled = regan.compare_classifiers(one, changed(two, tmp_path / "shuffled", **rows), tmp_path / "again")
    assert (shuffled.difference, shuffled.lower) == (straight.difference, straight.lower)


def test_predictions_without_history_are_candidate_and_reference(tmp_path):
    one, two = answers(tmp_path / "one"), answers(tmp_path / "two", role="two")
    sentence = regan.compare_classifiers(one, two, tmp_path / "r").sentence
    assert "candidate" in sentence
    assert "reference" in sentence
    html = (tmp_path / "r" / "report.html").read_text()
    assert "The history does not say how the classifiers were trained." in html


def test_other_images_are_refused(tmp_path):
    one = answers(tmp_path / "one")
    other = changed(one, tmp_path / "other", sha256=np.array([f"{i + 7:064x}" for i in range(40)]))
    with pytest.raises(ValueError, match=r"same test images.*7 images that only the candidate"):
        regan.compare_classifiers(one, other, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_other_images_of_the_control_are_refused_too(tmp_path):
    one, two = answers(tmp_path / "one"), answers(tmp_path / "two", role="two")
    other = changed(one, tmp_path / "other", sha256=np.array([f"{i + 7:064x}" for i in range(40)]))
    with pytest.raises(ValueError, match="same test images"):
        regan.compare_classifiers(one, two, tmp_path / "report", control=other)


def test_another_positive_class_is_refused(tmp_path):
    one = answers(tmp_path / "one")
    other = answers(tmp_path / "other", classes=("malignant", "benign"))
    with pytest.raises(ValueError, match=r"same positive class\. Received 'malignant' and 'benign'"):
        regan.compare_classifiers(one, other, tmp_path / "report")


def test_decisions_that_follow_no_single_threshold_are_refused(tmp_path):
    one = answers(tmp_path / "one")
    predicted = Predictions.read(one).predicted.copy()
    predicted[np.argmin(Predictions.read(one).probability)] = True
    other = changed(one, tmp_path / "other", predicted=predicted)
    with pytest.raises(ValueError, match=r"follow one threshold.*Received reference predictions.*Evaluate"):
        regan.compare_classifiers(one, other, tmp_path / "report")


def test_thresholds_may_differ_between_classifiers(tmp_path):
    one, two = answers(tmp_path / "one"), answers(tmp_path / "two", role="two", threshold=0.2)
    assert regan.compare_classifiers(one, two, tmp_path / "report", endpoint="accuracy").verdict


def test_the_same_folder_twice_is_refused(tmp_path):
    one = answers(tmp_path / "one")
    with pytest.raises(ValueError, match="Received the same folder twice"):
        regan.compare_classifiers(one, tmp_path / "x" / ".." / "one", tmp_path / "report")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"endpoint": "f1"}, "`endpoint` must be one of"), ({"margin": 0.0}, "`margin` must lie between 0 and 1")],
)
def test_settings_out_of_range_are_refused(tmp_path, options, message):
    one, two = answers(tmp_path / "one"), answers(tmp_path / "two", role="two")
    with pytest.raises(ValueError, match=message):
        regan.compare_classifiers(one, two, tmp_path / "report", **options)


def test_a_folder_without_predictions_is_refused(tmp_path, made):
    with pytest.raises(FileNotFoundError, match=r"predictions\.csv"):
        regan.compare_classifiers(made["student_answers"], made["teacher"], tmp_path / "report")


def test_an_audit_of_other_images_is_refused(tmp_path, made):
    (tmp_path / "audit").mkdir()
    write_step(tmp_path / "audit", "audit_images", {"synthetic": made["unfiltered"]}, settings={}, seconds=0)
    with pytest.raises(ValueError, match=r"`audit` must be about the images that trained the candidate.*filter_images"):
        regan.compare_classifiers(
            made["student_answers"], made["teacher_answers"], tmp_path / "report", audit=tmp_path / "audit"
        )


@pytest.mark.parametrize(("name", "wrote"), [("student", "which train_classifier wrote"), ("", "has no history")])
def test_what_is_no_audit_is_refused(tmp_path, made, name, wrote):
    with pytest.raises(ValueError, match=wrote):
        regan.compare_classifiers(
            made["student_answers"], made["teacher_answers"], tmp_path / "report", audit=made.get(name, tmp_path)
        )


def test_an_output_that_holds_files_is_left_alone(tmp_path):
    one, two = answers(tmp_path / "one"), answers(tmp_path / "two", role="two")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError):
        regan.compare_classifiers(one, two, tmp_path / "report")
    assert (tmp_path / "report" / "mine.txt").read_text() == "keep"
