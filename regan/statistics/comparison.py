"""Comparison of a candidate with a reference on the same test images: all tests and intervals, and one verdict."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from regan.common.errors import SettingError, TooFewImagesError
from regan.statistics.bootstrap import paired_bootstrap
from regan.statistics.calibration import brier, calibration_error
from regan.statistics.delong import NO_ERROR, auc, auc_interval, delong
from regan.statistics.endpoints import ENDPOINTS, Endpoint
from regan.statistics.mcnemar import exact_mcnemar, midp_mcnemar
from regan.statistics.paired import PairedTable, noninferiority_test, paired_table, tango_interval
from regan.statistics.predictions import Predictions, pair_predictions
from regan.statistics.proportions import Interval, deviate_from_interval, wilson
from regan.statistics.verdict import Outcome, require_margin, sentence, verdict

TITLES = {"auc": "AUC", "accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity"}
NUM_DRAWS = 2000  # of the bootstrap over groups; the 2.5 % quantile is then the 50th smallest value
RECOVERED = "square-and-add of the two AUC intervals"
WIDENED = "interval over images, widened by images per group"


@dataclass(frozen=True)
class Performance:
    """Performance of one classifier on the test set: confusion counts, and figures with 95 % confidence intervals."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int
    auc: Interval
    accuracy: Interval
    sensitivity: Interval
    specificity: Interval
    brier: float
    calibration_error: float


@dataclass(frozen=True)
class Difference:
    """Candidate minus reference for one endpoint, with its outcome for the non-inferiority margin."""

    endpoint: Endpoint
    interval: Interval
    outcome: Outcome
    measurably_worse: bool
    p: float
    p_exact: float | None
    p_noninferiority: float
    num_images: int
    method: str
    table: PairedTable | None


@dataclass(frozen=True)
class Comparison:
    """Results of a comparison of two classifiers on the same images.

    Attributes:
        endpoint, margin: Primary endpoint and non-inferiority margin, declared before the run.
        verdict: "superior", "non-inferior", "inferior" or "inconclusive".
        sentence: The verdict in plain words.
        difference, lower, upper: Candidate minus reference at the endpoint, with its 95 % confidence interval.
        p, p_noninferiority: Two-sided p-value of no difference; one-sided p-value of a loss of the margin or more.
        unit: "image", or "group" if groups have several images and the bootstrap over groups is used.
        candidate, reference: Performance of each classifier.
        differences: One for each endpoint, the primary one first.
        notes: Caveats.
    """

    endpoint: Endpoint
    margin: float
    verdict: Outcome
    sentence: str
    difference: float
    lower: float
    upper: float
    p: float
    p_noninferiority: float
    unit: Literal["image", "group"]
    num_images: int
    num_positive: int
    num_negative: int
    num_units: int
    positive_class: str
    negative_class: str
    candidate: Performance
    reference: Performance
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    def tests(self) -> list[dict[str, Any]]:
        """Return rows `{name, value, lower, upper, p, method}` of the table of tests, the primary endpoint first."""
        return [row for difference in self.differences for row in _test_rows(difference, self.margin)]

    def measures(self) -> list[dict[str, Any]]:
        """Return rows `{classifier, measure, value, lower, upper}`: each classifier, with 95 % confidence intervals."""
        return [
            {
                "classifier": name,
                "measure": TITLES[endpoint],
                "value": one.estimate,
                "lower": one.lower,
                "upper": one.upper,
            }
            for name, performance in (("candidate", self.candidate), ("reference", self.reference))
            for endpoint in ENDPOINTS
            for one in (getattr(performance, endpoint),)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as nested dictionaries, lists and numbers, for JSON."""
        return asdict(self) | {"tests": self.tests()}


def compare_predictions(
    candidate: Predictions,
    reference: Predictions,
    *,
    endpoint: Endpoint = "auc",
    margin: float = 0.05,
    names: tuple[str, str] = ("candidate", "reference"),
    seed: int = 0,
) -> Comparison:
    """Compare two classifiers on the same test images.

    Predictions are paired by pixel hash. AUC: DeLong, or square-and-add of the two single intervals if its standard
    error is 0 or an AUC is 0 or 1. Accuracy, sensitivity and specificity: Tango's interval, the score test for
    non-inferiority, and mid-p McNemar. If groups have several images, pairs are not independent, and the bootstrap over
    groups gives all intervals of differences; if all its draws agree, the interval over images is widened instead.

    Args:
        candidate: Predictions of the candidate (the student).
        reference: Predictions of the reference (the teacher).
        endpoint: The one primary endpoint, declared before the run.
        margin: Non-inferiority margin: largest acceptable loss at the endpoint, between 0 and 1, declared before the
            run.
        names: Names of the two classifiers in the sentence.
        seed: Seed of the bootstrap over groups.

    Returns:
        The comparison; every difference is candidate minus reference.

    Raises:
        SettingError: The endpoint or the margin is not allowed.
        WrongArtifactError: The predictions are not about the same images.
        TooFewImagesError: A class has fewer than two images.
    """
    if endpoint not in ENDPOINTS:
        raise SettingError(f"`endpoint` must be one of {', '.join(ENDPOINTS)}. Received endpoint={endpoint!r}.")
    require_margin(margin)
    first, second = pair_predictions(candidate, reference)
    _require_both_classes(first)
    num_units = _count_units(first.group)
    grouped = num_units < len(first)
    ordered = (endpoint, *(other for other in ENDPOINTS if other != endpoint))
    differences = tuple(_difference(first, second, one, margin, grouped, seed) for one in ordered)
    performances = performance(first), performance(second)
    main = differences[0]
    return Comparison(
        endpoint=endpoint,
        margin=margin,
        verdict=main.outcome,
        sentence=_sentence(differences, performances, margin, names, first.positive_class),
        difference=main.interval.estimate,
        lower=main.interval.lower,
        upper=main.interval.upper,
        p=main.p,
        p_noninferiority=main.p_noninferiority,
        unit="group" if grouped else "image",
        num_images=len(first),
        num_positive=int(first.label.sum()),
        num_negative=int((~first.label).sum()),
        num_units=num_units,
        positive_class=first.positive_class,
        negative_class=first.negative_class,
        candidate=performances[0],
        reference=performances[1],
        differences=differences,
        notes=_notes(main, grouped, len(first), num_units),
    )


def performance(predictions: Predictions) -> Performance:
    """Compute confusion counts and figures of one classifier: Wilson intervals, and the logit interval of the AUC."""
    truth, decided = predictions.label, predictions.predicted
    hits, misses = int(np.sum(truth & decided)), int(np.sum(truth & ~decided))
    clear, false_alarms = int(np.sum(~truth & ~decided)), int(np.sum(~truth & decided))
    return Performance(
        true_positive=hits,
        false_negative=misses,
        true_negative=clear,
        false_positive=false_alarms,
        auc=auc_interval(truth, predictions.probability),
        accuracy=wilson(hits + clear, len(predictions)),
        sensitivity=wilson(hits, hits + misses),
        specificity=wilson(clear, clear + false_alarms),
        brier=brier(truth, predictions.probability),
        calibration_error=calibration_error(truth, predictions.probability).l1,
    )


def _difference(
    candidate: Predictions, reference: Predictions, endpoint: Endpoint, margin: float, grouped: bool, seed: int
) -> Difference:
    rows = _rows(candidate.label, endpoint)
    table = None if endpoint == "auc" else paired_table(candidate.right[rows], reference.right[rows])
    if grouped:
        interval, p, p_noninferiority, method = _by_group(candidate, reference, endpoint, margin, seed)
    elif table is None:
        interval, p, p_noninferiority, method = _by_delong(candidate, reference, margin)
    else:
        interval, p, p_noninferiority, method = _by_table(table, margin)
    judged = verdict(interval, margin)
    return Difference(
        endpoint=endpoint,
        interval=interval,
        outcome=judged.outcome,
        measurably_worse=judged.measurably_worse,
        p=p,
        # No exact test where pairs within a group depend on each other.
        p_exact=None if table is None or grouped else exact_mcnemar(table),
        p_noninferiority=p_noninferiority,
        num_images=len(rows),
        method=method,
        table=table,
    )


def _rows(label: np.ndarray, endpoint: Endpoint) -> np.ndarray:
    # Sensitivity is the accuracy on positive images, specificity that on negative ones.
    wanted = {"sensitivity": label, "specificity": ~label}.get(endpoint, np.ones(len(label), bool))
    return np.flatnonzero(wanted)


def _by_delong(candidate: Predictions, reference: Predictions, margin: float) -> tuple[Interval, float, float, str]:
    result = delong(candidate.label, candidate.probability, reference.probability)
    interval = Interval(result.difference, result.lower, result.upper)
    return interval, result.p, result.noninferiority_p(margin), RECOVERED if result.recovered else "DeLong"


def _by_table(table: PairedTable, margin: float) -> tuple[Interval, float, float, str]:
    p_noninferiority = noninferiority_test(table, margin).p
    return tango_interval(table), midp_mcnemar(table), p_noninferiority, "Tango score interval, mid-p McNemar"


def _by_group(
    candidate: Predictions, reference: Predictions, endpoint: Endpoint, margin: float, seed: int
) -> tuple[Interval, float, float, str]:
    rows = _rows(candidate.label, endpoint)
    measure = _auc_difference if endpoint == "auc" else _share_difference

    def statistic(drawn: np.ndarray) -> float:
        return measure(candidate, reference, rows[drawn])

    drawn = paired_bootstrap(statistic, candidate.label[rows], candidate.group[rows], num_draws=NUM_DRAWS, seed=seed)
    if drawn.interval.upper - drawn.interval.lower < NO_ERROR:
        return _widen(candidate, reference, endpoint, margin)
    return drawn.interval, drawn.p, drawn.tail(-margin), f"paired bootstrap over groups, {NUM_DRAWS} draws"


def _widen(
    candidate: Predictions, reference: Predictions, endpoint: Endpoint, margin: float
) -> tuple[Interval, float, float, str]:
    # All draws gave the same difference, so the bootstrap interval has no width. The interval over images has one, but
    # counts images of a group as independent. Images per group bound the design effect of the variance; applied to the
    # width, they are conservative.
    rows = _rows(candidate.label, endpoint)
    if endpoint == "auc":
        plain = _by_delong(candidate, reference, margin)[0]
    else:
        plain = tango_interval(paired_table(candidate.right[rows], reference.right[rows]))
    factor, value = len(rows) / _count_units(candidate.group[rows]), plain.estimate
    lower, upper = value - factor * (value - plain.lower), value + factor * (plain.upper - value)
    interval = Interval(value, max(-1.0, lower), min(1.0, upper))
    # p-values that agree with the widened interval: below .05 exactly if it excludes 0.
    p = float(2 * stats.norm.sf(abs(deviate_from_interval(interval, 0.0))))
    return interval, p, float(stats.norm.sf(deviate_from_interval(interval, -margin))), WIDENED


def _auc_difference(candidate: Predictions, reference: Predictions, rows: np.ndarray) -> float:
    label = candidate.label[rows]
    return auc(label, candidate.probability[rows]) - auc(label, reference.probability[rows])


def _share_difference(candidate: Predictions, reference: Predictions, rows: np.ndarray) -> float:
    return float(candidate.right[rows].mean() - reference.right[rows].mean())


def _require_both_classes(predictions: Predictions) -> None:
    num_positive = int(predictions.label.sum())
    if min(num_positive, len(predictions) - num_positive) < 2:
        raise TooFewImagesError(
            "There are too few test images for a comparison: at least two of each class are needed. "
            f"Received {num_positive} of {predictions.positive_class} and {len(predictions) - num_positive} others."
        )


def _count_units(groups: np.ndarray) -> int:
    # Every image without a group is a unit of its own.
    return int(np.sum(groups == "")) + len(set(groups[groups != ""].tolist()))


def _sentence(
    differences: tuple[Difference, ...],
    performances: tuple[Performance, Performance],
    margin: float,
    names: tuple[str, str],
    positive_class: str,
) -> str:
    main = differences[0]
    values = [getattr(one, main.endpoint).estimate for one in performances]
    measure = f"{TITLES[main.endpoint]} ({values[0]:.3f} against {values[1]:.3f})"
    text = sentence(main.interval, margin, measure=measure, names=names)
    # A missed finding is the costliest error, and an AUC may hide a loss of sensitivity at the fixed threshold.
    sensitivity = next(one for one in differences if one.endpoint == "sensitivity")
    if main.endpoint == "sensitivity" or sensitivity.outcome != "inferior":
        return text
    return text + (
        f" Sensitivity taken alone is inferior: the {names[0]} misses {performances[0].false_negative} of "
        f"{sensitivity.num_images} {positive_class} images, the {names[1]} {performances[1].false_negative} "
        f"(difference {sensitivity.interval.estimate:+.3f}, 95 % confidence interval "
        f"{sensitivity.interval.lower:+.3f} to {sensitivity.interval.upper:+.3f})."
    )


def _notes(main: Difference, grouped: bool, num_images: int, num_units: int) -> tuple[str, ...]:
    notes = ["A p-value above 0.05 means that no difference was shown, never that the two classifiers are the same."]
    if grouped:
        notes.append(
            f"The {num_images} test images belong to {num_units} groups, so images are not independent. The bootstrap "
            "over groups gives the intervals of differences; the intervals of each classifier alone count images."
        )
    if main.method == RECOVERED:
        notes.append(
            "An AUC is exactly 0 or 1, or DeLong's standard error is 0, so the standard error of the difference cannot "
            "be estimated from these images. The interval combines those of the two AUCs, and the p-values follow from "
            "it."
        )
    if main.method == WIDENED:
        notes.append(
            "All draws of the bootstrap over groups gave the same difference, so its standard error cannot be "
            "estimated. The interval is that over images, widened by the images per group; the p-values follow from it."
        )
    return tuple(notes)


def _test_rows(difference: Difference, margin: float) -> list[dict[str, Any]]:
    title, interval = TITLES[difference.endpoint], difference.interval
    limits = {"value": interval.estimate, "lower": interval.lower, "upper": interval.upper}
    rows: list[dict[str, Any]] = [
        {"name": f"{title}, candidate minus reference", **limits, "p": difference.p, "method": difference.method}
    ]
    if difference.p_exact is not None:
        rows.append({"name": f"{title}, exact test", **limits, "p": difference.p_exact, "method": "exact McNemar"})
    method = "score test, one-sided" if difference.p_exact is not None else f"{difference.method}, one-sided"
    name = f"{title}, non-inferiority within {margin:g}"
    return [*rows, {"name": name, **limits, "p": difference.p_noninferiority, "method": method}]
