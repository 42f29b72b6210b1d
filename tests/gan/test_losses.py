import math

import numpy as np
import pytest
from keras import ops

from regan.gan.losses import discriminator_loss, generator_loss, path_lengths, squared_gradient_norms


def tensor(values):
    return ops.convert_to_tensor(np.asarray(values, np.float32))


def test_undecided_discriminator_costs_log_two_for_each_kind():
    zeros = tensor([0.0, 0.0])
    assert float(generator_loss(zeros)) == pytest.approx(math.log(2))
    assert float(discriminator_loss(zeros, zeros)) == pytest.approx(2 * math.log(2))


def test_losses_are_the_logistic_ones():
    # softplus(x) = log(1 + e^x)
    synthetic, real = [1.0, -2.0], [0.5, 3.0]
    expected_generator = np.mean([math.log1p(math.exp(-s)) for s in synthetic])
    expected_discriminator = np.mean([math.log1p(math.exp(s)) for s in synthetic]) + np.mean(
        [math.log1p(math.exp(-s)) for s in real]
    )
    assert float(generator_loss(tensor(synthetic))) == pytest.approx(expected_generator, rel=1e-6)
    assert float(discriminator_loss(tensor(synthetic), tensor(real))) == pytest.approx(expected_discriminator, rel=1e-6)


def test_losses_stay_finite_for_extreme_scores():
    assert float(generator_loss(tensor([-1e4]))) == pytest.approx(1e4)
    assert float(discriminator_loss(tensor([-1e4]), tensor([1e4]))) == pytest.approx(0.0)


def test_gradient_norm_of_a_quadratic_score_is_known(random):
    # d/dx |x|^2 = 2 x
    x = random.standard_normal((3, 4, 4, 2)).astype(np.float32)
    norms = squared_gradient_norms(lambda images: ops.sum(ops.square(images), axis=(1, 2, 3)), tensor(x))
    assert np.asarray(norms) == pytest.approx((4 * x**2).sum(axis=(1, 2, 3)), rel=1e-5)


def test_path_length_of_a_linear_synthesis_is_known(random):
    # Images w0 * A + w1 * B: the gradient by style s is the product of direction and A (or B), over the height.
    a, b = random.standard_normal((2, 8, 8, 1)).astype(np.float32)
    styles = random.standard_normal((3, 2, 1)).astype(np.float32)
    direction = random.standard_normal((3, 8, 8, 1)).astype(np.float32)

    def synthesise(w):
        return w[:, 0][..., None, None] * a + w[:, 1][..., None, None] * b

    along = np.stack([(direction * a).sum(axis=(1, 2, 3)), (direction * b).sum(axis=(1, 2, 3))], axis=1) / 8
    expected = np.sqrt((along**2).mean(axis=1))
    assert np.asarray(path_lengths(synthesise, tensor(styles), tensor(direction))) == pytest.approx(expected, rel=1e-4)
