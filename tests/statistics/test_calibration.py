import pytest
from sklearn.metrics import brier_score_loss

from regan.statistics.calibration import brier, calibration_error


def test_brier_of_four_images():
    assert brier([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]) == pytest.approx(0.0375)
    assert brier([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]) == pytest.approx(
        brier_score_loss([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3])
    )


def test_calibration_error_of_five_images_in_two_bins():
    found = calibration_error([0, 0, 1, 1, 1], [0.25, 0.25, 0.55, 0.75, 0.75], num_bins=2)
    assert (found.l1, found.l2, found.largest) == pytest.approx((0.29, 0.2918, 0.3167), abs=5e-5)


def test_equal_mass_bins_hold_as_many_images_each():
    # Halves by rank: (.1, .2) with no positive, (.3, .4) with two.
    found = calibration_error([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], num_bins=2, equal_mass=True)
    assert found.l1 == pytest.approx((0.15 + 0.65) / 2)
    assert found.largest == pytest.approx(0.65)


def test_a_probability_of_one_falls_into_the_last_bin():
    assert calibration_error([1, 0], [1.0, 0.0], num_bins=10).l1 == 0


@pytest.mark.parametrize(("labels", "probabilities"), [([1], [1.2]), ([1, 0], [0.5]), ([], [])])
def test_impossible_probabilities_are_refused(labels, probabilities):
    with pytest.raises(ValueError, match="robabilities"):
        brier(labels, probabilities)


def test_no_bins_are_refused():
    with pytest.raises(ValueError, match="`num_bins`"):
        calibration_error([1], [0.5], num_bins=0)
