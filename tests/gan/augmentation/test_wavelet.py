import numpy as np
import pytest

from regan.gan.augmentation.wavelet import CENTRE, FIRST, SYM6, TAPS, doubling_matrix, halving_matrix, reflect


def test_the_filter_is_orthogonal_to_its_even_shifts_and_has_six_vanishing_moments():
    for shift in range(6):
        assert SYM6[: TAPS - 2 * shift] @ SYM6[2 * shift :] == pytest.approx(float(shift == 0), abs=1e-11)
    n = np.arange(TAPS)
    for power in range(6):
        assert ((-1) ** n * n**power) @ SYM6 == pytest.approx(0, abs=1e-8)
    assert SYM6.sum() == pytest.approx(2**0.5)


def test_a_doubled_and_halved_row_is_the_row_itself_away_from_its_ends():
    row = np.random.default_rng(0).standard_normal(32)
    places = np.zeros(2 * 32 + TAPS - 2)
    places[FIRST : FIRST + 64] = doubling_matrix(32) @ row
    assert (halving_matrix(32) @ places)[6:-6] == pytest.approx(row[6:-6], abs=1e-10)


def test_doubling_and_halving_keep_constants_and_straight_lines():
    assert doubling_matrix(32) @ np.ones(32) == pytest.approx(np.ones(64))
    assert halving_matrix(32) @ np.ones(74) == pytest.approx(np.ones(32))
    doubled = (doubling_matrix(32) @ np.arange(32.0))[8:-8]
    assert doubled == pytest.approx((np.arange(FIRST, FIRST + 64)[8:-8] - CENTRE) / 2)


def test_beyond_its_ends_a_row_is_seen_mirrored():
    assert [reflect(pixel, 4) for pixel in range(-4, 8)] == [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]
