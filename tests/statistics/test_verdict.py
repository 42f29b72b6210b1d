import pytest

from regan.common.errors import SettingError
from regan.statistics.proportions import Interval
from regan.statistics.verdict import sentence, verdict


@pytest.mark.parametrize(
    ("lower", "upper", "outcome", "worse"),
    [
        (0.01, 0.05, "superior", False),
        (0.0, 0.05, "non-inferior", False),
        (-0.04, 0.01, "non-inferior", False),
        (-0.04, -0.01, "non-inferior", True),
        (-0.05, -0.01, "inferior", True),
        (-0.20, -0.10, "inferior", True),
        (-0.05, 0.0, "inconclusive", False),
        (-0.20, 0.10, "inconclusive", False),
    ],
)
def test_the_interval_decides(lower, upper, outcome, worse):
    found = verdict(Interval((lower + upper) / 2, lower, upper), 0.05)
    assert (found.outcome, found.measurably_worse) == (outcome, worse)


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.05, 5])
def test_an_impossible_margin_is_refused(margin):
    with pytest.raises(SettingError, match="`margin` must be between 0 and 1"):
        verdict(Interval(0, -0.1, 0.1), margin)


def test_the_sentence_says_measurably_worse_inside_the_margin():
    text = sentence(Interval(-0.02, -0.03, -0.01), 0.05, measure="AUC", names=("student", "teacher"))
    assert "The student is non-inferior to the teacher in AUC" in text
    assert "measurably worse" in text
    assert "-0.030 to -0.010" in text


def test_the_sentence_never_calls_an_open_question_the_same():
    text = sentence(Interval(-0.02, -0.10, 0.06), 0.05, measure="AUC")
    assert text.startswith("Inconclusive")
    assert "does not mean that they are the same" in text


@pytest.mark.parametrize(("lower", "upper"), [(-0.20, -0.10), (-0.20, -0.0501)])
def test_a_whole_interval_beyond_the_margin_is_a_loss_that_exceeds_it(lower, upper):
    text = sentence(Interval((lower + upper) / 2, lower, upper), 0.05, measure="AUC")
    assert text.endswith("; the loss exceeds the declared margin of 0.05.")
    assert "not excluded" not in text


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (-0.20, -0.01),
        (-0.05, -0.01),  # the lower end on the margin
        (-0.20, -0.05),  # the upper end on the margin: a loss of exactly the margin does not exceed it
        (-0.05, -0.05),
    ],
)
def test_an_interval_that_only_reaches_the_margin_keeps_the_weaker_words(lower, upper):
    difference = Interval((lower + upper) / 2, lower, upper)
    text = sentence(difference, 0.05, measure="AUC")
    assert verdict(difference, 0.05).outcome == "inferior"
    assert text.endswith("; it is worse, and a loss of the declared margin of 0.05 or more is not excluded.")
    assert "exceeds" not in text


@pytest.mark.parametrize(("lower", "upper", "word"), [(0.01, 0.03, "superior"), (-0.2, -0.1, "inferior")])
def test_the_sentence_names_the_outcome(lower, upper, word):
    text = sentence(Interval((lower + upper) / 2, lower, upper), 0.05, measure="AUC")
    assert f"is {word} to the reference" in text
    assert "measurably worse" not in text
