"""What the report says about the control; the powers are distances between the classes' scores."""

from dataclasses import replace

import pytest

from regan.artifacts.history import read_history
from regan.artifacts.rows import MeasureRow
from regan.report.control_reading import acceptance_text, difference, measure, near_chance, read_control
from regan.report.lineage import Lineage


@pytest.fixture(scope="module")
def reading_of(build_report):
    def read(**options):
        return read_control(Lineage.of(read_history(build_report(per_sheet=1, **options))))

    return read


def test_a_student_far_above_a_control_near_chance_learned_from_the_filter(reading_of):
    first = reading_of(student=2.45, control=0.1)[0]
    assert first.kind == "warning"
    assert first.title == "The filter, not the images, taught the student"
    assert "near chance" in first.text
    assert "61\N{NO-BREAK SPACE}% of the benign images and 47\N{NO-BREAK SPACE}% of the malignant images" in first.text


def test_a_student_better_than_a_good_control_owes_part_of_it_to_the_filter(reading_of):
    first = reading_of(student=2.45, control=1.5)[0]
    assert (first.kind, first.title) == ("caution", "Part of the performance of the student comes from the filter")


def test_a_control_as_good_as_the_student_speaks_for_the_images(reading_of):
    first = reading_of(student=2.0, control=2.0)[0]
    assert (first.kind, first.title) == ("plain", "The images carry the difference themselves")
    assert "does not mean there is none" in first.text


def test_a_control_better_than_the_student_speaks_against_the_filter(reading_of):
    first = reading_of(student=1.2, control=2.4)[0]
    assert (first.kind, first.title) == ("caution", "Filtering made the student worse")


def test_student_and_control_near_chance_are_both_called_so(reading_of):
    first = reading_of(student=0.1, control=0.1)[0]
    assert (first.kind, first.title) == ("warning", "Neither student nor control is clearly better than chance")


def test_a_teacher_near_chance_is_said_before_all_else(reading_of):
    first = reading_of(teacher=0.1, student=0.1, control=0.1)[0]
    assert (first.kind, first.title) == ("warning", "The teacher itself is near chance")


def test_a_missing_control_is_said(reading_of):
    first = reading_of(leave_out=("control",))[0]
    assert (first.kind, first.title) == ("caution", "There is no control")


def test_a_control_of_another_size_or_with_a_filter_of_its_own_is_called_unfair(steps):
    lineage = Lineage.of(steps)
    trained, steps = lineage.control.classifier, lineage.control.filter_steps
    smaller = replace(trained, counts=trained.counts | {"num_images": 99})
    filtered = replace(steps[0], settings=steps[0].settings | {"rule": "confidence"})
    control = replace(lineage.control, classifiers=(smaller,), image_steps=(filtered,))
    unfair = read_control(replace(lineage, control=control))[-1]
    assert unfair.title == "The control is not a fair one"
    assert "2,824 images and the control on 99" in unfair.text
    assert "rule: confidence" in unfair.text


def test_a_comparison_of_real_classifiers_needs_no_control(steps):
    lineage = Lineage.of(steps)
    real = replace(lineage, candidate=lineage.reference, control=None)
    assert read_control(real) == []


def test_a_control_without_results_is_said(steps):
    lineage = Lineage.of(steps)
    tables = lineage.compare.tables | {"measures": [], "differences": []}
    lineage = replace(lineage, compare=replace(lineage.compare, tables=tables))
    assert measure(lineage.comparison, "control", "auc") is None
    assert difference(lineage.comparison, "candidate - control", "auc") is None
    assert "does not contain" in read_control(lineage)[0].text


@pytest.mark.parametrize(
    ("row", "near"),
    [
        ((0.64, 0.58), True),
        ((0.7, 0.5), True),
        ((0.7, 0.51), False),
        ((0.7, None), False),
    ],
)
def test_near_chance_is_a_low_auc_or_an_interval_that_reaches_one_half(row, near):
    assert near_chance(MeasureRow("control", "auc", *row, 0.8)) is near


def test_no_acceptance_table_gives_no_sentence():
    assert acceptance_text([]) == ""
