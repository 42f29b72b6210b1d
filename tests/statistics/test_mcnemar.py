import json
import math

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from regan.statistics.mcnemar import (
    ClassCounts,
    cochrans_q,
    exact_mcnemar,
    holm,
    marginal_range,
    midp_mcnemar,
)
from regan.statistics.paired import PairedTable

AIRWAY = PairedTable(1, 1, 7, 12)  # Bentur 2009, in Fagerland 2013
APPROVAL = PairedTable(794, 150, 86, 570)  # Agresti


def test_airway_data_give_the_published_values():
    assert exact_mcnemar(AIRWAY) == pytest.approx(0.0703125, abs=1e-12)
    assert midp_mcnemar(AIRWAY) == pytest.approx(0.0390625, abs=1e-12)


def test_approval_data_give_the_published_values():
    assert exact_mcnemar(APPROVAL) == pytest.approx(3.7159e-5, abs=5e-10)


def test_as_many_on_both_sides_and_none_at_all():
    even, none = PairedTable(3, 5, 5, 3), PairedTable(3, 0, 0, 3)
    assert midp_mcnemar(even) == pytest.approx(0.876953125, abs=1e-12)
    assert midp_mcnemar(none) == 1
    assert exact_mcnemar(even) == exact_mcnemar(none) == 1


@pytest.mark.parametrize("counts", [(3, 11), (20, 4), (0, 6), (1, 2), (40, 55)])
def test_p_values_agree_with_statsmodels_and_with_fractions(oracle, counts):
    table = PairedTable(10, *counts, 10)
    square = [[10, counts[0]], [counts[1], 10]]
    assert exact_mcnemar(table) == pytest.approx(mcnemar(square, exact=True).pvalue)
    assert exact_mcnemar(table) == pytest.approx(oracle.exact_mcnemar(*counts))


def test_swapping_the_models_keeps_p():
    swapped = PairedTable(1, 7, 1, 12)
    assert midp_mcnemar(AIRWAY) == midp_mcnemar(swapped)
    assert exact_mcnemar(AIRWAY) == exact_mcnemar(swapped)


def test_cochrans_q_agrees_with_conover():
    rows = ["111", "111", "010", "110", "000", "111", "111", "110", "001", "010", "111", "111"]
    found = cochrans_q([[int(cell) for cell in row] for row in rows])
    assert (found.statistic, found.p) == pytest.approx((2.8, 0.246597), abs=5e-7)


def test_with_two_columns_cochrans_q_is_mcnemars():
    answers = [[1, 1]] * 1 + [[1, 0]] * 1 + [[0, 1]] * 7 + [[0, 0]] * 12
    assert cochrans_q(answers).statistic == pytest.approx(4.5)


def test_classifiers_that_always_agree_do_not_differ():
    assert cochrans_q([[1, 1, 1], [0, 0, 0]]).p == 1


def test_one_column_is_refused():
    with pytest.raises(ValueError, match="two or more columns"):
        cochrans_q([[1], [0]])


def test_holm_steps_down():
    assert holm([0.001, 0.01, 0.04, 0.03]) == pytest.approx([0.004, 0.03, 0.06, 0.06])


@pytest.mark.parametrize(
    ("round_name", "smallest", "largest"),
    [
        ("28000", 1.2e-7, 0.0116),
        ("56000", 3.0e-8, 0.0067),
        ("84000", 1.9e-6, 0.0330),
        ("112000", 2.2e-7, 0.0067),
        ("140000", 1.2e-10, 0.0006),
    ],
)
def test_published_marginals_allow_this_range_of_p(golden, round_name, smallest, largest):
    rounds = json.loads((golden / "reference_results.json").read_text())["rounds"]
    found = marginal_range(class_counts(rounds[round_name]), class_counts(rounds["real"]))
    assert found.smallest == pytest.approx(smallest, rel=0.05)
    assert found.largest == pytest.approx(largest, abs=5e-5)
    assert found.largest < 0.05


@pytest.mark.parametrize("other", ["28000", "56000", "112000"])
def test_the_published_best_round_differs_from_no_neighbour_in_any_pairing(golden, other):
    rounds = json.loads((golden / "reference_results.json").read_text())["rounds"]
    assert marginal_range(class_counts(rounds["84000"]), class_counts(rounds[other])).smallest > 0.05


def test_the_range_agrees_with_enumeration(oracle):
    candidate, reference = (12, 8, 15, 5), (16, 4, 13, 7)
    p_values = oracle.every_pairing(candidate, reference)
    found = marginal_range(ClassCounts(*candidate), ClassCounts(*reference))
    assert (found.smallest, found.largest) == pytest.approx((min(p_values), max(p_values)))


def test_matrices_of_different_images_are_refused():
    with pytest.raises(ValueError, match="same images"):
        marginal_range(ClassCounts(5, 5, 5, 5), ClassCounts(5, 6, 5, 5))


def class_counts(cells):
    return ClassCounts(cells["tp"], cells["fn"], cells["tn"], cells["fp"])


@pytest.mark.slow
def test_type_i_error_of_mid_p_is_nominal():
    drawn = np.random.default_rng(3).multinomial(300, [0.8, 0.06, 0.06, 0.08], 10_000)
    rejected = np.mean([midp_mcnemar(PairedTable(*map(int, row))) < 0.05 for row in drawn])
    assert rejected <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 10_000)
