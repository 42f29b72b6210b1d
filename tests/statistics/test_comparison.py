import json
import math

import numpy as np
import pytest

from regan.common.errors import SettingError, TooFewImagesError
from regan.statistics.comparison import ENDPOINTS, compare_predictions
from regan.statistics.delong import delong
from regan.statistics.mcnemar import exact_mcnemar, midp_mcnemar
from regan.statistics.paired import paired_table, tango_interval
from regan.statistics.predictions import Predictions

N = 200
LABEL = np.arange(N) < N // 2
NAMES = np.array([f"image-{i:03d}" for i in range(N)])


def answers(probability, *, group=None, threshold=0.5, order=None):
    order = np.arange(N) if order is None else order
    group = np.full(N, "") if group is None else group
    probability = np.asarray(probability)
    columns = (NAMES, group, LABEL, probability, probability >= threshold)
    return Predictions(*(column[order] for column in columns), "malignant", "benign")


def probabilities(seed, strength):
    scores = strength * (LABEL - 0.5) + np.random.default_rng(seed).normal(size=N)
    return 1 / (1 + np.exp(-scores))


GOOD, POOR = probabilities(0, 4.0), probabilities(1, 1.5)


def of(comparison, endpoint):
    return next(one for one in comparison.differences if one.endpoint == endpoint)


def test_the_auc_is_compared_by_delong():
    found, expected = compare_predictions(answers(POOR), answers(GOOD)), delong(LABEL, POOR, GOOD)
    assert (found.difference, found.lower, found.upper) == (expected.difference, expected.lower, expected.upper)
    assert found.p == expected.p
    assert found.p_noninferiority == expected.noninferiority_p(0.05)
    assert (found.verdict, found.unit, found.num_units) == ("inferior", "image", N)
    assert (found.num_positive, found.num_negative) == (100, 100)


@pytest.mark.parametrize(
    ("endpoint", "rows"), [("accuracy", slice(None)), ("sensitivity", slice(0, 100)), ("specificity", slice(100, None))]
)
def test_shares_are_compared_by_tango_and_mid_p(endpoint, rows):
    candidate, reference = answers(POOR), answers(GOOD)
    found = compare_predictions(candidate, reference, endpoint=endpoint)
    table = paired_table(candidate.right[rows], reference.right[rows])
    expected = tango_interval(table)
    assert (found.difference, found.lower, found.upper) == (expected.estimate, expected.lower, expected.upper)
    assert found.p == midp_mcnemar(table)
    assert of(found, endpoint).p_exact == exact_mcnemar(table)
    assert of(found, endpoint).table == table


def test_row_order_changes_nothing():
    order = np.random.default_rng(2).permutation(N)
    straight = compare_predictions(answers(POOR), answers(GOOD))
    shuffled = compare_predictions(answers(POOR), answers(GOOD, order=order))
    assert straight.as_dict() == shuffled.as_dict()


def test_swapping_the_two_mirrors_every_difference():
    one, other = compare_predictions(answers(POOR), answers(GOOD)), compare_predictions(answers(GOOD), answers(POOR))
    for endpoint in ENDPOINTS:
        a, b = of(one, endpoint), of(other, endpoint)
        assert (a.interval.lower, a.interval.upper) == pytest.approx((-b.interval.upper, -b.interval.lower))
        assert a.p == pytest.approx(b.p)
    assert other.verdict == "superior"


def test_the_same_answers_are_non_inferior_and_the_notes_say_why():
    found = compare_predictions(answers(GOOD), answers(GOOD))
    assert (found.difference, found.p, found.verdict) == (0, 1, "non-inferior")
    assert found.lower < 0 < found.upper
    assert any("the standard error of the difference cannot be estimated" in note for note in found.notes)


def few(probability, label, group=""):
    label, probability = np.array(label, bool), np.asarray(probability, float)
    groups = np.array([group and f"{group}-{i // 2}" for i in range(len(label))])
    return Predictions(NAMES[: len(label)], groups, label, probability, probability >= 0.5, "malignant", "benign")


@pytest.mark.parametrize(
    ("label", "candidate", "reference"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]),
        ([1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0.5] * 6),
        ([1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]),
    ],
)
@pytest.mark.parametrize("group", ["", "patient"])
def test_a_handful_of_images_proves_nothing(label, candidate, reference, group):
    found = compare_predictions(few(candidate, label, group), few(reference, label, group))
    assert found.verdict == "inconclusive"
    assert found.upper - found.lower > 0.3
    assert found.p > 0.05
    assert found.p_noninferiority > 0.025
    assert not any("alike on every image" in note for note in found.notes)
    assert any("cannot be estimated" in note for note in found.notes)


def test_perfect_scores_on_many_images_are_non_inferior():
    found = compare_predictions(answers(LABEL.astype(float)), answers(LABEL.astype(float)))
    assert found.verdict == "non-inferior"
    assert -0.05 < found.lower < 0
    assert 0 < found.p_noninferiority < 0.025


def test_lost_sensitivity_is_told_although_the_endpoint_is_another():
    # The scores are those of the reference; the threshold is so high that cancers are missed.
    found = compare_predictions(answers(GOOD, threshold=0.9), answers(GOOD), names=("student", "teacher"))
    missed = found.candidate.false_negative
    assert found.verdict == "non-inferior"
    assert of(found, "sensitivity").outcome == "inferior"
    assert f"Sensitivity taken alone is inferior: the student misses {missed} of 100 malignant images" in found.sentence


def test_kept_sensitivity_is_not_mentioned():
    assert "Sensitivity" not in compare_predictions(answers(GOOD), answers(GOOD)).sentence


def test_groups_of_several_images_bring_in_the_bootstrap():
    group = np.array([f"patient-{i // 2}" for i in range(N)])
    found = compare_predictions(answers(POOR, group=group), answers(GOOD, group=group))
    plain = compare_predictions(answers(POOR), answers(GOOD))
    assert (found.unit, found.num_units) == ("group", 100)
    assert found.difference == pytest.approx(plain.difference)
    assert found.lower != plain.lower
    assert (found.lower, found.upper) == pytest.approx((plain.lower, plain.upper), abs=0.03)
    assert all("bootstrap over groups" in one.method for one in found.differences)
    assert any("not independent" in note for note in found.notes)


def test_one_image_of_each_group_needs_no_bootstrap():
    group = np.array([f"patient-{i}" for i in range(N)])
    assert compare_predictions(answers(POOR, group=group), answers(GOOD, group=group)).unit == "image"


def test_each_classifier_is_described_alone():
    found = compare_predictions(answers(POOR), answers(GOOD)).reference
    right = (GOOD >= 0.5) == LABEL
    assert found.true_positive == right[LABEL].sum()
    assert found.false_positive == (~right)[~LABEL].sum()
    assert found.true_positive + found.false_negative == 100
    assert found.sensitivity.estimate == found.true_positive / 100
    assert found.brier == pytest.approx(np.mean((GOOD - LABEL) ** 2))
    assert found.auc.lower < found.auc.estimate < found.auc.upper < 1


def test_the_tables_are_flat_finite_and_complete():
    found = compare_predictions(answers(POOR), answers(GOOD), endpoint="sensitivity")
    rows = found.tests()
    assert all(set(row) == {"name", "value", "lower", "upper", "p", "method"} for row in rows)
    assert rows[0]["name"] == "sensitivity, candidate minus reference"
    assert len(rows) == 3 * 3 + 2
    assert all(math.isfinite(row["p"]) for row in rows)
    assert len(found.measures()) == 8
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["verdict"] == found.verdict


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"endpoint": "f1"}, "`endpoint` must be one of"), ({"margin": 0}, "`margin` must be between")],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        compare_predictions(answers(POOR), answers(GOOD), **settings)


def test_a_class_with_one_image_is_refused():
    keep = np.arange(99, N)
    candidate = answers(POOR, order=keep)
    with pytest.raises(TooFewImagesError, match="1 of malignant and 100 others"):
        compare_predictions(candidate, candidate)
