import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regan.statistics.paired import (
    PairedTable,
    noninferiority_test,
    paired_table,
    sample_size,
    score_statistic,
    tango_interval,
)

COUNT = st.integers(0, 60)


def tables():
    return st.tuples(COUNT, COUNT, COUNT, COUNT).filter(lambda t: sum(t) > 0).map(lambda t: PairedTable(*t))


@pytest.mark.parametrize(
    ("table", "confidence", "limits", "digits"),
    [
        ((1, 1, 7, 12), 0.95, (-0.5172, -0.0260), 5e-5),  # Fagerland 2013, airway hyper-responsiveness
        ((794, 150, 86, 570), 0.95, (0.0214, 0.0590), 5e-5),  # Agresti, approval of the prime minister
        ((43, 0, 1, 0), 0.90, (-0.0957, 0.0365), 5e-5),  # Tango 1998, table V
        ((4, 9, 3, 16), 0.95, (-0.027, 0.390), 5e-4),  # Tango 1998, table VII
    ],
)
def test_the_interval_agrees_with_published_ones(table, confidence, limits, digits):
    found = tango_interval(PairedTable(*table), confidence=confidence)
    assert (found.lower, found.upper) == pytest.approx(limits, abs=digits)
    assert found.estimate == (table[1] - table[2]) / sum(table)


def test_the_noninferiority_test_agrees_with_tango():
    found = noninferiority_test(PairedTable(43, 0, 1, 0), 0.10)
    assert found.z == pytest.approx(1.7086, abs=5e-5)
    assert found.p == pytest.approx(0.0438, abs=5e-5)


def test_without_discordant_pairs_the_interval_has_its_closed_form():
    z = 1.959963984540054
    found = tango_interval(PairedTable(200, 0, 0, 100))
    assert (found.lower, found.upper) == pytest.approx((-(z**2) / (300 + z**2), z**2 / (300 + z**2)), abs=1e-10)
    assert found.upper == pytest.approx(0.0126, abs=5e-5)


def test_with_one_sided_pairs_only_the_interval_ends_at_one():
    z2 = 1.959963984540054**2
    found = tango_interval(PairedTable(0, 30, 0, 0))
    assert found.upper == 1
    assert found.lower == pytest.approx((30 - z2) / (30 + z2), abs=1e-9)


@pytest.mark.parametrize("table", [(40, 9, 3, 16), (200, 20, 35, 45), (5, 0, 3, 2), (30, 4, 0, 6)])
@pytest.mark.parametrize("delta", [-0.2, -0.05, 0.01, 0.3])
def test_the_score_agrees_with_numerical_likelihood(oracle, table, delta):
    expected = oracle.constrained_score(*table, delta)
    assert score_statistic(PairedTable(*table), delta) == pytest.approx(expected, abs=2e-5)


@settings(max_examples=200, deadline=None)
@given(tables())
def test_the_interval_excludes_0_exactly_when_the_asymptotic_test_rejects(table):
    found, num_discordant = tango_interval(table), table.num_discordant
    statistic = (table.only_first - table.only_second) ** 2 / num_discordant if num_discordant else 0.0
    p = stats.chi2.sf(statistic, 1)  # McNemar's asymptotic test, which Tango's interval inverts
    if abs(p - 0.05) > 1e-6:
        assert (found.lower > 0 or found.upper < 0) == (p < 0.05)


@settings(max_examples=200, deadline=None)
@given(tables(), st.floats(0.01, 0.5))
def test_the_interval_excludes_the_margin_exactly_when_the_test_rejects(table, margin):
    found, p = tango_interval(table), noninferiority_test(table, margin).p
    if abs(found.lower + margin) > 1e-6:
        assert (found.lower > -margin) == (p < 0.025)


@settings(max_examples=100, deadline=None)
@given(tables())
def test_swapping_the_models_mirrors_the_interval(table):
    swapped = PairedTable(table.both, table.only_second, table.only_first, table.neither)
    one, other = tango_interval(table), tango_interval(swapped)
    assert (one.lower, one.upper) == pytest.approx((-other.upper, -other.lower), abs=1e-12)
    assert -1 <= one.lower <= one.estimate <= one.upper <= 1


def test_pairs_are_counted():
    found = paired_table([1, 1, 0, 0, 1, 1], [1, 0, 1, 0, 1, 0])
    assert found == PairedTable(both=2, only_first=2, only_second=1, neither=1)
    assert found.difference == pytest.approx(1 / 6)


def test_answers_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="of one length"):
        paired_table([True], [True, False])


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (1, -1, 0, 0)])
def test_impossible_tables_are_refused(counts):
    with pytest.raises(ValueError, match="paired table"):
        PairedTable(*counts)


@pytest.mark.parametrize("margin", [0, 1, -0.1])
def test_an_impossible_margin_is_refused(margin):
    with pytest.raises(ValueError, match="`margin`"):
        noninferiority_test(PairedTable(1, 1, 1, 1), margin)


@pytest.mark.parametrize(("margin", "images"), [(0.10, 118), (0.05, 471), (0.03, 1309)])
def test_the_sample_size_agrees_with_known_points(margin, images):
    assert sample_size(margin, 0.15) == images


def test_a_sample_size_without_a_margin_is_refused():
    with pytest.raises(ValueError, match="`margin`"):
        sample_size(0, 0.15)


def draw_tables(n, both, first, second, seed):
    shares = (both, first, second, 1 - both - first - second)
    return [PairedTable(*map(int, row)) for row in np.random.default_rng(seed).multinomial(n, shares, 10_000)]


@pytest.mark.slow
def test_the_noninferiority_test_keeps_its_level_and_the_interval_its_coverage():
    drawn = draw_tables(300, 0.78, 0.05, 0.10, seed=1)  # true difference -.05, at the margin
    rejected = np.mean([noninferiority_test(table, 0.05).p < 0.025 for table in drawn])
    assert rejected <= 0.025 + 2 * math.sqrt(0.025 * 0.975 / 10_000)
    limits = [tango_interval(table) for table in drawn]
    assert 0.94 <= np.mean([one.lower <= -0.05 <= one.upper for one in limits]) <= 0.96


@pytest.mark.slow
def test_the_planned_number_of_images_reaches_its_power():
    drawn = draw_tables(sample_size(0.05, 0.15), 0.80, 0.075, 0.075, seed=2)
    power = np.mean([noninferiority_test(table, 0.05).p < 0.025 for table in drawn])
    assert power == pytest.approx(0.80, abs=0.02)
