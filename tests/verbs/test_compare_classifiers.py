import importlib.util
import json
import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest

import regan
from regan.artifacts.entries import AuditImagesEntry
from regan.artifacts.entry import write_entry
from regan.artifacts.history import last_step
from regan.common.errors import ConflictError, WrongArtifactError
from regan.statistics.comparison import compare_predictions
from regan.statistics.predictions import Predictions
from regan.storage import fetch_latest, latest, push_latest
from tests.entries import sample
from tests.servers.start import s3_server, use_s3


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
    assert "The history contains no training of the classifiers." in html


def test_other_images_are_refused(tmp_path):
    one = answers(tmp_path / "one")
    other = changed(one, tmp_path / "other", sha256=np.array([f"{i + 7:064x}" for i in range(40)]))
    with pytest.raises(ValueError, match=r"not tested on the same images.*7 images that only the candidate"):
        regan.compare_classifiers(one, other, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_other_images_of_the_control_are_refused_too(tmp_path):
    one, two = answers(tmp_path / "one"), answers(tmp_path / "two", role="two")
    other = changed(one, tmp_path / "other", sha256=np.array([f"{i + 7:064x}" for i in range(40)]))
    with pytest.raises(ValueError, match="not tested on the same images"):
        regan.compare_classifiers(one, two, tmp_path / "report", control=other)


def test_another_positive_class_is_refused(tmp_path):
    one = answers(tmp_path / "one")
    other = answers(tmp_path / "other", classes=("malignant", "benign"))
    with pytest.raises(ValueError, match=r"different positive classes\. Received 'malignant' and 'benign'"):
        regan.compare_classifiers(one, other, tmp_path / "report")


def test_decisions_that_follow_no_single_threshold_are_refused(tmp_path):
    one = answers(tmp_path / "one")
    predicted = Predictions.read(one).predicted.copy()
    predicted[np.argmin(Predictions.read(one).probability)] = True
    other = changed(one, tmp_path / "other", predicted=predicted)
    with pytest.raises(
        ValueError, match=r"^The reference predictions do not follow one threshold.*Run evaluate_classifier"
    ):
        regan.compare_classifiers(one, other, tmp_path / "report")


def test_thresholds_may_differ_between_classifiers(tmp_path):
    one, two = answers(tmp_path / "one"), answers(tmp_path / "two", role="two", threshold=0.2)
    assert regan.compare_classifiers(one, two, tmp_path / "report", endpoint="accuracy").verdict


def test_the_same_folder_twice_is_refused(tmp_path):
    one = answers(tmp_path / "one")
    with pytest.raises(ValueError, match="the same folder was passed twice"):
        regan.compare_classifiers(one, tmp_path / "x" / ".." / "one", tmp_path / "report")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"endpoint": "f1"}, "`endpoint` must be one of"), ({"margin": 0.0}, "`margin` must be between 0 and 1")],
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
    write_entry(tmp_path / "audit", sample(AuditImagesEntry), {"synthetic": made["unfiltered"]}, seconds=0)
    with pytest.raises(WrongArtifactError, match=r"The audit in .* is of .*filter_images.*, but the candidate"):
        regan.compare_classifiers(
            made["student_answers"], made["teacher_answers"], tmp_path / "report", audit=tmp_path / "audit"
        )


@pytest.mark.parametrize(("name", "wrote"), [("student", "train_classifier wrote it"), ("", "has no history")])
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


# A report that is kept at an address.


@pytest.fixture
def pair(tmp_path):
    return answers(tmp_path / "one"), answers(tmp_path / "two", role="two", power=1.0)


@pytest.fixture
def kept(tmp_path):
    """The newest version at the address, as a folder and as the verdict in it."""

    def fetched(uri):
        folder = tmp_path / f"kept {os.urandom(4).hex()}"
        fetch_latest(str(uri), folder)
        return folder, json.loads((folder / "verdict.json").read_text())

    return fetched


def last_shown(folder):
    return last_step(folder).settings["last_verdict"]


def test_the_report_and_its_verdict_are_kept_and_the_next_one_shows_them(pair, tmp_path, kept):
    uri = tmp_path / "reports"
    first = regan.compare_classifiers(*pair, tmp_path / "r1", report_uri=str(uri), run_key="a", data_version="one")
    folder, _ = kept(uri)
    assert {path.name for path in folder.iterdir()} == {"report.html", "verdict.json"}
    assert (folder / "report.html").read_bytes() == (first.path / "report.html").read_bytes()
    assert last_shown(first.path) == {}
    more = answers(tmp_path / "three", images=60), answers(tmp_path / "four", images=60, role="two", power=1.0)
    second = regan.compare_classifiers(*more, tmp_path / "r2", report_uri=str(uri), run_key="b", data_version="two")
    shown = last_shown(second.path)
    assert (shown["verdict"], shown["sentence"], shown["difference"]) == (
        first.verdict,
        first.sentence,
        first.difference,
    )
    assert (shown["num_images"], shown["data_version"], shown["run_key"]) == (40, "one", "a")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", shown["date"])
    html = (second.path / "report.html").read_text()
    assert "the data, the test images (20 images more)" in html
    _, newest = kept(uri)
    assert (newest["run_key"], newest["before"]["run_key"], newest["verdict"]) == ("b", "a", second.verdict)
    assert "before" not in newest["before"]
    assert latest(str(uri)).number == 2


def test_the_previous_verdict_changes_nothing_but_what_is_shown(pair, tmp_path):
    uri = str(tmp_path / "reports")
    alone = regan.compare_classifiers(*pair, tmp_path / "alone")
    regan.compare_classifiers(pair[1], pair[0], tmp_path / "r1", report_uri=uri, endpoint="accuracy", margin=0.2)
    beside = regan.compare_classifiers(*pair, tmp_path / "r2", report_uri=uri)
    assert (alone.path / "comparison.json").read_bytes() == (beside.path / "comparison.json").read_bytes()
    one, two = (last_step(folder.path) for folder in (alone, beside))
    assert (one.figures, one.tables, one.counts) == (two.figures, two.tables, two.counts)
    assert one.settings == {key: value for key, value in two.settings.items() if key != "last_verdict"}


def test_a_repeated_run_shows_the_verdict_before_its_own(pair, tmp_path, kept):
    uri = str(tmp_path / "reports")
    for number, key in enumerate(("a", "b", "b", "b")):
        made = regan.compare_classifiers(*pair, tmp_path / f"r{number}", report_uri=uri, run_key=key)
    assert last_shown(made.path)["run_key"] == "a"
    assert kept(uri)[1]["before"]["run_key"] == "a"


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format": 9}'])
def test_a_previous_verdict_that_cannot_be_read_is_told_and_stops_nothing(pair, tmp_path, kept, caplog, data):
    uri = str(tmp_path / "reports")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "verdict.json").write_bytes(data)
    push_latest(tmp_path / "odd", uri, None)
    with caplog.at_level(logging.WARNING, "regan"):
        made = regan.compare_classifiers(*pair, tmp_path / "report", report_uri=uri)
    assert "is not shown" in caplog.text
    assert last_shown(made.path) == {}
    assert kept(uri)[1]["verdict"] == made.verdict


def test_a_damaged_version_is_told_and_stops_nothing(pair, tmp_path, kept):
    uri = tmp_path / "reports"
    regan.compare_classifiers(*pair, tmp_path / "r1", report_uri=str(uri))
    for path in (uri / "objects").iterdir():
        path.write_bytes(b"x")
    made = regan.compare_classifiers(*pair, tmp_path / "r2", report_uri=str(uri), run_key="new")
    assert last_shown(made.path) == {}
    assert kept(uri)[1]["run_key"] == "new"


def test_an_address_that_holds_something_else_is_refused_before_the_work(tmp_path):
    (tmp_path / "uri").mkdir()
    (tmp_path / "uri" / "latest.json").write_text("{}")
    with pytest.raises(ValueError, match="another program wrote it"):
        regan.compare_classifiers(tmp_path / "a", tmp_path / "b", tmp_path / "r", report_uri=str(tmp_path / "uri"))


def with_rivals(monkeypatch, number, uri, pair, tmp_path):
    """Let `number` other runs keep their reports while this one writes."""
    import regan.report.page as page

    write, waiting = page.write_report, list(range(number))

    def after_a_rival(*arguments, **options):
        write(*arguments, **options)
        if waiting:
            place = waiting.pop()
            monkeypatch.setattr(page, "write_report", write)
            regan.compare_classifiers(*pair, tmp_path / f"rival {place}", report_uri=uri, run_key=f"rival {place}")
            monkeypatch.setattr(page, "write_report", after_a_rival)

    monkeypatch.setattr(page, "write_report", after_a_rival)


def test_a_run_that_was_overtaken_shows_the_verdict_of_the_faster_one(pair, tmp_path, monkeypatch, kept):
    uri = str(tmp_path / "reports")
    with_rivals(monkeypatch, 1, uri, pair, tmp_path)
    made = regan.compare_classifiers(*pair, tmp_path / "report", report_uri=uri, run_key="mine")
    assert last_shown(made.path)["run_key"] == "rival 0"
    assert kept(uri)[1]["run_key"] == "mine"
    assert len(list((made.path / "history").glob("*compare_classifiers*"))) == 1


def test_a_run_that_was_overtaken_twice_gives_up_and_leaves_nothing(pair, tmp_path, monkeypatch, kept):
    uri = str(tmp_path / "reports")
    with_rivals(monkeypatch, 2, uri, pair, tmp_path)
    with pytest.raises(ConflictError, match=r"^Other runs changed .* twice.*Compare again"):
        regan.compare_classifiers(*pair, tmp_path / "report", report_uri=uri)
    assert not (tmp_path / "report").exists()
    assert kept(uri)[1]["run_key"] == "rival 0"


def test_the_report_is_kept_in_a_bucket(pair, tmp_path, monkeypatch, kept):
    with s3_server() as url:
        uri = f"{use_s3(url, monkeypatch.setenv)}/reports/breast"
        regan.compare_classifiers(*pair, tmp_path / "r1", report_uri=uri, run_key="a")
        made = regan.compare_classifiers(*pair, tmp_path / "r2", report_uri=uri, run_key="b")
        newest = kept(uri)[1]
    assert last_shown(made.path)["run_key"] == "a"
    assert newest["run_key"] == "b"
