"""Simulated breast ultrasound in two classes, for tests, demonstrations and trials without patients.

The classes differ the way a radiologist tells them apart (BI-RADS): a benign mass is oval, smooth and wider than tall,
often with a brighter band below it; a malignant mass is irregular, spiculated and taller than wide, often with a shadow
below it. Place, size, depth of echo, gain and the band below vary in both classes and overlap, so that brightness alone
cannot answer and shape and margin must.

References:
    Burckhardt, Speckle in ultrasound B-mode scans, IEEE Trans. Sonics Ultrason. 25 (1978): a sum of many random echoes
    has a Rayleigh envelope, which the scanner shows on a logarithmic scale.
    Stavros et al., Solid breast nodules, Radiology 196 (1995): the findings that tell benign from malignant.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from regan.artifacts.output_folder import atomic_folder
from regan.common.errors import SettingError
from regan.common.progress import Progress

LABELS = ("benign", "malignant")
MARKER = "phantom.json"  # file beside the class folders; it says that no image shows a patient
VERSION = 1  # of the simulation; the same version, seed, class and index give the same picture

_OVERSAMPLING = 2  # the echo field is finer than the picture, as that of a scanner is
_DYNAMIC_RANGE = 50.0  # dB between black and white
_PULSE = (0.0028, 0.0056)  # axial and lateral standard deviation of the point spread, in widths of the picture
_SMALLEST_PULSE = (1.024, 2.048)  # the same in cells of the echo field: small pictures get coarser speckle, not noise


@dataclass(frozen=True)
class Phantoms:
    """Folder and number of the phantom images."""

    path: Path
    num_images: int


@dataclass(frozen=True)
class _Lesion:
    """One mass. Lengths are in widths of the picture, levels in dB."""

    x: float
    y: float
    radius: float  # of the circle of equal area
    height_to_width: float
    tilt: float
    lobes: np.ndarray  # amplitude of the outline's harmonics 2, 3, ..., as a share of the radius
    phases: np.ndarray
    spicules: np.ndarray  # one row each: direction, half width (radians), length (share of the radius)
    softness: float
    level: float
    rim: float  # echogenic capsule (thin) or halo (wide)
    rim_width: float
    posterior: float  # behind one diameter of the mass; above 0 brighter, below 0 a shadow


def phantom(output: str | Path, *, per_class: int = 300, size: int = 64, seed: int = 0) -> Phantoms:
    """Write simulated breast ultrasound images of two classes, benign and malignant, as a plain folder of PNG files.

    Image `i` of a class depends on `seed`, the class and `i` alone: a larger `per_class` only adds images.

    Args:
        output: Folder to write, `<label>/000000.png` and so on; it must be new or empty.
        per_class: Images in each class.
        size: Height and width in pixels, 16 to 1024.
        seed: Same seed, same images.

    Returns:
        Folder and number of the images.

    Raises:
        SettingError: `per_class`, `size` or `seed` is out of range.
    """
    _check(per_class, size, seed)
    total = per_class * len(LABELS)
    with atomic_folder(output) as folder, Progress("Simulate phantom images", total=total, unit="images") as progress:
        for label in LABELS:
            (folder / label).mkdir()
            for index in range(per_class):
                picture = phantom_image(label, index, size=size, seed=seed)
                Image.fromarray(picture).save(folder / label / f"{index:06d}.png")
                progress.advance()
        settings = {"version": VERSION, "per_class": per_class, "size": size, "seed": seed}
        (folder / MARKER).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8", newline="\n")
    return Phantoms(path=Path(output), num_images=total)


def phantom_image(label: str, index: int, *, size: int = 64, seed: int = 0) -> np.ndarray:
    """One simulated ultrasound image.

    Args:
        label: `benign` or `malignant`.
        index: Its number within the class, from 0.
        size: Height and width in pixels.
        seed: Seed of the collection.

    Returns:
        uint8 `(size, size)`, 0-255; depth runs downwards.

    Raises:
        SettingError: `label` is neither of the two.
    """
    if label not in LABELS:
        raise SettingError(f"Unknown label {label!r}: use one of {', '.join(LABELS)}.")
    rng = np.random.default_rng([seed, LABELS.index(label), index])
    lesion = _benign(rng) if label == "benign" else _malignant(rng)
    x, y = _grid(size * _OVERSAMPLING)
    echo = _tissue(x, y, rng)
    echo = _with_lesion(echo, x, y, lesion, rng)
    echo = _with_losses(echo, x, y, rng)
    return _log_compress(_speckle(echo, rng), rng)


def _check(per_class: int, size: int, seed: int) -> None:
    for name, value, low, high in (("per_class", per_class, 1, 999_999), ("size", size, 16, 1024)):
        if not low <= value <= high:
            raise SettingError(f"`{name}` must be between {low} and {high}. Received {name}={value}.")
    if seed < 0:
        raise SettingError(f"`seed` must be 0 or more. Received seed={seed}.")


# The ranges of both classes overlap in all but the outline.
def _benign(rng: np.random.Generator) -> _Lesion:
    lobes = np.array([0.03, 0.05, 0.02]) * rng.uniform(0, 1, 3)
    return _Lesion(
        **_common(rng),
        height_to_width=rng.uniform(0.52, 0.92),
        tilt=rng.normal(0, 0.15),
        lobes=lobes,
        phases=rng.uniform(0, 2 * np.pi, lobes.size),
        spicules=np.empty((0, 3)),
        softness=rng.uniform(0.004, 0.010),
        rim=rng.uniform(1, 5),
        rim_width=rng.uniform(0.008, 0.014),
        posterior=rng.normal(3.0, 5.0),
    )


def _malignant(rng: np.random.Generator) -> _Lesion:
    lobes = np.array([0.05, 0.12, 0.11, 0.10, 0.07, 0.06]) * rng.uniform(0.3, 1.2, 6)
    num_spicules = rng.integers(5, 11)
    directions = rng.uniform(0, 2 * np.pi, num_spicules)
    widths = rng.uniform(0.05, 0.12, num_spicules)
    lengths = rng.uniform(0.2, 1.0, num_spicules)
    return _Lesion(
        **_common(rng),
        height_to_width=rng.uniform(0.88, 1.45),
        tilt=rng.normal(0, 0.25),
        lobes=lobes,
        phases=rng.uniform(0, 2 * np.pi, lobes.size),
        spicules=np.column_stack([directions, widths, lengths]),
        softness=rng.uniform(0.006, 0.016),
        rim=rng.uniform(1, 5),
        rim_width=rng.uniform(0.03, 0.05),
        posterior=rng.normal(-3.0, 5.0),
    )


def _common(rng: np.random.Generator) -> dict[str, float]:
    return {
        "x": rng.uniform(0.28, 0.72),
        "y": rng.uniform(0.38, 0.64),
        "radius": rng.uniform(0.145, 0.21),
        "level": rng.uniform(-24, -15),
    }


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    middle = (np.arange(size, dtype=np.float32) + 0.5) / size
    return middle[None, :], middle[:, None]


def _smooth_field(size: int, rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth random surface, float32 `(size, size)`, of about unit deviation with `rows` by `columns` bumps."""
    knots = rng.standard_normal((rows + 3, columns + 3)).astype(np.float32)
    where_y = np.linspace(1, rows + 1, size, dtype=np.float32)
    where_x = np.linspace(1, columns + 1, size, dtype=np.float32)
    return _spline(where_y, rows + 3) @ knots @ _spline(where_x, columns + 3).T * 2.0


def _spline(where: np.ndarray, num_knots: int) -> np.ndarray:
    """Weights, float32 `(n, num_knots)`, of the cubic B-spline at the positions `where`, `(n,)`."""
    distance = np.abs(where[:, None] - np.arange(num_knots, dtype=np.float32))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def _step(distance: np.ndarray, softness: float) -> np.ndarray:
    """1 where `distance` is below 0, 0 above, `softness` wide."""
    return 1 / (1 + np.exp(np.clip(distance / softness, -30, 30)))


def _tissue(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Echo level, dB `(size, size)`, of skin, fat with its bright septa, gland, and muscle at the bottom."""
    size = x.size
    fat_depth = rng.uniform(0.12, 0.26) + _layer(x, rng)
    muscle_depth = rng.uniform(0.82, 0.98) + _layer(x, rng)
    septa = np.exp(-((_smooth_field(size, 7, 5, rng) / 0.18) ** 2))
    strands = _smooth_field(size, 14, 4, rng)
    fat = -13 + 8 * septa + 1.5 * strands
    gland = -2 + 2.5 * _smooth_field(size, 9, 4, rng) + 2.5 * strands
    fibres = np.sin(2 * np.pi * (y - muscle_depth) * rng.uniform(10, 16) + _smooth_field(size, 4, 4, rng))
    muscle = -9 + 4 * fibres + 2 * strands
    echo = gland + (fat - gland) * _step(y - fat_depth, 0.012)
    echo = echo + (muscle - echo) * _step(muscle_depth - y, 0.008)
    fascia = 9 * np.exp(-(((y - muscle_depth) / 0.010) ** 2))
    skin = 12 * _step(y - rng.uniform(0.03, 0.06), 0.006)
    return echo + fascia + skin


def _layer(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far a boundary between layers dips below its mean depth, `(1, width)`."""
    waves = rng.normal(0, [0.035, 0.018, 0.010])
    phases = rng.uniform(0, 2 * np.pi, 3)
    orders = np.arange(1, 4)
    return (waves * np.sin(np.pi * orders * x[0, :, None] + phases)).sum(axis=1)[None, :]


def _with_lesion(
    echo: np.ndarray, x: np.ndarray, y: np.ndarray, lesion: _Lesion, rng: np.random.Generator
) -> np.ndarray:
    """Add the mass, its capsule or halo, and the enhancement or shadow behind it, dB."""
    outside = _distance_outside(x, y, lesion)
    inside = _step(outside, lesion.softness)
    interior = lesion.level + 1.2 * _smooth_field(x.size, 10, 8, rng)
    echo = echo + (interior - echo) * inside
    echo = echo + lesion.rim * np.exp(-(((outside - lesion.rim_width) / lesion.rim_width) ** 2))
    # Each beam runs down a column: its path through the mass decides how bright everything below is.
    crossed = np.cumsum(inside, axis=0) / x.size
    behind = ndimage.gaussian_filter1d(crossed, 0.012 * x.size, axis=1)
    return echo + lesion.posterior * behind / (2 * lesion.radius) * (1 - 0.6 * inside)


def _distance_outside(x: np.ndarray, y: np.ndarray, lesion: _Lesion) -> np.ndarray:
    """Distance from the outline along the ray from the centre, below 0 within the mass."""
    right, down = x - lesion.x, y - lesion.y
    cos, sin = np.cos(lesion.tilt), np.sin(lesion.tilt)
    stretch = np.sqrt(lesion.height_to_width)
    along, across = (cos * right + sin * down) * stretch, (cos * down - sin * right) / stretch
    angle = np.arctan2(across, along)
    outline = _outline(angle, lesion)
    turn = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    same_area = lesion.radius / np.sqrt(np.mean(_outline(turn, lesion) ** 2))
    return np.hypot(along, across) - same_area * outline


def _outline(angle: np.ndarray, lesion: _Lesion) -> np.ndarray:
    """Radius of the mass in each direction (radians), 1 where it is a plain ellipse."""
    outline = np.ones_like(angle)
    for order, (amplitude, phase) in enumerate(zip(lesion.lobes, lesion.phases), start=2):
        outline += amplitude * np.cos(order * angle + phase)
    for direction, width, length in lesion.spicules:
        turned = np.abs(np.angle(np.exp(1j * (angle - direction))))
        outline += length * np.clip(1 - turned / (2 * width), 0, None) ** 1.5
    return outline


def _with_losses(echo: np.ndarray, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Attenuation that time gain compensation left, the edges of the probe, and uneven contact with the skin, dB."""
    depth_loss = rng.uniform(3, 15) * y
    contact = 2.0 * _smooth_field(x.size, 1, 5, rng)[:1, :]
    edge_loss = rng.uniform(0, 8) * (2 * np.abs(x - 0.5)) ** 4
    return echo - depth_loss - edge_loss + contact


def _speckle(echo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Envelope of random scatterers after the pulse, float32 `(size, size)`: Rayleigh in homogeneous tissue."""
    size = echo.shape[0]
    scatterers = rng.standard_normal((2, size, size), dtype=np.float32) * (10 ** (echo / 20)).astype(np.float32)
    axial, lateral = (max(share * size, least) for share, least in zip(_PULSE, _SMALLEST_PULSE))
    blurred = ndimage.gaussian_filter1d(scatterers, axial, axis=1, mode="nearest")
    blurred = ndimage.gaussian_filter1d(blurred, lateral, axis=2, mode="nearest")
    energy = (
        4 * np.pi * axial * lateral
    )  # the blur divides the power by this: the sum of a squared Gaussian is 1 / (2 sqrt(pi) sigma)
    return np.hypot(blurred[0], blurred[1]) * np.sqrt(energy)


def _log_compress(envelope: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey levels, uint8: logarithm, black to white over the dynamic range, then the mean over the finer grid."""
    size = envelope.shape[0] // _OVERSAMPLING
    level = 20 * np.log10(np.maximum(envelope, 1e-6)) + rng.normal(-15, 2.5)
    grey = np.clip(1 + level / _DYNAMIC_RANGE, 0, 1)
    fine = grey.reshape(size, _OVERSAMPLING, size, _OVERSAMPLING).mean(axis=(1, 3))
    return np.rint(fine * 255).astype(np.uint8)
