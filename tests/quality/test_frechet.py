import time

import numpy as np
import pytest

from regan.quality.frechet import Moments, frechet_distance


def of_samples(real, synthetic):
    return frechet_distance(Moments.from_features(real), Moments.from_features(synthetic))


def test_shifted_unit_gaussians_differ_by_the_squared_shift():
    identity = np.eye(2048)
    real, synthetic = Moments(np.zeros(2048), identity), Moments(np.ones(2048), identity)
    assert frechet_distance(real, synthetic) == pytest.approx(2048, rel=1e-12)


def test_three_images_worked_by_hand():
    assert of_samples([[1, 2]] * 3, [[2, 2], [1, 2], [1, 2]]) == pytest.approx(4 / 9, abs=1e-12)


def test_independent_axes_match_the_closed_form():
    real = Moments(np.zeros(4), np.diag([1.0, 4, 9, 16]))
    synthetic = Moments(np.array([0.0, 1, 0, -1]), np.diag([4.0, 1, 25, 9]))
    assert frechet_distance(real, synthetic) == pytest.approx(9)


def test_correlated_axes_match_the_closed_form():
    real = Moments(np.zeros(2), np.array([[2.0, 1], [1, 2]]))
    synthetic = Moments(np.array([1.0, -2]), np.diag([3.0, 1]))
    assert frechet_distance(real, synthetic) == pytest.approx(13 - 2 * np.sqrt(14), abs=1e-12)


@pytest.mark.parametrize(
    ("shape", "expected"), [((64, 16), 2.589557918), ((1024, 64), 2.216407743), ((128, 256), 228.22224)]
)
def test_samples_of_one_gaussian_give_the_known_values(shape, expected):
    random = np.random.RandomState(2023)
    real, synthetic = random.randn(*shape), random.randn(*shape)
    assert of_samples(real, synthetic) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("num_real", "num_synthetic"), [(60, 50), (60, 12), (12, 60), (12, 9)])
def test_every_form_agrees_with_the_matrix_root(oracle, num_real, num_synthetic):
    random = np.random.default_rng(0)
    mixing = random.normal(size=(20, 20))
    real, synthetic = random.normal(size=(num_real, 20)) @ mixing, random.normal(size=(num_synthetic, 20)) + 0.3
    assert of_samples(real, synthetic) == pytest.approx(oracle.frechet_by_matrix_root(real, synthetic), rel=1e-6)


@pytest.mark.parametrize("shape", [(64, 16), (16, 64)])
def test_a_set_lies_at_no_distance_from_itself(shape):
    features = np.random.default_rng(1).normal(size=shape)
    assert abs(of_samples(features, features)) < 1e-6


@pytest.mark.parametrize("shape", [(64, 16), (16, 64)])
def test_scaling_squares_and_rotating_keeps_the_distance(shape):
    random = np.random.default_rng(2)
    real, synthetic = random.normal(size=shape), random.normal(size=shape) * 1.5 + 0.2
    rotation, _ = np.linalg.qr(random.normal(size=(shape[1], shape[1])))
    distance = of_samples(real, synthetic)
    assert of_samples(3 * real, 3 * synthetic) == pytest.approx(9 * distance)
    assert of_samples(real @ rotation, synthetic @ rotation) == pytest.approx(distance)
    assert of_samples(synthetic, real) == pytest.approx(distance)


def test_fewer_images_than_features_keep_a_factor():
    features = np.random.default_rng(3).normal(size=(5, 8))
    few, many = Moments.from_features(features), Moments.from_features(np.tile(features, (2, 1)))
    assert few.cov is None
    assert few.factor.shape == (5, 8)
    assert many.factor is None
    assert np.allclose(few.factor.T @ few.factor, np.cov(features, rowvar=False))
    assert few.total_variance == pytest.approx(np.trace(np.cov(features, rowvar=False)))


def test_hospital_sizes_in_2048_features_take_seconds_and_show_the_bias():
    random = np.random.default_rng(4)
    real, synthetic = (np.sqrt(100 / 2048) * random.normal(size=(150, 2048)) for _ in range(2))
    started = time.monotonic()
    distance = of_samples(real, synthetic)
    assert time.monotonic() - started < 10
    assert distance == pytest.approx(150, rel=0.3)  # although both are of one distribution


def test_different_features_are_refused():
    with pytest.raises(ValueError, match="same features"):
        of_samples(np.eye(3), np.eye(4))


@pytest.mark.parametrize(
    ("features", "message"), [([[1, 2]], "at least 2"), ([[1, np.nan], [1, 2]], "finite"), ([1, 2, 3], "shape")]
)
def test_features_without_moments_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        Moments.from_features(features)


def test_moments_need_exactly_one_spread():
    with pytest.raises(ValueError, match="either"):
        Moments(np.zeros(2))
    with pytest.raises(ValueError, match="d columns"):
        Moments(np.zeros(2), cov=np.eye(3))
