"""The layers of StyleGAN2: equalised dense, convolution, modulated convolution, minibatch standard deviation.

Weights start from N(0, 1) and are scaled when used, so that every layer learns at the same rate ("equalised learning
rate"). Images are channels-last.

References:
    Karras et al. 2018, "Progressive Growing of GANs", section 4.1. https://arxiv.org/abs/1710.10196
    Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN". https://arxiv.org/abs/1912.04958
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from regan import backend
from regan.gan import resampling

Shape = tuple[Any, ...]

EPSILON = 1e-8


def as_computed(x: Any, compute: str) -> Any:
    """`x` in the type to compute in: `bfloat16`, or the framework's own where `compute` is empty."""
    return ops.cast(x, compute or keras.config.floatx())


def leaky_relu(x: Any) -> Any:
    """Leaky rectifier of slope 0.2, times sqrt 2 so that the signal keeps its variance."""
    return backend.leaky_relu(x, 0.2) * math.sqrt(2)


def normalise_second_moment(x: Any) -> Any:
    """Rows of `x` `(n, d)` scaled to a mean square of one."""
    return x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + EPSILON)


def normal(random: np.random.Generator, deviation: float = 1.0) -> Callable[..., np.ndarray]:
    """Initialiser that draws from N(0, deviation^2) with NumPy, so that all frameworks start from the same weights."""

    def draw(shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        values = random.standard_normal(shape) * deviation
        return values.astype(keras.backend.standardize_dtype(dtype or keras.config.floatx()))

    return draw


class Dense(keras.layers.Layer):
    """Equalised dense layer.

    Args:
        units: Number of outputs.
        random: Source of the initial weights.
        rate: Learning rate relative to the network's; the weights start from N(0, 1 / rate^2) and are used times rate.
        bias_start: Initial bias.
        activate: Whether a leaky rectifier follows.
    """

    def __init__(
        self,
        units: int,
        random: np.random.Generator,
        *,
        rate: float = 1.0,
        bias_start: float = 0.0,
        activate: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.units, self.random, self.rate = units, random, rate
        self.bias_start, self.activate = bias_start, activate

    def build(self, input_shape: Shape) -> None:
        """Make the weights for inputs `(n, d)`."""
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(shape, initializer=normal(self.random, 1 / self.rate), name="kernel")
        bias = keras.initializers.Constant(self.bias_start / self.rate)
        self.bias = self.add_weight((self.units,), initializer=bias, name="bias")

    def call(self, x: Any) -> Any:
        """`(n, d)` to `(n, units)`."""
        y = ops.matmul(x, self.kernel * (self.rate / math.sqrt(x.shape[-1]))) + self.bias * self.rate
        return leaky_relu(y) if self.activate else y


class Convolution(keras.layers.Layer):
    """Equalised convolution, with a blur before it where it halves the image.

    Args:
        filters: Number of output maps.
        random: Source of the initial weights.
        kernel_size: 1 or 3.
        down: Whether the output has half the height and width.
        activate: Whether a bias and a leaky rectifier follow; a convolution without is linear and has no bias.
        gain: Factor on the output.
        compute: Type to compute in; the weights, and all that is computed from them alone, stay float32.
    """

    def __init__(
        self,
        filters: int,
        random: np.random.Generator,
        *,
        kernel_size: int = 3,
        down: bool = False,
        activate: bool = True,
        gain: float = 1.0,
        compute: str = "",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, autocast=False)
        self.filters, self.random, self.kernel_size = filters, random, kernel_size
        self.down, self.activate, self.gain, self.compute = down, activate, gain, compute

    def build(self, input_shape: Shape) -> None:
        """Make the weights for inputs `(n, height, width, maps)`."""
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, initializer=normal(self.random), name="kernel")
        if self.activate:
            self.bias = self.add_weight((self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        """`(n, height, width, maps)` to `(n, height, width, filters)`, or half of that in height and width."""
        kernel = self.kernel * (self._outer_gain() / math.sqrt(math.prod(self.kernel.shape[:3])))
        y = convolve(as_computed(x, self.compute), as_computed(kernel, self.compute), self.down)
        return leaky_relu(y + ops.cast(self.bias, y.dtype)) * self.gain if self.activate else y

    def _outer_gain(self) -> float:
        return 1.0 if self.activate else self.gain


def convolve(x: Any, kernel: Any, down: bool = False) -> Any:
    """Convolution by a kernel `(k, k, maps, filters)`, k = 1 or 3, that keeps or halves the image's size."""
    if kernel.shape[0] == 1:
        return ops.matmul(resampling.downsample(x) if down else x, kernel[0, 0])
    return backend.convolve(resampling.blur(x, 2, 2), kernel, stride=2) if down else backend.convolve(x, kernel)


def convolve_up(x: Any, kernel: Any) -> Any:
    """Transposed convolution by a kernel `(3, 3, maps, filters)` that doubles the image's size, then a blur."""
    return 4 * resampling.blur(backend.convolve_transposed(x, kernel), 1, 1)


class ModulatedConvolution(keras.layers.Layer):
    """Convolution whose input maps are scaled by a style, and whose output maps are scaled back to unit deviation.

    Scaling the maps instead of the weights gives the same result without a copy of the weights for each image.

    Args:
        filters: Number of output maps.
        random: Source of the initial weights.
        kernel_size: 1 or 3.
        up: Whether the output has twice the height and width.
        demodulate: Whether the output is scaled back; without, the weights are equalised instead.
        compute: Type to compute in; styles, weights and demodulation stay float32.

    References:
        Karras et al. 2020, equations 1 and 3.
    """

    def __init__(
        self,
        filters: int,
        random: np.random.Generator,
        *,
        kernel_size: int = 3,
        up: bool = False,
        demodulate: bool = True,
        compute: str = "",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, autocast=False)
        self.filters, self.random, self.kernel_size = filters, random, kernel_size
        self.up, self.demodulate, self.compute = up, demodulate, compute

    def build(self, input_shape: Shape, style_shape: Shape) -> None:
        """Make the weights for inputs `(n, height, width, maps)` and styles `(n, d)`."""
        self.affine = Dense(input_shape[-1], self.random, bias_start=1.0, name="affine")
        self.affine.build(style_shape)
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, initializer=normal(self.random), name="kernel")

    def call(self, x: Any, style: Any) -> Any:
        """`x` `(n, height, width, maps)` and `style` `(n, d)` to `(n, height, width, filters)`, doubled with `up`."""
        scale = self.affine(style)
        gain = 1.0 if self.demodulate else 1 / math.sqrt(math.prod(self.kernel.shape[:3]))
        kernel = ops.convert_to_tensor(self.kernel) * gain
        x, kernel = as_computed(x, self.compute), as_computed(kernel, self.compute)
        x = x * ops.cast(scale, x.dtype)[:, None, None, :]
        y = convolve_up(x, kernel) if self.up else convolve(x, kernel)
        return y * ops.cast(self._demodulation(scale), y.dtype)[:, None, None, :] if self.demodulate else y

    def _demodulation(self, scale: Any) -> Any:
        power = ops.sum(ops.square(self.kernel), axis=(0, 1))
        return ops.rsqrt(ops.matmul(ops.square(scale), power) + EPSILON)


def append_minibatch_deviation(x: Any, group: int = 4) -> Any:
    """One more map: how much the samples of a group differ from each other.

    Groups are interleaved: sample `i` belongs to group `i mod (n / group)`.

    Args:
        x: `(n, height, width, maps)`; n must be a multiple of `group`, or less than it.
        group: Samples a group; the whole batch where it is smaller.

    Returns:
        `(n, height, width, maps + 1)`.

    References:
        Karras et al. 2018, section 3.
    """
    num, height, width, maps = x.shape
    group = min(group, num)
    y = ops.reshape(x, (group, num // group, height, width, maps))
    y = y - ops.mean(y, axis=0, keepdims=True)
    deviation = ops.mean(ops.sqrt(ops.mean(ops.square(y), axis=0) + EPSILON), axis=(1, 2, 3))
    plane = ops.broadcast_to(ops.reshape(ops.tile(deviation, (group,)), (num, 1, 1, 1)), (num, height, width, 1))
    return ops.concatenate([x, plane], axis=-1)
