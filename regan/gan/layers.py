"""Layers of StyleGAN2: equalised dense, convolution, modulated convolution, minibatch standard deviation.

Weights start from N(0, 1) and are scaled by 1 / sqrt(fan-in) when they are used, so that Adam, whose steps do not
depend on the size of gradients, trains every layer at the same speed ("equalised learning rate"). Images are
channels-last.

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

EPSILON = 1e-8  # of all square roots here (Karras et al. 2018 and 2020)


def cast_to(x: Any, compute: str) -> Any:
    """Cast a tensor of any shape to `compute`: `bfloat16`, or the default dtype of the framework where it is empty."""
    return ops.cast(x, compute or keras.config.floatx())


def leaky_relu(x: Any) -> Any:
    """Leaky ReLU of slope 0.2 on a tensor of any shape, times sqrt 2 so that the signal keeps its variance."""
    return backend.leaky_relu(x, 0.2) * math.sqrt(2)


def normalise_second_moment(x: Any) -> Any:
    """Scale the rows of `x` `(n, d)` to a mean square of one; the result is `(n, d)` too."""
    return x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + EPSILON)


def normal(random: np.random.Generator, deviation: float = 1.0) -> Callable[..., np.ndarray]:
    """Make an initialiser that draws from N(0, deviation^2) with NumPy, so that all frameworks get the same weights.

    Args:
        random: Source of the numbers.
        deviation: Standard deviation.

    Returns:
        A function from a shape, such as `(k, k, maps, filters)`, and a dtype to an array of both.
    """

    def draw(shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        values = random.standard_normal(shape) * deviation
        return values.astype(keras.backend.standardize_dtype(dtype or keras.config.floatx()))

    return draw


class Dense(keras.layers.Layer):
    """Equalised dense layer.

    Args:
        units: Number of outputs.
        random: Source of the initial weights.
        rate: Learning rate relative to that of the network: weights start from N(0, 1 / rate^2) and are multiplied by
            rate when they are used, so that a step of Adam changes the output less by this factor.
        bias_start: Initial bias.
        activate: Whether a leaky ReLU follows.
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
        """Create the weights for inputs `(n, d)`."""
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(shape, initializer=normal(self.random, 1 / self.rate), name="kernel")
        bias = keras.initializers.Constant(self.bias_start / self.rate)
        self.bias = self.add_weight((self.units,), initializer=bias, name="bias")

    def call(self, x: Any) -> Any:
        """Map `(n, d)` to `(n, units)`."""
        y = ops.matmul(x, self.kernel * (self.rate / math.sqrt(x.shape[-1]))) + self.bias * self.rate
        return leaky_relu(y) if self.activate else y


class Convolution(keras.layers.Layer):
    """Equalised convolution, with a blur before it if it halves the image.

    Args:
        filters: Number of output maps.
        random: Source of the initial weights.
        kernel_size: 1 or 3.
        down: Whether the output has half the height and width.
        activate: Whether a bias and a leaky ReLU follow; otherwise the convolution is linear and has no bias.
        gain: Factor on the output.
        compute: Dtype of the convolution; the weights, and all that is computed from them alone, stay float32.
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
        """Create the weights for inputs `(n, height, width, maps)`."""
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, initializer=normal(self.random), name="kernel")
        if self.activate:
            self.bias = self.add_weight((self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        """Map `(n, height, width, maps)` to `(n, height, width, filters)`, with `down` at half the height and width."""
        # All constant factors are folded into the small kernel instead of the large maps, but for the gain of an
        # activated layer, which comes after its bias.
        kernel = self.kernel * (self._outer_gain() / math.sqrt(math.prod(self.kernel.shape[:3])))
        y = convolve(cast_to(x, self.compute), cast_to(kernel, self.compute), self.down)
        return leaky_relu(y + ops.cast(self.bias, y.dtype)) * self.gain if self.activate else y

    def _outer_gain(self) -> float:
        return 1.0 if self.activate else self.gain


def convolve(x: Any, kernel: Any, down: bool = False) -> Any:
    """Convolve `(n, height, width, maps)` with a kernel `(k, k, maps, filters)`, k = 1 or 3.

    Returns:
        `(n, height, width, filters)`, or with `down` half the height and width, after a blur against aliasing.
    """
    # A 1 x 1 convolution is a matrix product, and may be done after the image is made smaller.
    if kernel.shape[0] == 1:
        return ops.matmul(resampling.downsample(x) if down else x, kernel[0, 0])
    return backend.convolve(resampling.blur(x, 2, 2), kernel, stride=2) if down else backend.convolve(x, kernel)


def convolve_up(x: Any, kernel: Any) -> Any:
    """Transposed convolution of `(n, h, w, maps)` with `(3, 3, maps, filters)`, then a blur: `(n, 2h, 2w, filters)`."""
    # Stride 2 leaves three of four pixels of the larger grid empty; the factor 4 restores the brightness.
    return 4 * resampling.blur(backend.convolve_transposed(x, kernel), 1, 1)


class ModulatedConvolution(keras.layers.Layer):
    """Convolution whose input maps are scaled by a style (modulation), and whose output maps to unit deviation.

    Scaling the maps instead of the weights gives the same result without a copy of the weights for each image.

    Args:
        filters: Number of output maps.
        random: Source of the initial weights.
        kernel_size: 1 or 3.
        up: Whether the output has twice the height and width.
        demodulate: Whether the output maps are scaled to unit deviation; otherwise the weights are equalised.
        compute: Dtype of the convolution; styles, weights and demodulation stay float32.

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
        """Create the weights for inputs `(n, height, width, maps)` and styles `(n, d)`."""
        # Bias 1: at the start every style leaves the maps as they are.
        self.affine = Dense(input_shape[-1], self.random, bias_start=1.0, name="affine")
        self.affine.build(style_shape)
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, initializer=normal(self.random), name="kernel")

    def call(self, x: Any, style: Any) -> Any:
        """Map `x` `(n, h, w, maps)` and `style` `(n, d)` to `(n, h, w, filters)`, with `up` to twice h and w."""
        scale = self.affine(style)
        # Demodulation cancels every constant factor of the weights, so they are equalised only without it.
        gain = 1.0 if self.demodulate else 1 / math.sqrt(math.prod(self.kernel.shape[:3]))
        kernel = ops.convert_to_tensor(self.kernel) * gain
        x, kernel = cast_to(x, self.compute), cast_to(kernel, self.compute)
        x = x * ops.cast(scale, x.dtype)[:, None, None, :]
        y = convolve_up(x, kernel) if self.up else convolve(x, kernel)
        return y * ops.cast(self._demodulation(scale), y.dtype)[:, None, None, :] if self.demodulate else y

    def _demodulation(self, scale: Any) -> Any:
        # Karras et al. 2020, equation 3: 1 / sqrt(sum over inputs i and places k of (s_i w_ijk)^2), `(n, filters)`.
        power = ops.sum(ops.square(self.kernel), axis=(0, 1))
        return ops.rsqrt(ops.matmul(ops.square(scale), power) + EPSILON)


def append_minibatch_deviation(x: Any, group: int = 4) -> Any:
    """Append a map with the mean standard deviation of each group of samples (minibatch standard deviation).

    It lets the discriminator see a lack of variety, and so works against mode collapse. Groups are interleaved: sample
    `i` belongs to group `i mod (n / group)`.

    Args:
        x: `(n, height, width, maps)`; n must be a multiple of `group`, or less than it.
        group: Samples per group; the whole batch if that is smaller.

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
