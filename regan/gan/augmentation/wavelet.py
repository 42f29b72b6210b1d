"""Doubling and halving of images with the orthogonal wavelet sym6, as matrices.

Halving a doubled image restores it, which no symmetric filter does: an image that an augmentation does not change is
not blurred.

References:
    Daubechies 1992, "Ten Lectures on Wavelets", table 6.3 (N = 6).
    Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix B.
    https://arxiv.org/abs/2006.06676
"""

import math

import numpy as np

SYM6 = np.array(
    [
        0.015404109327027373,
        0.0034907120842174702,
        -0.11799011114819057,
        -0.048311742585633,
        0.4910559419267466,
        0.787641141030194,
        0.3379294217276218,
        -0.07263752278646252,
        -0.021060292512300564,
        0.04472490177066578,
        0.0017677118642428036,
        -0.007800708325034148,
    ]
)
TAPS = len(SYM6)
# The filter is not quite symmetric: its centre is 5.098, not 5.5. Pixel k of an image is at place 2 k + CENTRE of the
# doubled one; with 5.5, a half turn would shift the image by 0.4 pixels.
CENTRE = float(np.arange(TAPS) @ SYM6 / SYM6.sum())
FIRST = int(CENTRE)  # the first place of a doubled image that is computed


def doubling_matrix(size: int) -> np.ndarray:
    """Matrix `(2 size, size)` from a row of pixels to places FIRST, FIRST + 1, ... of the doubled row.

    Beyond its ends the row is continued by its reflection, which does not repeat the pixel at the end.
    """
    matrix = np.zeros((2 * size, size))
    for row in range(2 * size):
        place = row + FIRST
        for tap in range(place % 2, TAPS, 2):
            matrix[row, reflect((place - tap) // 2, size)] += math.sqrt(2) * SYM6[tap]
    return matrix


def halving_matrix(size: int) -> np.ndarray:
    """Matrix `(size, 2 size + TAPS - 2)` from places 0, 1, ... of a doubled row to its pixels."""
    matrix = np.zeros((size, 2 * size + TAPS - 2))
    for row in range(size):
        matrix[row, 2 * row : 2 * row + TAPS] = SYM6 / math.sqrt(2)
    return matrix


def reflect(pixel: int, size: int) -> int:
    """Return the pixel 0 to `size` - 1 at any place of a row that is continued by its reflections."""
    period = 2 * (size - 1)
    pixel %= period
    return min(pixel, period - pixel)
