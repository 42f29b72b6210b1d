"""Adaptive augmentation of a batch of images, as operations that are compiled and differentiated.

Each transform is used with probability `strength`. Geometry is one resampling: output pixels are traced back through
the chosen transforms, the last one first, to where they come from. The gradient flows to the images alone, and the
operation is linear in them but for the brightness.

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
from regan.gan.augmentation.wavelet import CENTRE, FIRST, TAPS, doubling, halving

_WHOLE = ("flip", "turn", "shift")  # whole pixels go to whole pixels
_SMOOTH = ("zoom", "rotation_before", "stretch", "rotation_after", "slide")
_NEUTRAL = {
    **dict.fromkeys(("flip", "zoom", "stretch", "contrast", "luma_flip", "saturation"), 1.0),
    **dict.fromkeys(("shift", "slide", "rotation_before", "rotation_after", "brightness", "hue"), 0.0),
    "turn": np.array([1.0, 0.0]),
}
_GREY = np.full((3, 3), 1 / 3)  # onto the axis where red, green and blue are the same
_CROSS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # cross product with that axis

Drawn = Mapping[str, Any]


def augment(images: Any, drawn: Drawn, strength: Any) -> Any:
    """Images as the discriminator is shown them.

    Args:
        images: `(n, size, size, channels)`, -1 to 1; channels 1 (geometry, brightness, contrast, luma flip) or 3 (hue
            and saturation too).
        drawn: What `draw_transforms` drew for them.
        strength: Probability of each transform, 0-1; 0 gives back the images to the last bit.

    Returns:
        As `images`; values may leave -1 to 1.
    """
    is_used = _is_used(drawn["chance"], strength)
    chosen = {name: _chosen(is_used[name], drawn[name], _NEUTRAL[name], images.dtype) for name in TRANSFORMS}
    is_smooth = sum(ops.cast(is_used[name], "int32") for name in _SMOOTH) > 0
    moved = ops.where(is_smooth[:, None, None, None], _resampled(images, chosen), _rearranged(images, chosen))
    return _coloured(moved, chosen)


def _is_used(chance: Any, strength: Any) -> dict[str, Any]:
    strength = ops.cast(strength, chance.dtype)
    # Two rotations, of which one or both are used with probability `strength`.
    one_of_two = 1 - ops.sqrt(1 - strength)
    probabilities = {name: one_of_two if name.startswith("rotation") else strength for name in TRANSFORMS}
    return {name: chance[:, number] < probabilities[name] for number, name in enumerate(TRANSFORMS)}


def _chosen(is_used: Any, drawn: Any, neutral: Any, dtype: Any) -> Any:
    drawn, neutral = ops.cast(drawn, dtype), ops.convert_to_tensor(neutral, dtype)
    return ops.where(ops.reshape(is_used, (-1, *[1] * (len(drawn.shape) - 1))), drawn, neutral)


def _rearranged(images: Any, chosen: Drawn) -> Any:
    """Each pixel from one pixel: flips, quarter turns and whole shifts, exactly."""
    size = images.shape[1]
    down, right = _traced(*_grid(np.arange(size), size, images.dtype), chosen, _WHOLE)
    rows, columns = (ops.cast(ops.round(_mirrored(x, size)), "int32") for x in _pixels(down, right, size))
    return _taken(images, rows, columns)


def _resampled(images: Any, chosen: Drawn) -> Any:
    """Doubled, traced back with bilinear interpolation, and halved."""
    size = images.shape[1]
    pixels = (np.arange(2 * size + TAPS - 2) - CENTRE) / 2
    down, right = _traced(*_grid(pixels, size, images.dtype), chosen, _SMOOTH)
    down, right = _traced(down, right, chosen, _WHOLE)
    rows, columns = (2 * _mirrored(x, size) + (CENTRE - FIRST) for x in _pixels(down, right, size))
    return _on_both_axes(halving(size), _interpolated(_on_both_axes(doubling(size), images), rows, columns))


def _grid(pixels: np.ndarray, size: int, dtype: Any) -> tuple[Any, Any]:
    """Places `(1, p, 1)` down and `(1, 1, p)` right of the image's centre."""
    centred = ops.convert_to_tensor(pixels - (size - 1) / 2, dtype)
    return centred[None, :, None], centred[None, None, :]


def _pixels(down: Any, right: Any, size: int) -> tuple[Any, Any]:
    return down + (size - 1) / 2, right + (size - 1) / 2


def _traced(down: Any, right: Any, chosen: Drawn, names: tuple[str, ...]) -> tuple[Any, Any]:
    """Where the content at places `(n, h, w)` was before these transforms."""
    for name in reversed(names):
        value = chosen[name]
        if name == "flip":
            right = right * _each(value)
        elif name in ("shift", "slide"):
            down, right = down - _each(value[:, 0]), right - _each(value[:, 1])
        elif name == "turn":
            down, right = _rotated(down, right, _each(value[:, 0]), _each(value[:, 1]))
        elif name.startswith("rotation"):
            down, right = _rotated(down, right, _each(ops.cos(value)), _each(ops.sin(value)))
        elif name == "zoom":
            down, right = down / _each(value), right / _each(value)
        else:
            down, right = down * _each(value), right / _each(value)
    return down, right


def _rotated(down: Any, right: Any, cosine: Any, sine: Any) -> tuple[Any, Any]:
    return cosine * down + sine * right, cosine * right - sine * down


def _each(values: Any) -> Any:
    return values[:, None, None]


def _mirrored(pixels: Any, size: int) -> Any:
    """Where in 0 to `size` - 1 the mirror images beyond the border have their content from."""
    last = size - 1
    return last - ops.abs(ops.mod(pixels, 2 * last) - last)


def _interpolated(images: Any, down: Any, right: Any) -> Any:
    top, left = ops.floor(down), ops.floor(right)
    below, beside = (down - top)[..., None], (right - left)[..., None]
    limit = images.shape[1] - 1
    row, column = (ops.clip(ops.cast(x, "int32"), 0, limit) for x in (top, left))
    next_row, next_column = (ops.minimum(x + 1, limit) for x in (row, column))
    upper = _taken(images, row, column) * (1 - beside) + _taken(images, row, next_column) * beside
    lower = _taken(images, next_row, column) * (1 - beside) + _taken(images, next_row, next_column) * beside
    return upper * (1 - below) + lower * below


def _taken(images: Any, rows: Any, columns: Any) -> Any:
    """The pixels of each image at `rows` and `columns` `(n, h, w)`, in one flat look-up."""
    num, height, width, channels = images.shape
    first = ops.reshape(ops.arange(num, dtype="int32") * (height * width), (num, 1, 1))
    return ops.take(ops.reshape(images, (-1, channels)), first + rows * width + columns, axis=0)


def _on_both_axes(matrix: np.ndarray, images: Any) -> Any:
    kernel = ops.convert_to_tensor(matrix, images.dtype)
    return ops.einsum("jw,niwc->nijc", kernel, ops.einsum("ih,nhwc->niwc", kernel, images))


def _coloured(images: Any, chosen: Drawn) -> Any:
    """Brightness, contrast, luma flip, and for colours hue and saturation, in this order."""
    bright = (images + chosen["brightness"][:, None, None, None]) * chosen["contrast"][:, None, None, None]
    if images.shape[-1] == 1:
        return bright * chosen["luma_flip"][:, None, None, None]
    # Not a matrix product, which a GPU may round.
    return ops.sum(bright[..., None, :] * _colours(chosen, images.dtype)[:, None, None], axis=-1)


def _colours(chosen: Drawn, dtype: Any) -> Any:
    """Matrix `(n, 3, 3)` on red, green and blue. They leave the grey axis and the plane across apart."""
    identity, grey, cross = (ops.convert_to_tensor(x, dtype) for x in (np.eye(3), _GREY, _CROSS))
    luma, hue, saturation = (chosen[name][:, None, None] for name in ("luma_flip", "hue", "saturation"))
    across = saturation * ops.cos(hue)
    return across * identity + (luma - across) * grey + saturation * ops.sin(hue) * cross
