import pytest

from regan.artifacts.history import read_history, write_step
from regan.common.errors import WrongArtifactError
from regan.report.lineage import Lineage, ancestors


def test_student_teacher_and_control_are_found_by_the_inputs_of_the_comparison(steps):
    lineage = Lineage.of(steps)
    assert [(arm.role, arm.name) for arm in lineage.arms] == [
        ("reference", "teacher"),
        ("candidate", "student"),
        ("control", "control"),
    ]
    assert lineage.candidate.filters[0].rule == "agreement"
    assert lineage.control.filters[0].rule == "none"
    assert lineage.reference.image_steps[0].verb == "prepare_images"
    assert not lineage.reference.synthetic


def test_the_way_from_source_to_student_is_found_step_by_step(steps):
    lineage = Lineage.of(steps)
    assert [step.verb for step in (*lineage.preparations, *lineage.runs, *lineage.selections)] == [
        "prepare_images",
        "train_gan",
        "select_snapshot",
    ]
    assert {step.settings["label"] for step in lineage.generations} == {"benign", "malignant"}
    assert lineage.audit.verb == "audit_images"


def test_an_audit_that_the_comparison_did_not_name_is_found_by_its_images(steps):
    compare = Lineage.of(steps).compare
    compare.inputs.pop("audit")
    try:
        assert Lineage.of(steps).audit.verb == "audit_images"
    finally:
        compare.inputs["audit"] = [next(name for name in steps if "audit_images" in name)]


def test_rounds_are_followed_through_the_start_model(tmp_path):
    for name in ("images", "first", "second", "answers", "reference", "report"):
        (tmp_path / name).mkdir()
    images, first, second = (tmp_path / name for name in ("images", "first", "second"))
    write_step(images, "filter_images", {}, settings={}, seconds=0)
    write_step(first, "train_classifier", {"images": images}, settings={"round": 1}, seconds=0)
    write_step(second, "train_classifier", {"images": images, "start": first}, settings={"round": 2}, seconds=0)
    write_step(tmp_path / "answers", "evaluate_classifier", {"classifier": second}, settings={}, seconds=0)
    compared = {"candidate": tmp_path / "answers", "reference": tmp_path / "reference"}
    write_step(tmp_path / "report", "compare_classifiers", compared, settings={}, seconds=0)
    candidate = Lineage.of(read_history(tmp_path / "report")).candidate
    assert [step.settings["round"] for step in candidate.classifiers] == [2, 1]


def test_two_classifiers_of_real_images_are_candidate_and_reference(tmp_path):
    for name in ("real", "one", "two", "answers_one", "answers_two", "report"):
        (tmp_path / name).mkdir()
    write_step(tmp_path / "real", "prepare_images", {}, settings={}, seconds=0)
    for name in ("one", "two"):
        write_step(
            tmp_path / name, "train_classifier", {"images": tmp_path / "real"}, settings={"name": name}, seconds=0
        )
        write_step(
            tmp_path / f"answers_{name}", "evaluate_classifier", {"classifier": tmp_path / name}, settings={}, seconds=0
        )
    compared = {"candidate": tmp_path / "answers_one", "reference": tmp_path / "answers_two"}
    write_step(tmp_path / "report", "compare_classifiers", compared, settings={}, seconds=0)
    lineage = Lineage.of(read_history(tmp_path / "report"))
    assert [arm.name for arm in lineage.arms] == ["reference", "candidate"]
    assert lineage.control is None
    assert lineage.runs == ()


def test_a_comparison_without_further_history_is_enough(tmp_path):
    write_step(tmp_path, "compare_classifiers", {"candidate": tmp_path / "a"}, settings={}, seconds=0)
    lineage = Lineage.of(read_history(tmp_path))
    assert lineage.candidate.evaluation is None
    assert lineage.candidate.classifier is None


def test_a_history_without_a_comparison_is_refused(tmp_path):
    write_step(tmp_path, "prepare_images", {}, settings={}, seconds=0)
    with pytest.raises(WrongArtifactError, match=r"contains no comparison.*Received 1 steps: .*prepare_images"):
        Lineage.of(read_history(tmp_path))


def test_ancestors_come_once_each_and_in_the_order_of_the_work(steps):
    found = ancestors(steps, [Lineage.of(steps).compare])
    assert sorted(step.id for step in found) == sorted(steps)
    assert [step.number for step in found] == sorted(step.number for step in found)
