"""Blur, upsampling and downsampling of images with the filter [1, 3, 3, 1].

Each operator is written as slices and sums, axis by axis, and has its adjoint as its gradient. XLA then computes first
and second derivatives at the cost of the operator itself. For a depthwise convolution it does not: the second
derivative of a 64 x 64 blur took 1315 instead of 11 ms of CPU.

References:
    Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B.
    https://arxiv.org/abs/1912.04958
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from keras import ops

from regan import backend

_HEIGHT, _WIDTH = 1, 2


def blur(images: Any, before: int, after: int) -> Any:
    """Filter images with [1, 3, 3, 1] x [1, 3, 3, 1] / 64.

    Args:
        images: `(n, height, width, channels)`.
        before: Rows and columns of zeros added above and to the left, 0-3.
        after: The same below and to the right, 0-3.

    Returns:
        `(n, height + before + after - 3, width + before + after - 3, channels)`.
    """
    return _blur_pair(before, after)[0](images)


def upsample(images: Any) -> Any:
    """Double the size of images `(n, h, w, c)` to `(n, 2h, 2w, c)`; inside, a constant image keeps its value."""
    return _resample_pair()[0](images)


def downsample(images: Any) -> Any:
    """Halve the size of images `(n, h, w, c)` to `(n, h / 2, w / 2, c)`; inside, a constant image keeps its value."""
    # The adjoint of upsampling sums four pixels.
    return _resample_pair()[1](images) / 4


@cache
def _blur_pair(before: int, after: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    # The filter is symmetric, so its adjoint is itself with the complementary padding.
    return backend.linear_operator(
        lambda x: _on_both_axes(_blur_axis, x, before, after),
        lambda y: _on_both_axes(_blur_axis, y, 3 - before, 3 - after),
    )


@cache
def _resample_pair() -> tuple[Callable[..., Any], Callable[..., Any]]:
    return backend.linear_operator(
        lambda x: _on_both_axes(_double_axis, x),
        lambda y: 4 * _on_both_axes(_halve_axis, y),
    )


def _on_both_axes(function: Callable[..., Any], x: Any, *settings: int) -> Any:
    return function(function(x, _HEIGHT, *settings), _WIDTH, *settings)


def _blur_axis(x: Any, axis: int, before: int, after: int) -> Any:
    length = x.shape[axis] + before + after - 3
    x = _pad(x, axis, before, after)
    outer = _slice(x, axis, 0, length) + _slice(x, axis, 3, 3 + length)
    inner = _slice(x, axis, 1, 1 + length) + _slice(x, axis, 2, 2 + length)
    return outer / 8 + inner * 3 / 8


def _double_axis(x: Any, axis: int) -> Any:
    # Polyphase form: of the four taps only two meet a pixel, (1, 3) / 4 at even and (3, 1) / 4 at odd places.
    length = x.shape[axis]
    padded = _pad(x, axis, 1, 1)
    even = _slice(padded, axis, 0, length) / 4 + x * 3 / 4
    odd = x * 3 / 4 + _slice(padded, axis, 2, 2 + length) / 4
    shape = list(x.shape)
    shape[axis] = 2 * length
    return ops.reshape(ops.stack([even, odd], axis=axis + 1), shape)


def _halve_axis(x: Any, axis: int) -> Any:
    # Polyphase form of filter and stride 2: pixels are read as pairs, so that nothing is computed and dropped.
    length = x.shape[axis] // 2
    pairs = ops.reshape(x, (*x.shape[:axis], length, 2, *x.shape[axis + 1 :]))
    even, odd = ops.take(pairs, 0, axis=axis + 1), ops.take(pairs, 1, axis=axis + 1)
    previous_odd = _slice(_pad(odd, axis, 1, 0), axis, 0, length)
    next_even = _slice(_pad(even, axis, 0, 1), axis, 1, 1 + length)
    return (previous_odd + next_even) / 8 + (even + odd) * 3 / 8


def _pad(x: Any, axis: int, before: int, after: int) -> Any:
    widths = [(0, 0)] * 4
    widths[axis] = (before, after)
    return ops.pad(x, widths)


def _slice(x: Any, axis: int, start: int, stop: int) -> Any:
    index = [slice(None)] * 4
    index[axis] = slice(start, stop)
    return x[tuple(index)]
