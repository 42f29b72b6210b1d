"""What the report says about the control; the powers are distances between the classes' scores."""

from dataclasses import replace

import pytest

from regan.artifacts.history import read_history
from regan.report.control_reading import acceptance_text, difference, measure, near_chance, read_control
from regan.report.lineage import Lineage


@pytest.fixture(scope="module")
def reading_of(build_report):
    def read(**options):
        return read_control(Lineage.of(read_history(build_report(per_sheet=1, **options))))

    return read


def test_a_student_far_above_a_control_near_guessing_learned_from_the_filter(reading_of):
    first = reading_of(student=2.45, control=0.1)[0]
    assert first.kind == "warning"
    assert first.title == "The filter, not the images, taught the student"
    assert "near guessing" in first.text
    assert "61\N{NO-BREAK SPACE}% of the benign images and 47\N{NO-BREAK SPACE}% of the malignant images" in first.text


def test_a_student_better_than_a_good_control_owes_part_of_it_to_the_filter(reading_of):
    first = reading_of(student=2.45, control=1.5)[0]
    assert (first.kind, first.title) == ("caution", "Part of what the student knows comes from the filter")


def test_a_control_as_good_as_the_student_speaks_for_the_images(reading_of):
    first = reading_of(student=2.0, control=2.0)[0]
    assert (first.kind, first.title) == ("plain", "The images carry the difference themselves")
    assert "does not mean there is none" in first.text


def test_a_control_better_than_the_student_speaks_against_the_filter(reading_of):
    first = reading_of(student=1.2, control=2.4)[0]
    assert (first.kind, first.title) == ("caution", "Filtering did harm here")


def test_student_and_control_near_guessing_are_both_called_so(reading_of):
    first = reading_of(student=0.1, control=0.1)[0]
    assert (first.kind, first.title) == ("warning", "Neither student nor control does clearly better than guessing")


def test_a_teacher_near_guessing_is_said_before_all_else(reading_of):
    first = reading_of(teacher=0.1, student=0.1, control=0.1)[0]
    assert (first.kind, first.title) == ("warning", "The teacher itself is near guessing")


def test_a_missing_control_is_said(reading_of):
    first = reading_of(leave_out=("control",))[0]
    assert (first.kind, first.title) == ("caution", "There is no control")


def test_a_control_of_another_size_or_with_a_filter_of_its_own_is_called_unfair(steps):
    lineage = Lineage.of(steps)
    smaller = replace(lineage.control.classifier, counts={"num_images": 99}, figures={})
    filtered = replace(lineage.control.filters[0], settings={"rule": "confidence"})
    control = replace(lineage.control, classifiers=(smaller,), image_steps=(filtered,))
    unfair = read_control(replace(lineage, control=control))[-1]
    assert unfair.title == "The control is not a fair one"
    assert "2,824 images and the control from 99" in unfair.text
    assert "rule: confidence" in unfair.text


def test_a_comparison_of_real_classifiers_needs_no_control(steps):
    lineage = Lineage.of(steps)
    real = replace(lineage, candidate=lineage.reference, control=None)
    assert read_control(real) == []


def test_values_that_are_no_numbers_are_no_evidence(steps):
    compare = replace(Lineage.of(steps).compare, tables={"measures": [{"classifier": "control", "measure": "auc"}]})
    assert measure(compare, "control", "auc") is None
    assert difference(compare, "candidate - control", "auc") is None
    lineage = replace(Lineage.of(steps), compare=compare)
    assert "does not say" in read_control(lineage)[0].text


@pytest.mark.parametrize(
    ("row", "near"),
    [
        ({"value": 0.64, "lower": 0.58}, True),
        ({"value": 0.7, "lower": 0.5}, True),
        ({"value": 0.7, "lower": 0.51}, False),
    ],
)
def test_near_guessing_is_a_low_auc_or_an_interval_that_reaches_one_half(row, near):
    assert near_chance(row) is near


def test_no_acceptance_table_gives_no_sentence():
    assert acceptance_text([]) == ""
