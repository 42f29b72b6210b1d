import numpy as np
import pytest
from keras import ops

from regan.gan.layers import (
    Convolution,
    Dense,
    ModulatedConvolution,
    append_minibatch_deviation,
    leaky_relu,
    normalise_second_moment,
)


def normal(random, *shape):
    return random.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_equals_scaled_weights_for_each_image(up, random, loops):
    layer = ModulatedConvolution(5, random, up=up)
    x, style = normal(random, 3, 6, 6, 4), normal(random, 3, 7)
    layer.build(x.shape, style.shape)
    scale = np.asarray(layer.affine(style))
    expected = loops.modulated(x, np.asarray(layer.kernel), scale, up=up)
    assert np.asarray(layer(x, style)) == pytest.approx(expected, abs=1e-5)


def test_modulation_without_demodulation_is_equalised(random, loops):
    layer = ModulatedConvolution(2, random, kernel_size=1, demodulate=False)
    x, style = normal(random, 2, 4, 4, 9), normal(random, 2, 7)
    layer.build(x.shape, style.shape)
    kernel = np.asarray(layer.kernel) / 3  # nine maps
    expected = loops.modulated(x, kernel, np.asarray(layer.affine(style)), demodulate=False)
    assert np.asarray(layer(x, style)) == pytest.approx(expected, abs=1e-5)


def test_demodulated_maps_have_unit_deviation_whatever_the_style(random):
    layer = ModulatedConvolution(16, random)
    x, style = normal(random, 4, 16, 16, 32), 50 * normal(random, 4, 8)
    layer.build(x.shape, style.shape)
    assert np.asarray(layer(x, style))[:, 1:-1, 1:-1].std() == pytest.approx(1.0, abs=0.1)


def test_styles_start_around_one(random):
    layer = ModulatedConvolution(2, random)
    layer.build((None, 4, 4, 3), (None, 5))
    assert np.asarray(layer.affine(np.zeros((1, 5), np.float32))) == pytest.approx(np.ones((1, 3)))


@pytest.mark.parametrize("num", [2, 4, 8, 12])
def test_minibatch_deviation_equals_the_loop_over_groups(num, random, loops):
    x = normal(random, num, 3, 3, 2)
    assert np.asarray(append_minibatch_deviation(x)) == pytest.approx(loops.minibatch_deviation(x), abs=1e-6)


def test_strided_convolution_equals_blur_and_loop(random, loops):
    layer = Convolution(5, random, down=True)
    x = normal(random, 2, 8, 8, 4)
    layer.build(x.shape)
    kernel = np.asarray(layer.kernel) / 6  # root of 3 * 3 * 4
    expected = np.stack([loops.convolve(image, kernel, stride=2) for image in loops.blur(x, 2, 2)])
    assert np.asarray(layer(x)) == pytest.approx(np.asarray(leaky_relu(expected)), abs=1e-5)


def test_linear_shortcut_has_no_bias_and_halves_the_image(random, loops):
    layer = Convolution(5, random, kernel_size=1, down=True, activate=False, gain=0.5)
    x = normal(random, 2, 8, 8, 4)
    layer.build(x.shape)
    assert [weight.name for weight in layer.weights] == ["kernel"]
    expected = loops.downsample(x) @ np.asarray(layer.kernel)[0, 0] / 2 * 0.5
    assert np.asarray(layer(x)) == pytest.approx(expected, abs=1e-5)


def test_dense_output_does_not_depend_on_the_learning_rate_at_the_start():
    x = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)
    outputs = []
    for rate in (1.0, 0.01):
        layer = Dense(8, np.random.default_rng(0), rate=rate, bias_start=1.0)
        layer.build(x.shape)
        outputs.append(np.asarray(layer(x)))
    assert outputs[1] == pytest.approx(outputs[0], abs=1e-5)


def test_weights_come_from_the_given_source_of_random_numbers():
    kernels = []
    for seed in (0, 0, 1):
        layer = Dense(8, np.random.default_rng(seed))
        layer.build((None, 4))
        kernels.append(np.asarray(layer.kernel))
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_second_moment_becomes_one(random):
    x = np.asarray(normalise_second_moment(7 * normal(random, 3, 64)))
    assert (x**2).mean(axis=1) == pytest.approx(np.ones(3), rel=1e-5)


def test_leaky_rectifier_keeps_the_variance_of_a_normal_signal(random):
    y = np.asarray(leaky_relu(ops.convert_to_tensor(normal(random, 100_000))))
    assert (y**2).mean() == pytest.approx((1 + 0.2**2) / 2 * 2, rel=0.02)
