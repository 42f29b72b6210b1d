"""Adaptive augmentation of one image in NumPy and SciPy: 3 x 3 and 4 x 4 matrices as in the paper's appendix B."""

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.signal import upfirdn


def augmented(image, values, filter_taps):
    """`image` `(size, size, channels)` after the transforms `values`, in float64; left out = not used."""
    moved = geometry(image.astype(np.float64), values, np.asarray(filter_taps))
    return colour(moved, values)


def translation(right, down):
    return np.array([[1, 0, right], [0, 1, down], [0, 0, 1.0]])


def scaling(right, down):
    return np.diag([right, down, 1.0])


def rotation(angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])


def matrix(values):
    """Where the point (right, down, 1) from the centre goes."""
    g = np.eye(3)
    g = scaling(values.get("flip", 1), 1) @ g
    if "turn" in values:
        g = rotation(-np.arctan2(values["turn"][1], values["turn"][0])) @ g
    if "shift" in values:
        g = translation(values["shift"][1], values["shift"][0]) @ g
    g = scaling(values.get("zoom", 1), values.get("zoom", 1)) @ g
    g = rotation(-values.get("rotation_before", 0)) @ g
    g = scaling(values.get("stretch", 1), 1 / values.get("stretch", 1)) @ g
    g = rotation(-values.get("rotation_after", 0)) @ g
    if "slide" in values:
        g = translation(values["slide"][1], values["slide"][0]) @ g
    return g


def geometry(image, values, taps):
    size = len(image)
    back = np.linalg.inv(matrix(values))
    if not set(values) & {"zoom", "rotation_before", "stretch", "rotation_after", "slide"}:
        row, column = folded(places(np.arange(size), back, size), size)
        return interpolate(image, row, column, 0)
    centre = np.arange(len(taps)) @ taps / taps.sum()
    pixels = (np.arange(2 * size + len(taps) - 2) - centre) / 2
    row, column = (2 * x + centre for x in folded(places(pixels, back, size), size))
    found = interpolate(double(image, taps), row, column, 1)
    return halve(halve(found, taps).swapaxes(0, 1), taps).swapaxes(0, 1)[:size, :size]


def places(pixels, back, size):
    """Rows and columns from where the output pixels come."""
    centred = pixels - (size - 1) / 2
    down, right = np.meshgrid(centred, centred, indexing="ij")
    source = np.einsum("ij,jhw->ihw", back, np.stack([right, down, np.ones_like(down)]))
    return source[1] + (size - 1) / 2, source[0] + (size - 1) / 2


def folded(coordinates, size):
    """Triangle wave: the mirror images of the row, without repeating its ends."""
    last = size - 1
    return [np.arccos(np.cos(np.pi * x / last)) * last / np.pi for x in coordinates]


def interpolate(image, row, column, order):
    return np.stack([map_coordinates(plane, [row, column], order=order) for plane in np.moveaxis(image, 2, 0)], axis=2)


def double(image, taps):
    """Twice the image with gain 4, continued by its mirror image."""
    margin = len(taps)
    for _ in range(2):
        padded = np.pad(image, [(margin, margin), (0, 0), (0, 0)], mode="reflect")
        image = upfirdn(np.sqrt(2) * taps, padded, up=2, axis=0)[2 * margin :]
        image = image.swapaxes(0, 1)
    return image


def halve(image, taps):
    reversed_taps = taps[::-1] / np.sqrt(2)
    return upfirdn(reversed_taps, image, down=1, axis=0)[len(taps) - 1 :: 2]


def colour(image, values):
    """Homogeneous 4 x 4 matrix on red, green and blue; on grey images its effect on equal values."""
    c = np.eye(4)
    v = np.array([1, 1, 1, 0]) / np.sqrt(3)
    shift = np.eye(4)
    shift[:3, 3] = values.get("brightness", 0)
    c = shift @ c
    contrast = values.get("contrast", 1)
    c = np.diag([contrast] * 3 + [1]) @ c
    if values.get("luma_flip", 1) < 0:
        c = (np.eye(4) - 2 * np.outer(v, v)) @ c
    angle, k = values.get("hue", 0), np.zeros((4, 4))
    k[:3, :3] = np.cross(v[:3], np.eye(3)).T
    turn = np.cos(angle) * np.eye(4) + (1 - np.cos(angle)) * np.outer(v, v) + np.sin(angle) * k
    turn[3] = turn[:, 3] = [0, 0, 0, 1]
    c = turn @ c
    keep = np.outer(v, v)
    keep[3, 3] = 1
    c = (keep + (np.eye(4) - keep) * values.get("saturation", 1)) @ c
    colours = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    result = colours @ c[:3, :3].T + c[:3, 3]
    return result.mean(axis=2, keepdims=True) if image.shape[2] == 1 else result
