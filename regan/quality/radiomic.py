"""Hand-crafted image statistics: brightness, layout, texture, shape of the dark region in the middle, colour.

They need no weights and no training, work from 32 to 1024 pixels, and have natural units: brightness and shares from 0
to 1, logarithms, correlations. Texture is measured at full size, layout and shape on a 32 x 32 reduction. A constant
image has no skewness, correlation or direction; these features are then 0.

References:
    Haralick et al., IEEE Trans. SMC 3 (1973), co-occurrence; Ojala et al., IEEE PAMI 24 (2002), local binary patterns;
    Galloway, CGIP 4 (1975), run lengths; Otsu, IEEE Trans. SMC 9 (1979), threshold. Such features follow downstream
    tasks on medical images: Konz, Osuala et al. (2026), Frechet radiomic distance.
"""

import numpy as np
from scipy import ndimage

VERSION = 1  # of the definitions below; a change of any of them is a new version
_SMALL = 32  # pixels; side of the reduction for layout and shape
_CHUNK_PIXELS = 2**19  # pixels per chunk of images, so that it stays in the cache of the processor
_QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
_CENTRAL_WIDTH = 0.25  # image widths; standard deviation of the Gaussian that weights central dark regions


def radiomic_features(images: np.ndarray) -> np.ndarray:
    """Compute the statistics of each image.

    Args:
        images: uint8 `(n, size, size, 1 or 3)`, 0-255, `size` a multiple of 32.

    Returns:
        float64 `(n, len(FEATURE_NAMES))`, finite.

    Raises:
        ValueError: The images have another shape or type.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or images.shape[1] % _SMALL:
        raise ValueError(
            "Radiomic features need uint8 images (n, size, size, 1 or 3) with a size that is a multiple of 32. "
            f"Received {images.dtype} {images.shape}."
        )
    step = max(1, _CHUNK_PIXELS // (images.shape[1] * images.shape[2]))
    parts = [_measure(images[start : start + step]) for start in range(0, len(images), step)]
    return np.concatenate(parts) if parts else np.empty((0, len(FEATURE_NAMES)))


def _measure(images: np.ndarray) -> np.ndarray:
    grey = _grey(images)
    brightness = grey.astype(np.float32) / 255
    small = _block_mean(brightness, _SMALL)
    columns = (
        _intensity(grey),
        _layout(small),
        _gradients(brightness),
        _wavelets(brightness),
        _autocorrelation(brightness),
        _cooccurrence(grey >> 5),
        _local_patterns(grey),
        _runs(grey >> 5),
        _shape(small),
        _colour(images),
    )
    return np.concatenate(columns, axis=1, dtype=np.float64)


def _grey(images: np.ndarray) -> np.ndarray:
    if images.shape[-1] == 1:
        return images[..., 0]
    weighted = images.astype(np.uint32) @ np.array([299, 587, 114], np.uint32)  # luma of ITU-R BT.601
    return ((weighted + 500) // 1000).astype(np.uint8)


def _block_mean(values: np.ndarray, side: int) -> np.ndarray:
    n, size, _ = values.shape
    step = size // side
    return values if step == 1 else values.reshape(n, side, step, side, step).mean(axis=(2, 4))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    # 0 where the denominator is 0: a constant image has no such property.
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(values, out=np.zeros_like(values), where=values > 0)


def _histogram(codes: np.ndarray, num_codes: int) -> np.ndarray:
    # Shares of each code in each image, (n, num_codes).
    n = len(codes)
    flat = codes.reshape(n, -1).astype(np.intp) + num_codes * np.arange(n)[:, None]
    return np.bincount(flat.ravel(), minlength=n * num_codes).reshape(n, num_codes) / flat.shape[1]


def _entropy(shares: np.ndarray) -> np.ndarray:
    # Divided by that of a uniform distribution: 0 to 1.
    return -np.sum(shares * _log(shares), axis=1) / np.log(shares.shape[1])


def _intensity(grey: np.ndarray) -> np.ndarray:
    # Moments and quantiles follow from the histogram, which is much smaller than the image.
    shares = _histogram(grey, 256)
    levels = np.arange(256) / 255
    mean = shares @ levels
    centred = levels - mean[:, None]
    variance, third, fourth = (np.sum(shares * centred**power, axis=1) for power in (2, 3, 4))
    cumulative = np.cumsum(shares, axis=1)
    quantiles = [np.argmax(cumulative >= q - 1e-9, axis=1) / 255 for q in _QUANTILES]
    coarse = shares.reshape(len(shares), 32, 8).sum(axis=2)
    columns = [mean, np.sqrt(variance), _ratio(third, variance**1.5), _log(_ratio(fourth, variance**2)), *quantiles]
    columns += [_entropy(coarse), np.sum(coarse**2, axis=1), shares[:, :3].sum(axis=1), shares[:, 253:].sum(axis=1)]
    return np.stack(columns, axis=1)


def _layout(small: np.ndarray) -> np.ndarray:
    means = _block_mean(small, 4).reshape(len(small), -1)
    strips = small.reshape(len(small), 4, 8, _SMALL)
    columns = small.reshape(len(small), _SMALL, 4, 8)
    return np.concatenate([means, strips.std(axis=(2, 3)), columns.std(axis=(1, 3))], axis=1)


def _gradients(brightness: np.ndarray) -> np.ndarray:
    # Central differences. The last two ratios are the structure tensor's anisotropy along the axes and the diagonals.
    dx = (brightness[:, 1:-1, 2:] - brightness[:, 1:-1, :-2]) / 2
    dy = (brightness[:, 2:, 1:-1] - brightness[:, :-2, 1:-1]) / 2
    xx, yy, xy = (np.mean(product, axis=(1, 2)) for product in (dx * dx, dy * dy, dx * dy))
    steepness = np.hypot(dx, dy)
    mean = steepness.mean(axis=(1, 2))
    columns = [np.abs(dx).mean(axis=(1, 2)), np.abs(dy).mean(axis=(1, 2)), mean]
    columns += [_ratio(np.sqrt(xx + yy), mean), (steepness > 0.1).mean(axis=(1, 2))]
    columns += [_ratio(xx - yy, xx + yy), _ratio(2 * xy, xx + yy)]
    return np.stack(columns, axis=1)


def _wavelets(brightness: np.ndarray) -> np.ndarray:
    # Haar wavelet: root mean square of the three details in the three finest octaves, and the weight of their tails.
    columns, low = [], brightness
    for _ in range(3):
        a, b, c, d = low[:, ::2, ::2], low[:, ::2, 1::2], low[:, 1::2, ::2], low[:, 1::2, 1::2]
        rows, across, corners = (a + b - c - d) / 4, (a - b + c - d) / 4, (a - b - c + d) / 4
        powers = [np.mean(detail * detail, axis=(1, 2)) for detail in (rows, across, corners)]
        straight = (rows * rows + across * across).reshape(len(low), -1)
        columns += [np.sqrt(power) for power in powers]
        columns.append(_log(_ratio(np.mean(straight**2, axis=1), np.mean(straight, axis=1) ** 2)))
        low = (a + b + c + d) / 4
    return np.stack(columns, axis=1)


def _autocorrelation(brightness: np.ndarray) -> np.ndarray:
    centred = brightness - brightness.mean(axis=(1, 2), keepdims=True)
    variance = np.mean(centred * centred, axis=(1, 2))
    columns = []
    for lag in (1, 2, 4):
        columns.append(_ratio(np.mean(centred[:, :, lag:] * centred[:, :, :-lag], axis=(1, 2)), variance))
        columns.append(_ratio(np.mean(centred[:, lag:] * centred[:, :-lag], axis=(1, 2)), variance))
    return np.stack(columns, axis=1)


def _cooccurrence(levels: np.ndarray) -> np.ndarray:
    # Grey-level co-occurrence (Haralick 1973) of 8 levels at distances 1 and 2, mean of four directions: contrast,
    # homogeneity, energy, entropy and correlation. 49 is the largest squared difference of two levels.
    i, j = (axis.ravel() for axis in np.mgrid[:8, :8])
    columns = []
    for distance in (1, 2):
        shares = _pair_shares(levels, distance)
        mean = shares @ (i + j) / 2
        spread = shares @ (i**2 + j**2) / 2 - mean**2
        columns += [
            shares @ ((i - j) ** 2) / 49,
            shares @ (1 / (1 + np.abs(i - j))),
            np.sqrt(np.sum(shares**2, axis=1)),
        ]
        columns += [_entropy(shares), _ratio(shares @ (i * j) - mean**2, np.where(spread > 1e-9, spread, 0))]
    return np.stack(columns, axis=1)


def _pair_shares(levels: np.ndarray, distance: int) -> np.ndarray:
    near, far = slice(None, -distance), slice(distance, None)
    every = slice(None)
    pairs = [((every, near), (every, far)), ((near, every), (far, every)), ((near, near), (far, far))]
    pairs.append(((near, far), (far, near)))
    one_way = np.mean([_histogram(8 * levels[:, *a] + levels[:, *b], 64) for a, b in pairs], axis=0).reshape(-1, 8, 8)
    return ((one_way + one_way.swapaxes(1, 2)) / 2).reshape(-1, 64)


def _local_patterns(grey: np.ndarray) -> np.ndarray:
    # Local binary patterns (Ojala 2002): which of the 8 neighbours are at least as bright as the middle. Nine uniform
    # patterns by their count of bright neighbours, and one code for all others.
    middle = grey[:, 1:-1, 1:-1]
    size = grey.shape[1]
    codes = np.zeros(middle.shape, np.uint8)
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    for bit, (row, column) in enumerate(ring):
        brighter = grey[:, row : row + size - 2, column : column + size - 2] >= middle
        codes |= brighter.view(np.uint8) << np.uint8(bit)
    return _histogram(_UNIFORM_PATTERN[codes], 10)


def _uniform_patterns() -> np.ndarray:
    # Uniform: at most two changes around the ring. These are the edges, corners and flat spots of a texture.
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = np.sum(bits != np.roll(bits, 1, axis=1), axis=1)
    return np.where(changes <= 2, bits.sum(axis=1), 9).astype(np.uint8)


_UNIFORM_PATTERN = _uniform_patterns()


def _runs(levels: np.ndarray) -> np.ndarray:
    # Run lengths (Galloway 1975): share of neighbours on one grey level, and of pixels where a run of four or more
    # starts.
    across, down = levels[:, :, 1:] == levels[:, :, :-1], levels[:, 1:] == levels[:, :-1]
    long_across = across[:, :, 2:] & across[:, :, 1:-1] & across[:, :, :-2]
    long_down = down[:, 2:] & down[:, 1:-1] & down[:, :-2]
    return np.stack([share.mean(axis=(1, 2)) for share in (across, down, long_across, long_down)], axis=1)


def _shape(small: np.ndarray) -> np.ndarray:
    smooth = ndimage.uniform_filter(small, size=(1, 3, 3), mode="nearest")
    dark = smooth < _otsu(smooth)[:, None, None]
    region, num_regions = _central_region(dark)
    total = region.sum(axis=(1, 2)).astype(np.float64)
    position = (np.arange(_SMALL) + 0.5) / _SMALL
    x, y = (_ratio(np.sum(region * grid, axis=(1, 2)), total) for grid in (position, position[:, None]))
    off_x, off_y = position - x[:, None, None], position[:, None] - y[:, None, None]
    # Each pixel is a small square with a variance of its own, 1/12 of its squared side: thin regions have one too.
    own = np.where(total > 0, 1 / (12 * _SMALL**2), 0)
    xx, yy = (_ratio(np.sum(region * off**2, axis=(1, 2)), total) + own for off in (off_x, off_y))
    xy = _ratio(np.sum(region * off_x * off_y, axis=(1, 2)), total)
    outline = _outline(region)
    ellipse = 4 * np.pi * np.sqrt(np.clip(xx * yy - xy**2, 0, None)) * _SMALL**2
    border = np.concatenate([region[:, 0], region[:, -1], region[:, :, 0], region[:, :, -1]], axis=1)
    columns = [total / _SMALL**2, x, y, _log(_ratio(yy, xx)) / 2, _ratio(xx - yy, xx + yy), _ratio(2 * xy, xx + yy)]
    columns += [
        _ratio(4 * np.pi * total, outline**2),
        _ratio(total, ellipse),
        border.mean(axis=1),
        np.log1p(num_regions),
    ]
    columns += [dark.mean(axis=(1, 2)), _inside_minus_outside(small, region), _below_minus_beside(small, x, y, xx, yy)]
    columns.append(_outline_steepness(smooth, region))
    return np.stack(columns, axis=1)


def _otsu(smooth: np.ndarray) -> np.ndarray:
    # Otsu 1979: the threshold with the largest variance between the two classes, over 64 levels.
    shares = _histogram(np.minimum(smooth * 64, 63), 64)
    below = np.cumsum(shares, axis=1)
    first = np.cumsum(shares * np.arange(64), axis=1)
    gap = first[:, -1:] * below - first
    between = _ratio(gap**2, below * (1 - below))
    return (np.argmax(between[:, :-1], axis=1) + 1) / 64


def _central_region(dark: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Of each image's connected dark regions the one with the largest area, weighted by a central Gaussian; and their
    # number. All images are labelled in one call; the structure has no links between images.
    flat = np.zeros((3, 3, 3), int)
    flat[1] = ndimage.generate_binary_structure(2, 1)
    labels, count = ndimage.label(dark, flat)
    image = np.zeros(count + 1, np.intp)
    image[labels] = np.arange(len(dark))[:, None, None]
    off = (np.arange(_SMALL) + 0.5) / _SMALL - 0.5
    central = np.exp(-(off**2 + off[:, None] ** 2) / (2 * _CENTRAL_WIDTH**2))
    weight = np.bincount(labels.ravel(), np.broadcast_to(central, dark.shape).ravel(), minlength=count + 1)
    order = np.lexsort((weight[1:], image[1:])) + 1  # by image, the weightiest region last
    chosen = np.full(len(dark), -1)
    chosen[image[order]] = order
    return labels == chosen[:, None, None], np.bincount(image[1:], minlength=len(dark)).astype(np.float64)


def _outline(region: np.ndarray) -> np.ndarray:
    padded = np.pad(region, ((0, 0), (1, 1), (1, 1)))
    down, across = padded[:, 1:] != padded[:, :-1], padded[:, :, 1:] != padded[:, :, :-1]
    return (down.sum(axis=(1, 2)) + across.sum(axis=(1, 2))).astype(np.float64)


def _masked_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    sums = np.asarray(np.sum(values * mask, axis=(1, 2)), np.float64)
    return _ratio(sums, np.asarray(mask.sum(axis=(1, 2)), np.float64))


def _difference_of_means(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    both = first.any(axis=(1, 2)) & second.any(axis=(1, 2))
    return np.where(both, _masked_mean(values, first) - _masked_mean(values, second), 0)


def _inside_minus_outside(small: np.ndarray, region: np.ndarray) -> np.ndarray:
    return _difference_of_means(small, region, ~region)


def _below_minus_beside(small: np.ndarray, x: np.ndarray, y: np.ndarray, xx: np.ndarray, yy: np.ndarray) -> np.ndarray:
    # In ultrasound the tissue behind a mass is darker (shadow) or brighter (enhancement) than that beside it.
    position = (np.arange(_SMALL) + 0.5) / _SMALL
    rows = position[None, :, None] > (y + 2 * np.sqrt(yy))[:, None, None]
    columns = np.abs(position - x[:, None])[:, None, :] < np.sqrt(xx)[:, None, None]
    return _difference_of_means(small, rows & columns, rows & ~columns)


def _outline_steepness(smooth: np.ndarray, region: np.ndarray) -> np.ndarray:
    down, across = np.abs(np.diff(smooth, axis=1)), np.abs(np.diff(smooth, axis=2))
    at_down, at_across = np.diff(region, axis=1), np.diff(region, axis=2)
    summed = np.asarray((down * at_down).sum(axis=(1, 2)) + (across * at_across).sum(axis=(1, 2)), np.float64)
    return _ratio(summed, np.asarray(at_down.sum(axis=(1, 2)) + at_across.sum(axis=(1, 2)), np.float64))


def _colour(images: np.ndarray) -> np.ndarray:
    if images.shape[-1] == 1:
        return np.zeros((len(images), 6))
    red, green, blue = (images[..., channel].astype(np.float32) / 255 for channel in range(3))
    saturation = (images.max(axis=-1) - images.min(axis=-1)).astype(np.float32) / 255
    planes = (red - green, blue - green, saturation)
    return np.stack([f(plane, axis=(1, 2)) for plane in planes for f in (np.mean, np.std)], axis=1)


def _feature_names() -> tuple[str, ...]:
    intensity = ["mean", "deviation", "skewness", "log_kurtosis", *(f"quantile_{q:g}" for q in _QUANTILES)]
    intensity += ["entropy", "uniformity", "black", "white"]
    layout = [f"mean_{row}_{column}" for row in range(4) for column in range(4)]
    layout += [f"deviation_row_{row}" for row in range(4)] + [f"deviation_column_{column}" for column in range(4)]
    gradient = ["across", "down", "steepness", "unevenness", "edges", "horizontal", "diagonal"]
    wavelet = [f"{kind}_{octave}" for octave in range(3) for kind in ("rows", "columns", "corners", "tails")]
    correlation = [f"{direction}_{lag}" for lag in (1, 2, 4) for direction in ("across", "down")]
    pairs = ("contrast", "homogeneity", "energy", "entropy", "correlation")
    shape = ["area", "x", "y", "log_height_to_width", "horizontal", "diagonal", "compactness", "ellipse_fill", "border"]
    shape += ["log_regions", "dark", "contrast", "posterior", "outline_steepness"]
    colour = [
        f"{plane}_{kind}" for plane in ("red_green", "blue_green", "saturation") for kind in ("mean", "deviation")
    ]
    groups = {
        "intensity": intensity,
        "layout": layout,
        "gradient": gradient,
        "wavelet": wavelet,
        "autocorrelation": correlation,
        "cooccurrence": [f"{name}_{distance}" for distance in (1, 2) for name in pairs],
        "pattern": [str(code) for code in range(10)],
        "run": ["across", "down", "long_across", "long_down"],
        "shape": shape,
        "colour": colour,
    }
    return tuple(f"{group}.{name}" for group, names in groups.items() for name in names)


FEATURE_NAMES = _feature_names()
