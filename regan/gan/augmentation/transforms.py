"""Adaptive augmentation of a batch of images, as operations that can be compiled and differentiated.

Each transform is applied with probability `strength`. All geometry is one resampling: output pixels are traced back
through the chosen transforms, the last one first, to their source. The gradient flows to the images only, and the
operation is linear in them except for the brightness.

References:
    Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix B (the set `bgc`).
    https://arxiv.org/abs/2006.06676
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from regan.gan.augmentation.draws import TRANSFORMS
from regan.gan.augmentation.wavelet import CENTRE, FIRST, TAPS, doubling_matrix, halving_matrix

_WHOLE = ("flip", "turn", "shift")  # move whole pixels to whole pixels, so they need no interpolation
_SMOOTH = ("zoom", "rotation_before", "stretch", "rotation_after", "slide")
_NEUTRAL = {
    **dict.fromkeys(("flip", "zoom", "stretch", "contrast", "luma_flip", "saturation"), 1.0),
    **dict.fromkeys(("shift", "slide", "rotation_before", "rotation_after", "brightness", "hue"), 0.0),
    "turn": np.array([1.0, 0.0]),
}
_GREY = np.full((3, 3), 1 / 3)  # projection onto the grey axis, where red, green and blue are equal
_CROSS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # cross product with that axis (Rodrigues)

Drawn = Mapping[str, Any]


def augment(images: Any, drawn: Drawn, strength: Any) -> Any:
    """Augment images for the discriminator.

    Args:
        images: `(n, size, size, channels)`, -1 to 1; channels 1 (geometry, brightness, contrast, luma flip) or 3 (hue
            and saturation too).
        drawn: Parameters of `draw_transforms` for these images.
        strength: Probability of each transform, `()`, 0-1; 0 returns the images bit for bit.

    Returns:
        `(n, size, size, channels)`; values may be outside -1 to 1.
    """
    is_used = _is_used(drawn["chance"], strength)
    chosen = {name: _select_values(is_used[name], drawn[name], _NEUTRAL[name], images.dtype) for name in TRANSFORMS}
    is_smooth = sum(ops.cast(is_used[name], "int32") for name in _SMOOTH) > 0
    # Both ways are computed, because compiled shapes are static. An image without a smooth transform takes the exact
    # one.
    moved = ops.where(is_smooth[:, None, None, None], _resample(images, chosen), _rearrange_pixels(images, chosen))
    return _transform_colours(moved, chosen)


def _is_used(chance: Any, strength: Any) -> dict[str, Any]:
    strength = ops.cast(strength, chance.dtype)
    # There are two rotations, and the probability of at least one is to be `strength`: 1 - (1 - p)^2 = strength.
    one_of_two = 1 - ops.sqrt(1 - strength)
    probabilities = {name: one_of_two if name.startswith("rotation") else strength for name in TRANSFORMS}
    return {name: chance[:, number] < probabilities[name] for number, name in enumerate(TRANSFORMS)}


def _select_values(is_used: Any, drawn: Any, neutral: Any, dtype: Any) -> Any:
    drawn, neutral = ops.cast(drawn, dtype), ops.convert_to_tensor(neutral, dtype)
    return ops.where(ops.reshape(is_used, (-1, *[1] * (len(drawn.shape) - 1))), drawn, neutral)


def _rearrange_pixels(images: Any, chosen: Drawn) -> Any:
    """Flips, quarter turns and whole shifts: each output pixel is one input pixel, without a filter."""
    size = images.shape[1]
    down, right = _trace_back(*_grid(np.arange(size), size, images.dtype), chosen, _WHOLE)
    rows, columns = (ops.cast(ops.round(_reflect(x, size)), "int32") for x in _pixels(down, right, size))
    return _gather_pixels(images, rows, columns)


def _resample(images: Any, chosen: Drawn) -> Any:
    """Double the images, trace pixels back with bilinear interpolation, and halve the result."""
    # Interpolation at twice the resolution, against aliasing. More pixels than 2 x size are computed, as many as the
    # halving filter reaches beyond the ends.
    size = images.shape[1]
    pixels = (np.arange(2 * size + TAPS - 2) - CENTRE) / 2
    down, right = _trace_back(*_grid(pixels, size, images.dtype), chosen, _SMOOTH)
    down, right = _trace_back(down, right, chosen, _WHOLE)
    rows, columns = (2 * _reflect(x, size) + (CENTRE - FIRST) for x in _pixels(down, right, size))
    return _on_both_axes(
        halving_matrix(size), _interpolate(_on_both_axes(doubling_matrix(size), images), rows, columns)
    )


def _grid(pixels: np.ndarray, size: int, dtype: Any) -> tuple[Any, Any]:
    """Coordinates `(1, p, 1)` down and `(1, 1, p)` right of the image's centre."""
    centred = ops.convert_to_tensor(pixels - (size - 1) / 2, dtype)
    return centred[None, :, None], centred[None, None, :]


def _pixels(down: Any, right: Any, size: int) -> tuple[Any, Any]:
    return down + (size - 1) / 2, right + (size - 1) / 2


def _trace_back(down: Any, right: Any, chosen: Drawn, names: tuple[str, ...]) -> tuple[Any, Any]:
    """Coordinates before these transforms of the content at coordinates `(n, h, w)` after them."""
    for name in reversed(names):
        value = chosen[name]
        if name == "flip":
            right = right * _per_image(value)
        elif name in ("shift", "slide"):
            down, right = down - _per_image(value[:, 0]), right - _per_image(value[:, 1])
        elif name == "turn":
            down, right = _rotate(down, right, _per_image(value[:, 0]), _per_image(value[:, 1]))
        elif name.startswith("rotation"):
            down, right = _rotate(down, right, _per_image(ops.cos(value)), _per_image(ops.sin(value)))
        elif name == "zoom":
            down, right = down / _per_image(value), right / _per_image(value)
        else:  # "stretch" keeps the area
            down, right = down * _per_image(value), right / _per_image(value)
    return down, right


def _rotate(down: Any, right: Any, cosine: Any, sine: Any) -> tuple[Any, Any]:
    return cosine * down + sine * right, cosine * right - sine * down


def _per_image(values: Any) -> Any:
    return values[:, None, None]


def _reflect(pixels: Any, size: int) -> Any:
    """Coordinates in 0 to `size` - 1 of the content at any coordinate, for an image reflected at its borders."""
    last = size - 1
    return last - ops.abs(ops.mod(pixels, 2 * last) - last)


def _interpolate(images: Any, down: Any, right: Any) -> Any:
    top, left = ops.floor(down), ops.floor(right)
    below, beside = (down - top)[..., None], (right - left)[..., None]
    limit = images.shape[1] - 1
    row, column = (ops.clip(ops.cast(x, "int32"), 0, limit) for x in (top, left))
    next_row, next_column = (ops.minimum(x + 1, limit) for x in (row, column))
    upper = _gather_pixels(images, row, column) * (1 - beside) + _gather_pixels(images, row, next_column) * beside
    lower = (
        _gather_pixels(images, next_row, column) * (1 - beside) + _gather_pixels(images, next_row, next_column) * beside
    )
    return upper * (1 - below) + lower * below


def _gather_pixels(images: Any, rows: Any, columns: Any) -> Any:
    """Pixels `(n, h, w, channels)` of each image at `rows` and `columns` `(n, h, w)`, in one flat look-up."""
    # A gather can be compiled and differentiated twice on both frameworks; `affine_transform` of Keras cannot.
    num, height, width, channels = images.shape
    first = ops.reshape(ops.arange(num, dtype="int32") * (height * width), (num, 1, 1))
    return ops.take(ops.reshape(images, (-1, channels)), first + rows * width + columns, axis=0)


def _on_both_axes(matrix: np.ndarray, images: Any) -> Any:
    kernel = ops.convert_to_tensor(matrix, images.dtype)
    return ops.einsum("jw,niwc->nijc", kernel, ops.einsum("ih,nhwc->niwc", kernel, images))


def _transform_colours(images: Any, chosen: Drawn) -> Any:
    """Apply brightness, contrast and luma flip, and to RGB images hue and saturation, in this order."""
    bright = (images + chosen["brightness"][:, None, None, None]) * chosen["contrast"][:, None, None, None]
    if images.shape[-1] == 1:
        return bright * chosen["luma_flip"][:, None, None, None]
    # Not a matrix product, which a GPU may compute in a lower precision (TF32).
    return ops.sum(bright[..., None, :] * _colour_matrices(chosen, images.dtype)[:, None, None], axis=-1)


def _colour_matrices(chosen: Drawn, dtype: Any) -> Any:
    """Matrix `(n, 3, 3)` on red, green and blue: luma flip on the grey axis, hue and saturation on the plane across."""
    identity, grey, cross = (ops.convert_to_tensor(x, dtype) for x in (np.eye(3), _GREY, _CROSS))
    luma, hue, saturation = (chosen[name][:, None, None] for name in ("luma_flip", "hue", "saturation"))
    across = saturation * ops.cos(hue)
    return across * identity + (luma - across) * grey + saturation * ops.sin(hue) * cross
