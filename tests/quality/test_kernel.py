import numpy as np
import pytest

from regan.quality import kernel as module
from regan.quality.kernel import kernel_distance, polynomial_mmd


def test_two_images_worked_by_hand():
    assert polynomial_mmd([[1, 0], [0, 1]], [[1, 1], [0, 0]]) == pytest.approx(-2.375)


def test_a_drawn_case_gives_the_known_value():
    random = np.random.RandomState(0)
    real, synthetic = random.randn(100, 8), random.randn(120, 8) + 0.5
    assert polynomial_mmd(real, synthetic) == pytest.approx(1.5670366057286151, abs=1e-12)
    assert kernel_distance(real, synthetic).value == pytest.approx(1.5670366057286151, abs=1e-12)


@pytest.mark.parametrize("num_subsets", [2, 7, 20])
def test_the_value_agrees_with_loops_whatever_the_subsets(oracle, num_subsets):
    random = np.random.default_rng(0)
    real, synthetic = random.normal(size=(23, 5)), random.normal(size=(17, 5)) * 1.2
    found = kernel_distance(real, synthetic, num_subsets=num_subsets)
    assert found.value == pytest.approx(oracle.kernel_distance_by_loops(real, synthetic))


def test_working_in_small_blocks_changes_nothing(monkeypatch):
    random = np.random.default_rng(4)
    real, synthetic = random.normal(size=(40, 5)), random.normal(size=(31, 5))
    expected = kernel_distance(real, synthetic)
    monkeypatch.setattr(module, "_BLOCK_VALUES", 50)
    found = kernel_distance(real, synthetic)
    assert (found.value, found.standard_error) == pytest.approx((expected.value, expected.standard_error))


def test_the_standard_error_is_that_of_leaving_subsets_out(oracle):
    # With as many subsets as images, each is left out of its set in turn.
    random = np.random.default_rng(1)
    real, synthetic = random.normal(size=(6, 3)), random.normal(size=(6, 3)) + 1
    found = kernel_distance(real, synthetic, num_subsets=6, seed=3)
    order = np.random.default_rng(3)
    first, second = order.permutation(6), order.permutation(6)
    left_out = [
        oracle.kernel_distance_by_loops(np.delete(real, i, axis=0), np.delete(synthetic, j, axis=0))
        for i, j in zip(first, second)
    ]
    assert found.standard_error == pytest.approx(np.sqrt(5 / 6 * np.sum((left_out - np.mean(left_out)) ** 2)))


def test_it_is_unbiased_and_its_standard_error_is_the_spread_of_repeated_draws():
    found = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        found.append(kernel_distance(random.normal(size=(60, 10)), random.normal(size=(80, 10)) + 0.3))
    values, errors = np.array([one.value for one in found]), np.array([one.standard_error for one in found])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.25)
    same = [
        kernel_distance(random.normal(size=(60, 10)), random.normal(size=(40, 10))).value
        for random in map(np.random.default_rng, range(200))
    ]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)


def test_same_seed_same_error():
    random = np.random.default_rng(2)
    real, synthetic = random.normal(size=(50, 4)), random.normal(size=(50, 4))
    assert kernel_distance(real, synthetic, seed=1) == kernel_distance(real, synthetic, seed=1)
    other = kernel_distance(real, synthetic, seed=2)
    assert other.standard_error != kernel_distance(real, synthetic, seed=1).standard_error
    assert other.value == pytest.approx(kernel_distance(real, synthetic, seed=1).value, abs=1e-12)


@pytest.mark.parametrize(
    ("real", "synthetic", "message"),
    [
        (np.eye(3), np.eye(4), "same features"),
        (np.eye(2), np.eye(2), "at least 3"),
        (np.full((4, 2), np.inf), np.zeros((4, 2)), "finite"),
    ],
)
def test_impossible_features_are_refused(real, synthetic, message):
    with pytest.raises(ValueError, match=message):
        kernel_distance(real, synthetic)


def test_one_subset_is_refused():
    with pytest.raises(ValueError, match="`num_subsets`"):
        kernel_distance(np.eye(4), np.eye(4), num_subsets=1)
