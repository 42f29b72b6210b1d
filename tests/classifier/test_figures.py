import numpy as np
import pytest

from regan.classifier.figures import measure, roc_points, youden_threshold
from regan.common.errors import TooFewImagesError


def test_the_threshold_lies_midway_between_the_images_that_it_parts():
    probabilities = [0.1, 0.2, 0.6, 0.9]
    assert youden_threshold(probabilities, [False, False, True, True]) == pytest.approx(0.5)  # 0.5 parts them too
    assert youden_threshold([0.1, 0.2, 0.3, 0.4], [False, False, True, True]) == pytest.approx(0.25)


def test_the_threshold_maximises_sensitivity_plus_specificity():
    random = np.random.default_rng(0)
    positive = random.random(200) < 0.3
    probabilities = np.clip(random.normal(0.2 + 0.2 * positive, 0.15), 0, 1)

    def j(threshold):
        called = probabilities >= threshold
        return called[positive].mean() - called[~positive].mean()

    best = max(j(threshold) for threshold in np.linspace(0, 1, 2001))
    assert j(youden_threshold(probabilities, positive)) == pytest.approx(best)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.25, 0.4375, 0.5625, 0.8125], 0.34375),  # the other one, 0.6875, is farther from 0.5
        ([0.1875, 0.4375, 0.5625, 0.75], 0.65625),
        ([0.25, 0.4375, 0.5625, 0.75], 0.34375),  # as near as 0.65625, and it misses no finding
    ],
)
def test_of_equal_thresholds_the_nearest_to_one_half_wins_and_then_the_lower(probabilities, expected):
    # J is 1/2 below the two in the middle and above them, and 0 between.
    assert youden_threshold(probabilities, [False, True, False, True]) == expected


def test_equal_probabilities_leave_the_threshold_at_one_half():
    assert youden_threshold([0.9, 0.9], [True, False]) == 0.5


def test_the_figures_of_delongs_example_are_those_of_the_literature():
    # STATISTICS.md D1: A = [.9, .8, .4, .7, .3, .2, .1] has AUC 11/12.
    figures = measure([0.9, 0.8, 0.4, 0.7, 0.3, 0.2, 0.1], [True] * 3 + [False] * 4, 0.5)
    assert figures.auc == pytest.approx(11 / 12)
    assert (figures.true_positive, figures.false_negative) == (2, 1)
    assert (figures.true_negative, figures.false_positive) == (3, 1)
    assert (figures.sensitivity, figures.specificity) == (2 / 3, 3 / 4)
    assert figures.accuracy == 5 / 7


def test_the_brier_score_is_the_mean_squared_difference():
    assert measure([0.1, 0.9, 0.8, 0.3], [False, True, True, False], 0.5).brier == pytest.approx(0.0375)


def test_an_image_at_the_threshold_is_called_positive():
    assert measure([0.5, 0.4], [True, False], 0.5).true_positive == 1


def test_one_class_alone_cannot_be_measured():
    with pytest.raises(TooFewImagesError, match="2 positive and 0 negative"):
        measure([0.1, 0.2], [True, True], 0.5)


def test_the_roc_curve_runs_from_corner_to_corner_and_encloses_the_auc():
    probabilities, positive = [0.9, 0.8, 0.4, 0.7, 0.3], [True, True, True, False, False]
    x, y = roc_points(probabilities, positive)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(measure(probabilities, positive, 0.5).auc)
