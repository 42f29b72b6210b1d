"""McNemar's test, Cochran's Q and Holm's correction: are classifiers correct equally often on the same images?

No verb calls `cochrans_q`, `holm` and `marginal_range` yet. The first two are for comparisons of several candidates
with one reference, the last for the re-analysis of results of which only confusion matrices were published.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q as _cochrans_q
from statsmodels.stats.multitest import multipletests

from regan.statistics.paired import PairedTable


@dataclass(frozen=True)
class ChiSquared:
    """A chi-squared statistic and its p-value."""

    statistic: float
    p: float


@dataclass(frozen=True)
class ClassCounts:
    """Confusion matrix of a classifier: counts of each class."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int


@dataclass(frozen=True)
class Range:
    """Smallest and largest possible value."""

    smallest: float
    largest: float


def exact_mcnemar(table: PairedTable) -> float:
    """Two-sided exact McNemar p-value: a binomial test of the discordant pairs against one half.

    Args:
        table: The four counts; only the discordant ones matter.

    Returns:
        p-value; 1 when no pair is discordant.

    References:
        McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 12 (1947).
    """
    if table.num_discordant == 0:
        return 1.0
    return float(stats.binomtest(table.only_first, table.num_discordant).pvalue)


def midp_mcnemar(table: PairedTable) -> float:
    """Two-sided mid-p McNemar p-value: the exact one minus the probability of the observed table.

    Its type I error is near the nominal level; that of the exact test is far below it.

    Args:
        table: The four counts; only the discordant ones matter.

    Returns:
        p-value; 1 when no pair is discordant.

    References:
        Fagerland, Lydersen, Laake, The McNemar test for binary matched-pairs data: mid-p and asymptotic are better than
        exact conditional, BMC Med. Res. Methodol. 13 (2013).
    """
    fewer, discordant = min(table.only_first, table.only_second), table.num_discordant
    if discordant == 0:
        return 1.0
    observed = stats.binom.pmf(fewer, discordant, 0.5)
    # Half the probability of the tables as extreme as the observed one is subtracted from the exact p-value: of two
    # mirrored tables, or for b = c of one, since that table is its own mirror image.
    if 2 * fewer == discordant:
        return float(1 - observed / 2)
    return float(2 * stats.binom.cdf(fewer, discordant, 0.5) - observed)


def cochrans_q(right: ArrayLike) -> ChiSquared:
    """Cochran's Q test: are several classifiers correct equally often?

    Args:
        right: bool `(n, k)`, one row per image, one column per classifier, k at least 2.

    Returns:
        Statistic with `k - 1` degrees of freedom, and p-value; 0 and 1 when every row is constant.

    Raises:
        ValueError: Fewer than two columns.
    """
    answers = np.asarray(right, int)
    if answers.ndim != 2 or answers.shape[1] < 2 or answers.shape[0] < 1:
        raise ValueError(
            f"`right` must have one row per image and two or more columns. Received shape {answers.shape}."
        )
    # Without a discordant row the statistic is 0 / 0.
    if np.all(answers == answers[:, :1]):
        return ChiSquared(0.0, 1.0)
    result = _cochrans_q(answers)
    return ChiSquared(float(result.statistic), float(result.pvalue))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Adjust p-values for multiple testing by Holm's step-down procedure.

    Args:
        p_values: float64 `(k,)`, 0 to 1.

    Returns:
        Adjusted p-values, float64 `(k,)`, in the same order.

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979).
    """
    return np.asarray(multipletests(np.asarray(p_values, float), method="holm")[1])


def marginal_range(candidate: ClassCounts, reference: ClassCounts) -> Range:
    """Smallest and largest exact McNemar p-value over all pairings that two published confusion matrices allow.

    A publication with only the two matrices does not say on which images both classifiers were correct. Within a class,
    the number of images with only the reference correct ranges over an interval; with the totals of the class it
    determines the number with only the candidate correct.

    Args:
        candidate: The candidate's matrix.
        reference: The reference's matrix on the same images.

    Returns:
        The range of p over every consistent table.

    Raises:
        ValueError: The two matrices do not have the same number of images in each class.
    """
    positives = (candidate.true_positive, candidate.false_negative, reference.true_positive, reference.false_negative)
    negatives = (candidate.true_negative, candidate.false_positive, reference.true_negative, reference.false_positive)
    only_reference = [_possible_only_reference(*positives), _possible_only_reference(*negatives)]
    # b - c is fixed by the marginals, so c alone gives b, and with it the table.
    lead = sum(right - other for right, other in ((positives[0], positives[2]), (negatives[0], negatives[2])))
    total = sum(positives[:2]) + sum(negatives[:2])
    p_values = [
        exact_mcnemar(PairedTable(0, c + lead, c, total - lead - 2 * c))
        for c in range(sum(r[0] for r in only_reference), sum(r[-1] for r in only_reference) + 1)
    ]
    return Range(min(p_values), max(p_values))


def _possible_only_reference(right: int, wrong: int, reference_right: int, reference_wrong: int) -> Sequence[int]:
    if right + wrong != reference_right + reference_wrong or right + wrong < 1:
        raise ValueError(
            "The two confusion matrices differ in the number of images of a class, so they are not about the same "
            f"images. Received {right + wrong} and {reference_right + reference_wrong}."
        )
    return range(max(0, reference_right - right), min(wrong, reference_right) + 1)
