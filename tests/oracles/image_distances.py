"""Slow, literal versions of the distances between image sets, written from their definitions and not from our code."""

import numpy as np
import scipy.linalg


def frechet_by_matrix_root(real, synthetic):
    """Heusel et al. 2017, Eq. 6, with the root of a matrix."""
    first, second = np.cov(real, rowvar=False), np.cov(synthetic, rowvar=False)
    root = scipy.linalg.sqrtm(np.atleast_2d(first) @ np.atleast_2d(second))
    shift = real.mean(axis=0) - synthetic.mean(axis=0)
    return float(shift @ shift + np.trace(np.atleast_2d(first + second)) - 2 * np.trace(root).real)


def kernel_distance_by_loops(real, synthetic):
    """Gretton et al. 2012, Eq. 3, pair by pair."""
    dimension = len(real[0])

    def kernel(a, b):
        return (float(np.dot(a, b)) / dimension + 1) ** 3

    def within(values):
        pairs = [kernel(a, b) for i, a in enumerate(values) for j, b in enumerate(values) if i != j]
        return sum(pairs) / len(pairs)

    across = [kernel(a, b) for a in real for b in synthetic]
    return within(real) + within(synthetic) - 2 * sum(across) / len(across)


def coverage_by_loops(real, synthetic, k):
    """Kynkaanniemi et al. 2019 and Naeem et al. 2020, point by point: precision, recall, density, coverage."""

    def reach(values, i):
        return sorted(np.linalg.norm(values[i] - other) for j, other in enumerate(values) if j != i)[k - 1]

    real_reach = [reach(real, i) for i in range(len(real))]
    synthetic_reach = [reach(synthetic, i) for i in range(len(synthetic))]
    inside = np.array([[np.linalg.norm(r - s) < radius for s in synthetic] for r, radius in zip(real, real_reach)])
    reached = np.array(
        [[np.linalg.norm(r - s) < radius for s, radius in zip(synthetic, synthetic_reach)] for r in real]
    )
    precision, recall = inside.any(axis=0).mean(), reached.any(axis=1).mean()
    return precision, recall, inside.sum(axis=0).mean() / k, inside.any(axis=1).mean()


def nearest_by_trying(image, training, reach):
    """Number and root mean square distance of the nearest training image over mirrorings and whole-pixel shifts."""
    side = image.shape[0]
    best = (None, np.inf)
    for number, other in enumerate(training):
        target = other[reach : side - reach, reach : side - reach].astype(float)
        for mirrored in (image, image[:, ::-1]):
            for down in range(2 * reach + 1):
                for right in range(2 * reach + 1):
                    window = mirrored[down : down + side - 2 * reach, right : right + side - 2 * reach].astype(float)
                    difference = (window - window.mean()) - (target - target.mean())
                    distance = float(np.sqrt(np.mean(difference**2)))
                    if distance < best[1]:
                        best = (number, distance)
    return best
