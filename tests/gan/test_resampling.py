import numpy as np
import pytest
from keras import ops

from regan import backend
from regan.gan.resampling import blur, downsample, upsample

PADDINGS = [(2, 1), (1, 1), (2, 2), (0, 3)]
OPERATORS = [("upsample", upsample, 8), ("downsample", downsample, 8)] + [
    (f"blur {padding}", lambda x, padding=padding: blur(x, *padding), 8) for padding in PADDINGS
]


@pytest.fixture
def images(random):
    return random.standard_normal((2, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize(("before", "after"), PADDINGS)
def test_blur_equals_the_loop_over_pixels(images, loops, before, after):
    assert np.asarray(blur(images, before, after)) == pytest.approx(loops.blur(images, before, after), abs=1e-6)


def test_upsampling_equals_zeros_between_pixels_and_a_filter(images, loops):
    assert np.asarray(upsample(images)) == pytest.approx(loops.upsample(images), abs=1e-6)


def test_downsampling_equals_a_filter_and_every_second_pixel(images, loops):
    assert np.asarray(downsample(images)) == pytest.approx(loops.downsample(images), abs=1e-6)


@pytest.mark.parametrize(("name", "operator", "size"), OPERATORS, ids=[name for name, *_ in OPERATORS])
def test_gradient_is_the_adjoint(name, operator, size, random):
    x = random.standard_normal((1, size, size, 2)).astype(np.float32)
    y = random.standard_normal(operator(x).shape).astype(np.float32)
    gradient = backend.gradient(lambda v: ops.sum(operator(v) * y))(ops.convert_to_tensor(x))
    # <A v, y> = <v, A* y> for every v.
    v = random.standard_normal(x.shape).astype(np.float32)
    assert float(ops.sum(operator(v) * y)) == pytest.approx(
        float(ops.sum(v * np.asarray(gradient))), rel=1e-4, abs=1e-4
    )


@pytest.mark.parametrize(("name", "operator", "size"), OPERATORS, ids=[name for name, *_ in OPERATORS])
def test_gradient_of_a_gradient_norm_is_exact(name, operator, size, random):
    # |d/dx <A x, y>|^2 = |A* y|^2, whose gradient by y is 2 A A* y.
    x = ops.convert_to_tensor(random.standard_normal((1, size, size, 2)).astype(np.float32))
    y = ops.convert_to_tensor(random.standard_normal(operator(x).shape).astype(np.float32))

    def adjoint(y):
        return backend.gradient(lambda v: ops.sum(operator(v) * y))(x)

    second = backend.gradient(lambda y: ops.sum(ops.square(adjoint(y))))(y)
    assert np.asarray(second) == pytest.approx(2 * np.asarray(operator(adjoint(y))), abs=1e-4)


def test_a_constant_image_keeps_its_value_away_from_the_border():
    ones = np.ones((1, 8, 8, 1), np.float32)
    assert np.asarray(upsample(ones))[0, 2:-2, 2:-2] == pytest.approx(1.0)
    assert np.asarray(downsample(ones))[0, 1:-1, 1:-1] == pytest.approx(1.0)
