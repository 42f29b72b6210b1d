"""The operators of StyleGAN2 as plain loops over pixels in NumPy, from the papers' definitions."""

import numpy as np

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def blur(images, before, after):
    """Correlation of zero-padded images `(n, h, w, c)` with FILTER (which is symmetric)."""
    return filtered(np.pad(images, [(0, 0), (before, after), (before, after), (0, 0)]), FILTER)


def filtered(images, kernel):
    num, height, width, channels = images.shape
    side = len(kernel)
    result = np.zeros((num, height - side + 1, width - side + 1, channels))
    for row in range(result.shape[1]):
        for column in range(result.shape[2]):
            window = images[:, row : row + side, column : column + side]
            result[:, row, column] = np.einsum("nhwc,hw->nc", window, kernel)
    return result


def upsample(images):
    """Zeros between the pixels, then FILTER with gain 4; the result is centred on the pixels."""
    num, height, width, channels = images.shape
    spread = np.zeros((num, 2 * height, 2 * width, channels))
    spread[:, ::2, ::2] = images
    return 4 * blur(spread, 2, 1)


def downsample(images):
    """FILTER, then every second pixel."""
    return blur(images, 1, 1)[:, ::2, ::2]


def convolve(images, kernel, stride=1):
    """Correlation of `(h, w, c_in)` with `(k, k, c_in, c_out)`; zero padding of k // 2 at stride 1, none at 2."""
    pad = len(kernel) // 2 if stride == 1 else 0
    images = np.pad(images, [(pad, pad), (pad, pad), (0, 0)])
    size = (images.shape[0] - len(kernel)) // stride + 1
    result = np.zeros((size, size, kernel.shape[-1]))
    for row in range(size):
        for column in range(size):
            window = images[row * stride : row * stride + len(kernel), column * stride : column * stride + len(kernel)]
            result[row, column] = np.einsum("hwi,hwio->o", window, kernel)
    return result


def convolve_transposed(images, kernel):
    """Each pixel of `(h, w, c_in)` adds the kernel `(3, 3, c_in, c_out)` at twice its place."""
    height, width, _ = images.shape
    result = np.zeros((2 * height + 1, 2 * width + 1, kernel.shape[-1]))
    for row in range(height):
        for column in range(width):
            result[2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += np.einsum(
                "i,hwio->hwo", images[row, column], kernel
            )
    return result


def modulated(images, kernel, styles, *, up=False, demodulate=True):
    """Karras et al. 2020, equations 1 and 3: the weights of every image are scaled by its style, and normalised."""
    results = []
    for image, style in zip(images, styles):
        weights = kernel * style[None, None, :, None]
        if demodulate:
            weights = weights / np.sqrt((weights**2).sum(axis=(0, 1, 2)) + 1e-8)
        if up:
            results.append(4 * blur(convolve_transposed(image, weights)[None], 1, 1)[0])
        else:
            results.append(convolve(image, weights))
    return np.stack(results)


def minibatch_deviation(x, group=4):
    """Karras et al. 2018, section 3, for the groups `i mod (n / group)`: one value a group, as one more map."""
    num = len(x)
    group = min(group, num)
    planes = np.zeros((*x.shape[:3], 1))
    for first in range(num // group):
        members = list(range(first, num, num // group))
        deviations = np.sqrt(x[members].var(axis=0) + 1e-8)
        planes[members] = deviations.mean()
    return np.concatenate([x, planes], axis=-1)


def leaky_relu(x):
    """Slope 0.2, times sqrt 2."""
    return np.where(x >= 0, x, 0.2 * x) * np.sqrt(2)


def path_lengths(synthesise, styles, direction, step=1e-5):
    """Karras et al. 2020, equation 4, one style value after the other by a small step to both sides.

    `synthesise` goes from the styles of one image `(num_styles, d)` to the image `(h, w, c)`.
    """
    lengths = []
    for own, along in zip(styles, direction):
        squares = 0.0
        for place in np.ndindex(own.shape):
            ahead, behind = own.copy(), own.copy()
            ahead[place] += step
            behind[place] -= step
            slope = ((synthesise(ahead) - synthesise(behind)) * along).sum() / (2 * step) / len(along)
            squares += slope**2
        lengths.append(np.sqrt(squares / len(own)))
    return np.array(lengths)


def squared_gradient_norms(score, images, step=1e-5):
    """Squared norm of the gradient of `score`, from one image to a number, one pixel after the other."""
    norms = []
    for image in images:
        squares = 0.0
        for place in np.ndindex(image.shape):
            ahead, behind = image.copy(), image.copy()
            ahead[place] += step
            behind[place] -= step
            squares += ((score(ahead) - score(behind)) / (2 * step)) ** 2
        norms.append(squares)
    return np.array(norms)
