"""Slow, literal versions of the paired statistics, written from their definitions and not from our code."""

import itertools
import math
from fractions import Fraction

import numpy as np
from scipy import optimize


def auc_by_counting(labels, scores):
    """Mann and Whitney: share of (positive, negative) pairs in the right order, ties one half."""
    pairs = [(p, n) for p, y in zip(scores, labels) if y for n, z in zip(scores, labels) if not z]
    return sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)


def delong_covariance(labels, scores_1, scores_2):
    """DeLong et al. 1988, Eq. 4-6, with the kernel matrix written out."""
    labels = np.asarray(labels, bool)
    kernels = []
    for scores in (np.asarray(scores_1), np.asarray(scores_2)):
        positive, negative = scores[labels], scores[~labels]
        kernels.append((positive[:, None] > negative) + 0.5 * (positive[:, None] == negative))
    v10 = np.array([kernel.mean(axis=1) for kernel in kernels])
    v01 = np.array([kernel.mean(axis=0) for kernel in kernels])
    return np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]


def constrained_score(both, first, second, neither, delta):
    """Tango's statistic with the nuisance parameter found by maximising the likelihood numerically."""
    n = both + first + second + neither

    def negative_log_likelihood(q):
        p = q + delta
        rest = 1 - p - q
        terms = [(first, p), (second, q), (both + neither, rest)]
        return -sum(count * math.log(max(share, 1e-300)) for count, share in terms if count)

    low, high = max(0.0, -delta), (1 - delta) / 2
    found = optimize.minimize_scalar(
        negative_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-14}
    )
    q = found.x
    variance = n * (2 * q + delta - delta**2)
    return (first - second - n * delta) / math.sqrt(variance)


def exact_mcnemar(first, second):
    """Two-sided binomial test of one half, summed in fractions."""
    n, fewer = first + second, min(first, second)
    tail = sum(Fraction(math.comb(n, k), 2**n) for k in range(fewer + 1))
    return float(min(Fraction(1), 2 * tail))


def every_pairing(candidate, reference):
    """Exact p of all tables that two confusion matrices (tp, fn, tn, fp) allow, by enumeration of both classes."""
    (tp1, fn1, tn1, fp1), (tp2, fn2, tn2, fp2) = candidate, reference

    def tables(right1, wrong1, right2, wrong2):
        for both in range(min(right1, right2) + 1):
            b, c = right1 - both, right2 - both
            if wrong1 - c >= 0 and wrong2 - b >= 0 and wrong1 - c == wrong2 - b:
                yield b, c

    classes = itertools.product(tables(tp1, fn1, tp2, fn2), tables(tn1, fp1, tn2, fp2))
    return {exact_mcnemar(b1 + b2, c1 + c2) for (b1, c1), (b2, c2) in classes}
