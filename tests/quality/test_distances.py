import numpy as np
import pytest

from regan.quality.distances import distances, mean_distances, mean_measures, measures, random_halves
from regan.quality.frechet import Moments, frechet_distance
from regan.quality.kernel import kernel_distance


def drawn(seed, n=60, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, 6)) + shift


def test_both_distances_are_those_of_their_modules():
    real, other = drawn(0), drawn(1, 50, 0.5)
    found = distances(real, other, seed=3)
    assert found.kernel == kernel_distance(real, other, seed=3)
    assert found.frechet == frechet_distance(Moments.from_features(real), Moments.from_features(other))


def test_classes_count_the_same_and_errors_add_in_squares():
    parts = [distances(drawn(0), drawn(1, 30)), distances(drawn(2), drawn(3, 90, 1.0))]
    found = mean_distances(parts)
    assert found.kernel.value == pytest.approx((parts[0].kernel.value + parts[1].kernel.value) / 2)
    assert found.frechet == pytest.approx((parts[0].frechet + parts[1].frechet) / 2)
    errors = [part.kernel.standard_error for part in parts]
    assert found.kernel.standard_error == pytest.approx(np.hypot(*errors) / 2)


def test_halves_are_disjoint_and_as_large():
    rows = np.arange(11.0)[:, None]
    first, second = random_halves(rows, seed=1)
    assert len(first) == len(second) == 5
    assert len(set(first.ravel()) | set(second.ravel())) == 10


def test_measures_at_one_number_do_not_depend_on_how_many_there_are():
    real = drawn(0, 200)
    few, many = measures(real, drawn(1, 40), 40), measures(real, drawn(1, 400), 40)
    assert many.frechet_distance == pytest.approx(few.frechet_distance, rel=0.35)
    assert many.coverage == pytest.approx(few.coverage, abs=0.15)
    assert measures(real, drawn(1, 400), 400).coverage > many.coverage + 0.2


def test_means_of_measures_are_taken_name_by_name():
    parts = [measures(drawn(0), drawn(1), 30), measures(drawn(2), drawn(3, shift=1.0), 30)]
    found = mean_measures(parts)
    assert found.precision == pytest.approx((parts[0].precision + parts[1].precision) / 2)
    assert found.frechet_distance == pytest.approx((parts[0].frechet_distance + parts[1].frechet_distance) / 2)


@pytest.mark.parametrize("num_images", [1, 61])
def test_impossible_numbers_are_refused(num_images):
    with pytest.raises(ValueError, match="`num_images`"):
        measures(drawn(0), drawn(1), num_images)
