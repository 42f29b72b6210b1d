import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from regan.statistics.delong import auc, auc_interval, delong

LABELS = [1, 1, 1, 0, 0, 0, 0]
FIRST = [0.9, 0.8, 0.4, 0.7, 0.3, 0.2, 0.1]
SECOND = [0.6, 0.9, 0.5, 0.5, 0.4, 0.6, 0.1]


def test_seven_images_give_the_values_worked_by_hand():
    found = delong(LABELS, FIRST, SECOND)
    assert (found.auc_1, found.auc_2) == pytest.approx((11 / 12, 5 / 6))
    assert np.array(found.covariance) == pytest.approx(np.array([[1 / 72, 5 / 576], [5 / 576, 15 / 576]]))
    assert (found.z, found.p) == pytest.approx((2 / math.sqrt(13), 0.5790997), abs=5e-8)
    assert (found.lower + found.upper) / 2 == pytest.approx(found.difference)


def test_identical_scores_do_not_differ():
    found = delong(LABELS, FIRST, FIRST)
    assert (found.z, found.p, found.standard_error) == (0, 1, 0)
    assert found.lower < 0 < found.upper
    # Zou and Donner's square-and-add of the single AUC with itself.
    alone = auc_interval(LABELS, FIRST)
    reach = math.hypot(alone.estimate - alone.lower, alone.upper - alone.estimate)
    assert (found.lower, found.upper) == pytest.approx((-reach, reach))


def test_perfect_scores_have_no_variance():
    found = delong(LABELS, LABELS, [10 * y for y in LABELS])
    assert found.covariance == ((0, 0), (0, 0))
    assert (found.auc_1, found.z, found.p) == (1, 0, 1)


def test_opposite_answers_on_four_images_prove_nothing():
    found = delong([1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1])
    assert (found.difference, found.standard_error) == (1, 0)
    assert found.lower <= 0 < found.upper == 1
    assert 0.05 < found.p < 1
    assert 0 < found.noninferiority_p(0.05) < 1


def test_a_constant_score_has_an_interval_with_width():
    labels = [1] * 3 + [0] * 3
    alone = auc_interval(labels, [0.5] * 6)
    assert 0 < alone.lower < alone.estimate == 0.5 < alone.upper < 1
    found = delong(labels, labels, [0.5] * 6)
    assert found.lower < 0 < found.difference == 0.5 < found.upper
    assert found.p > 0.05


def test_two_perfect_scores_on_four_images_may_differ_widely():
    found = delong([1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0])
    alone = auc_interval([1, 1, 0, 0], [1, 1, 0, 0])
    assert (found.lower, found.upper) == pytest.approx((alone.lower - 1, 1 - alone.lower))
    assert found.noninferiority_p(0.05) > 0.025


@pytest.mark.parametrize("per_class", [2, 5, 20, 150])
@pytest.mark.parametrize("margin", [0.03, 0.05, 0.1])
def test_without_variance_the_tests_agree_with_the_interval(per_class, margin):
    labels = np.arange(2 * per_class) < per_class
    nearly = labels + np.where(np.arange(2 * per_class) == 0, -1.5, 0)
    for first, second in ((labels, labels), (nearly, labels), (labels, nearly), (labels, ~labels), (~labels, labels)):
        found = delong(labels, first, second)
        assert found.lower < found.upper
        assert (found.noninferiority_p(margin) < 0.025) == (found.lower > -margin)
        assert (found.p < 0.05) == (not found.lower <= 0 <= found.upper)


def test_without_variance_swapping_still_mirrors():
    labels = [1] * 4 + [0] * 4
    one, other = delong(labels, labels, [0.5] * 8), delong(labels, [0.5] * 8, labels)
    assert (one.lower, one.upper, one.z) == pytest.approx((-other.upper, -other.lower, -other.z))
    assert one.p == pytest.approx(other.p)


@pytest.mark.parametrize("decimals", [1, 8])
def test_large_and_tied_scores_agree_with_the_literal_form(oracle, decimals):
    random = np.random.default_rng(0)
    labels = random.random(90) < 0.4
    first, second = (np.round(labels + random.normal(size=90), decimals) for _ in range(2))
    found = delong(labels, first, second)
    assert found.auc_1 == pytest.approx(oracle.auc_by_counting(labels, first))
    assert found.auc_1 == pytest.approx(roc_auc_score(labels, first))
    expected = oracle.delong_covariance(labels, first, second)
    assert np.array(found.covariance) == pytest.approx(expected)
    variance = expected[0, 0] + expected[1, 1] - 2 * expected[0, 1]
    assert found.standard_error == pytest.approx(math.sqrt(variance))
    assert found.noninferiority_p(0.05) == pytest.approx(stats.norm.sf((found.difference + 0.05) / math.sqrt(variance)))


def test_swapping_the_models_flips_z_and_keeps_p():
    one, other = delong(LABELS, FIRST, SECOND), delong(LABELS, SECOND, FIRST)
    assert (one.z, one.p) == pytest.approx((-other.z, other.p))


def test_flipping_labels_and_scores_changes_nothing():
    one = delong(LABELS, FIRST, SECOND)
    other = delong([1 - y for y in LABELS], [-s for s in FIRST], [-s for s in SECOND])
    assert (one.auc_1, one.auc_2, one.z, one.p) == pytest.approx((other.auc_1, other.auc_2, other.z, other.p))


def test_noninferiority_agrees_with_the_interval():
    found = delong(LABELS, FIRST, SECOND)
    assert found.noninferiority_p(-found.lower) == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 1, 0], [1, 2], "of one length"),
        ([1, 1, 1], [1, 2, 3], "Too few images"),
        ([1, 1, 0, 0], [1, 2, math.nan, 3], "finite"),
    ],
)
def test_scores_that_allow_no_auc_are_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        auc(labels, scores)


def test_one_image_of_a_class_has_no_variance():
    with pytest.raises(ValueError, match="at least 2 positive"):
        delong([1, 0, 0], [3, 1, 2], [3, 2, 1])


def test_the_logit_interval_stays_inside_and_is_wider_below():
    random = np.random.default_rng(1)
    labels = np.arange(100) < 50
    scores = labels * 2.5 + random.normal(size=100)
    logit, wald = (auc_interval(labels, scores, method=method) for method in ("logit", "wald"))
    assert logit.upper < 1
    assert logit.estimate - logit.lower > logit.upper - logit.estimate
    width = special_logit_width(labels, scores)
    assert math.log(logit.upper / (1 - logit.upper)) - math.log(logit.lower / (1 - logit.lower)) == pytest.approx(width)
    assert (wald.lower + wald.upper) / 2 == pytest.approx(wald.estimate)


def special_logit_width(labels, scores):
    found = delong(labels, scores, np.zeros(len(scores)))
    return 2 * 1.959963984540054 * math.sqrt(found.covariance[0][0]) / (found.auc_1 * (1 - found.auc_1))


def test_perfect_separation_has_newcombes_interval():
    labels = [1] * 20 + [0] * 20
    found = auc_interval(labels, labels)
    assert (found.estimate, found.upper) == (1, 1)
    # The limit solves 1 - A = z sqrt(V(A)) with the variance of Newcombe 2006, method 5.
    a = found.lower
    variance = a * (1 - a) * (1 + 19 * ((1 - a) / (2 - a) + a / (1 + a))) / 400
    assert 1 - a == pytest.approx(1.959963984540054 * math.sqrt(variance))


def test_reversed_separation_mirrors_it():
    labels = [1] * 20 + [0] * 20
    one, other = auc_interval(labels, labels), auc_interval(labels, [-y for y in labels])
    assert (other.lower, other.upper) == pytest.approx((0, 1 - one.lower))


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="`method`"):
        auc_interval(LABELS, FIRST, method="bootstrap")


@pytest.mark.slow
@pytest.mark.parametrize("per_class", [50, 150])
def test_the_logit_interval_covers_an_auc_of_965(per_class):
    random = np.random.default_rng(4)
    shift = math.sqrt(2) * stats.norm.ppf(0.965)
    labels = np.arange(2 * per_class) < per_class
    covered = {"logit": 0, "wald": 0}
    for _ in range(10_000):
        scores = labels * shift + random.normal(size=2 * per_class)
        for method in covered:
            found = auc_interval(labels, scores, method=method)
            covered[method] += found.lower <= 0.965 <= found.upper
    print(f"{per_class} a class: logit {covered['logit'] / 1e4:.4f}, Wald {covered['wald'] / 1e4:.4f}")
    assert covered["logit"] >= 9400
    assert covered["wald"] < covered["logit"]


@pytest.mark.slow
def test_coverage_of_the_paired_interval_is_printed():
    random = np.random.default_rng(5)
    labels = np.arange(300) < 150
    strong, weak = (math.sqrt(2) * stats.norm.ppf(value) for value in (0.965, 0.905))
    covered = 0
    for _ in range(10_000):
        shared = random.normal(size=300) * math.sqrt(0.5)
        first = labels * strong + shared + random.normal(size=300) * math.sqrt(0.5)
        second = labels * weak + shared + random.normal(size=300) * math.sqrt(0.5)
        found = delong(labels, first, second)
        covered += found.lower <= 0.06 <= found.upper
    print(f"paired DeLong, AUC .965 against .905, 150 a class: coverage {covered / 1e4:.4f}")
    assert covered > 9000
