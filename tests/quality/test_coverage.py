import numpy as np
import pytest

from regan.quality import coverage as module
from regan.quality.coverage import Coverage, coverage, nearest_distances


def column(*values):
    return np.array(values, float)[:, None]


def test_five_points_on_a_line():
    found = coverage(column(0, 1, 2, 3, 10), column(0.4, 1.6, 9, 20, 2.2), k=2)
    assert found == Coverage(precision=0.8, recall=1.0, density=1.0, coverage=1.0)


def drawn():
    random = np.random.RandomState(0)
    return random.randn(500, 16), random.randn(400, 16) * 0.8 + 0.2


def test_a_drawn_case_gives_the_known_values():
    found = coverage(*drawn(), k=5)
    expected = (0.9875, 0.498, 2.2225, 0.968)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected)


def test_a_collapsed_generator_is_precise_but_not_varied():
    random = np.random.default_rng(1)
    found = coverage(3 * random.normal(size=(300, 8)), 0.1 * random.normal(size=(300, 8)))
    assert found.precision > 0.8
    assert found.recall < 0.3
    assert found.coverage < 0.3


@pytest.mark.parametrize("k", [1, 4])
def test_small_sets_agree_with_loops(oracle, k):
    random = np.random.default_rng(2)
    real, synthetic = random.normal(size=(30, 3)), random.normal(size=(25, 3)) * 1.3
    found = coverage(real, synthetic, k=k)
    expected = oracle.coverage_by_loops(real, synthetic, k)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected)


def test_working_in_small_blocks_changes_nothing(monkeypatch):
    expected = coverage(*drawn())
    monkeypatch.setattr(module, "_BLOCK_BYTES", 8 * 500 * 7)
    assert coverage(*drawn()) == expected


def test_nearest_distances_are_euclidean():
    assert nearest_distances([[0, 0], [3, 4]], [[0, 1], [6, 8]]) == pytest.approx([1, np.sqrt(18)])


@pytest.mark.parametrize(("k", "message"), [(0, "`k`"), (5, "at least 6")])
def test_impossible_neighbours_are_refused(k, message):
    with pytest.raises(ValueError, match=message):
        coverage(np.eye(5), np.eye(5), k=k)


def test_different_features_are_refused():
    with pytest.raises(ValueError, match="same features"):
        coverage(np.eye(7), np.eye(8))
