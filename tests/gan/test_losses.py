import math

import numpy as np
import pytest
from keras import ops

from regan.gan.layers import Convolution, ModulatedConvolution, leaky_relu
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


def test_path_length_equals_a_loop_over_the_values_of_the_styles(random, loops):
    up, to_image = (
        ModulatedConvolution(3, random, up=True),
        ModulatedConvolution(2, random, kernel_size=1, demodulate=False),
    )
    for layer in (up, to_image):
        layer.build((None, 4, 4, 3), (None, 5))
    start = random.standard_normal((1, 4, 4, 3))
    styles = random.standard_normal((2, 2, 5))
    direction = random.standard_normal((2, 8, 8, 2))

    def synthesise(w):
        x = ops.broadcast_to(tensor(start), (2, 4, 4, 3))
        return to_image(leaky_relu(up(x, w[:, 0])), w[:, 1])

    def in_loops(w):
        def scale(layer, style):
            kernel, bias = np.asarray(layer.affine.kernel, float), np.asarray(layer.affine.bias, float)
            return style @ kernel / np.sqrt(5) + bias

        x = loops.leaky_relu(loops.modulated(start, np.asarray(up.kernel, float), scale(up, w[:1]), up=True))
        kernel = np.asarray(to_image.kernel, float) / np.sqrt(3)
        return loops.modulated(x, kernel, scale(to_image, w[1:]), demodulate=False)[0]

    expected = loops.path_lengths(in_loops, styles, direction)
    found = path_lengths(synthesise, tensor(styles), tensor(direction))
    assert np.asarray(found) == pytest.approx(expected, rel=1e-4)


def test_gradient_norms_equal_a_loop_over_the_pixels(random, loops):
    layer = Convolution(4, random, down=True)
    layer.build((None, 8, 8, 2))
    images, weight = random.standard_normal((2, 8, 8, 2)), random.standard_normal((4, 4, 4))
    kernel = np.asarray(layer.kernel, float) / np.sqrt(18)

    def in_loops(image):
        return (loops.leaky_relu(loops.convolve(loops.blur(image[None], 2, 2)[0], kernel, stride=2)) * weight).sum()

    expected = loops.squared_gradient_norms(in_loops, images)
    found = squared_gradient_norms(lambda x: ops.sum(layer(x) * tensor(weight), axis=(1, 2, 3)), tensor(images))
    assert np.asarray(found) == pytest.approx(expected, rel=1e-4)
