import numpy as np
import pytest

from regan.statistics.bootstrap import paired_bootstrap
from regan.statistics.delong import delong
from regan.statistics.paired import paired_table, tango_interval


def answers(seed=0, n=200):
    random = np.random.default_rng(seed)
    labels = np.arange(n) < n // 2
    first, second = random.random(n) < 0.85, random.random(n) < 0.80
    return labels, first, second


def difference(first, second):
    return lambda rows: float(first[rows].mean() - second[rows].mean())


def test_single_images_give_about_tangos_interval():
    labels, first, second = answers()
    found = paired_bootstrap(difference(first, second), labels, [""] * 200)
    expected = tango_interval(paired_table(first, second))
    assert found.interval.estimate == pytest.approx(expected.estimate)
    assert (found.interval.lower, found.interval.upper) == pytest.approx((expected.lower, expected.upper), abs=0.015)


def test_single_images_give_about_delongs_interval():
    random = np.random.default_rng(1)
    labels = np.arange(160) < 80
    first, second = (labels + random.normal(size=160) for _ in range(2))

    def statistic(rows):
        found = delong(labels[rows], first[rows], second[rows])
        return found.difference

    found = paired_bootstrap(statistic, labels, [""] * 160, num_draws=600)
    expected = delong(labels, first, second)
    assert (found.interval.lower, found.interval.upper) == pytest.approx((expected.lower, expected.upper), abs=0.03)


def test_groups_that_answer_as_one_widen_the_interval():
    labels, first, second = answers(n=100)
    repeated = [np.repeat(values, 4) for values in (labels, first, second)]
    groups = np.repeat(np.arange(100).astype(str), 4)
    single = paired_bootstrap(difference(*repeated[1:]), repeated[0], [""] * 400)
    grouped = paired_bootstrap(difference(*repeated[1:]), repeated[0], groups)
    width = grouped.interval.upper - grouped.interval.lower
    assert width == pytest.approx(2 * (single.interval.upper - single.interval.lower), rel=0.15)


def test_every_draw_keeps_both_classes_and_whole_groups():
    labels = np.array([True, True, False, False, False, True, False])
    groups = np.array(["a", "a", "b", "b", "", "c", "c"])
    seen = []

    def statistic(rows):
        seen.append(rows)
        return 0.0

    paired_bootstrap(statistic, labels, groups, num_draws=100)
    for rows in seen:
        counts = np.bincount(rows, minlength=7)
        assert counts[0] == counts[1] == 1  # the only positive group
        assert counts[2] == counts[3]
        assert counts[5] == counts[6] == 1  # the only mixed group
        assert counts[2] + counts[4] == 2


def test_same_seed_same_draws_and_other_seed_others():
    labels, first, second = answers()
    one, same, other = (
        paired_bootstrap(difference(first, second), labels, [""] * 200, num_draws=100, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.draws, same.draws)
    assert not np.array_equal(one.draws, other.draws)


def test_p_values_count_the_data_once():
    labels = np.arange(20) < 10
    found = paired_bootstrap(lambda rows: 1.0, labels, [""] * 20, num_draws=100)
    assert found.tail(0.0) == pytest.approx(1 / 101)
    assert found.p == pytest.approx(2 / 101)


def test_too_few_draws_are_refused():
    with pytest.raises(ValueError, match="`num_draws`"):
        paired_bootstrap(lambda rows: 0.0, [True, False], ["", ""], num_draws=10)


def test_groups_of_another_length_are_refused():
    with pytest.raises(ValueError, match="of one length"):
        paired_bootstrap(lambda rows: 0.0, [True, False], [""])
