import numpy as np
import pytest
from scipy import stats

from regan.statistics.proportions import clopper_pearson, wilson

# Newcombe, Stat. Med. 17 (1998) 857-872, table I.
NEWCOMBE = [
    (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
    (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
    (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
    (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
]


@pytest.mark.parametrize(("successes", "total", "score", "exact"), NEWCOMBE)
def test_intervals_agree_with_newcombe(successes, total, score, exact):
    one, other = wilson(successes, total), clopper_pearson(successes, total)
    assert one.estimate == other.estimate == successes / total
    assert (one.lower, one.upper) == pytest.approx(score, abs=5e-5)
    assert (other.lower, other.upper) == pytest.approx(exact, abs=5e-5)


def test_all_right_reaches_one():
    assert wilson(20, 20).upper == pytest.approx(1)
    assert clopper_pearson(20, 20).upper == 1


@pytest.mark.parametrize(("successes", "total"), [(0, 0), (5, 4), (-1, 3)])
def test_impossible_counts_are_refused(successes, total):
    with pytest.raises(ValueError, match="at least one trial"):
        wilson(successes, total)


def test_a_level_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match="`confidence`"):
        wilson(1, 2, confidence=95)


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.8, 0.9])
def test_coverage_of_10000_samples_is_nominal(p):
    counts = np.arange(301)
    drawn = np.random.default_rng(0).binomial(300, p, 10_000)
    inside = {}
    for name, method in (("wilson", wilson), ("exact", clopper_pearson)):
        limits = [method(int(count), 300) for count in counts]
        covered = np.array([one.lower <= p <= one.upper for one in limits])
        inside[name] = covered[drawn].mean()
        assert inside[name] == pytest.approx(covered @ stats.binom.pmf(counts, 300, p), abs=0.01)
    assert 0.94 <= inside["wilson"] <= 0.96
    assert inside["exact"] >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 10_000)
