"""The parts of the report that carry the verdict: the sentence, what it rests on, the test and its figures."""

import re
from typing import Any

from regan.artifacts.rows import ConfusionRow, MeasureRow
from regan.common.text import UNKNOWN
from regan.report import figures
from regan.report import formatting as fmt
from regan.report.control_reading import difference, measure
from regan.report.lineage import Arm, Lineage

_OUTCOMES = {
    "superior": ("Superior", "The entire confidence interval is above zero."),
    "non-inferior": ("Non-inferior", "The entire confidence interval is above the non-inferiority margin."),
    "inferior": (
        "Inferior",
        "The entire confidence interval is below zero and extends to the non-inferiority margin or beyond.",
    ),
    "inconclusive": ("Inconclusive", "The interval contains zero and losses beyond the non-inferiority margin."),
}
_ENDPOINTS = {
    "auc": "probability that a {positive} image gets a higher score than a {negative} one; 0.5 is chance, 1 perfect",
    "accuracy": "share of all test images that were classified correctly",
    "sensitivity": "share of the {positive} images that were classified as {positive}",
    "specificity": "share of the {negative} images that were classified as {negative}",
}
_PAIRS = ("candidate - reference", "control - reference", "candidate - control")


def verdict(lineage: Lineage) -> dict[str, str]:
    """The outcome, its word and what that means, the first sentence, and the sentences after it."""
    outcome = lineage.comparison.verdict
    word, meaning = _OUTCOMES.get(outcome, (fmt.sentence_case(outcome), ""))
    kind = outcome if outcome in _OUTCOMES else "inconclusive"
    text = fmt.typographic(lineage.comparison.sentence)
    sentence, *more = re.split(r"(?<=[a-z0-9)]\.) (?=[A-Z])", text, maxsplit=1)
    return {"kind": kind, "word": word, "meaning": meaning, "sentence": sentence, "more": "".join(more)}


def classes(lineage: Lineage) -> tuple[str, str]:
    """Names of the negative and the positive class."""
    return lineage.comparison.negative_class, lineage.comparison.positive_class


def cards(lineage: Lineage) -> list[dict[str, Any]]:
    """One card for each classifier: its AUC, its training images, and its errors."""
    return [
        {
            "role": arm.role,
            "name": fmt.sentence_case(arm.name),
            "trained_on": trained_on(arm),
            "auc": measure(lineage.comparison, arm.role, "auc"),
            "confusion": _confusion(lineage, arm.role),
        }
        for arm in lineage.arms
    ]


def trained_on(arm: Arm) -> str:
    """The training images of a classifier: `Trained on 5,000 synthetic images, unfiltered`."""
    if arm.training is None:
        return "Its history is not known."
    images = fmt.plural(arm.training.num_images, "synthetic image" if arm.synthetic else "real image")
    words = {
        "none": "unfiltered",
        "agreement": "those that the teacher classifies as intended",
        "confidence": "those that the teacher is confident about",
    }
    rule = ", ".join(words.get(entry.rule, entry.rule) for entry in arm.filters)
    rounds = f"; round {len(arm.classifiers)}" if len(arm.classifiers) > 1 else ""
    return f"Trained on {images}{', ' + rule if rule else ''}{rounds}"


def rests_on(lineage: Lineage) -> list[dict[str, str]]:
    """What the verdict rests on: term, value and one line on what it means."""
    comparison, (negative, positive) = lineage.comparison, classes(lineage)
    endpoint = comparison.endpoint
    explained = _ENDPOINTS.get(endpoint, "").format(positive=positive, negative=negative)
    rows = [
        ("Test images", _test_images(lineage), "used once, the same for every classifier"),
        ("Endpoint", fmt.MEASURES.get(endpoint, endpoint), explained),
        ("Margin", fmt.number(comparison.margin, 2), "non-inferiority margin: largest acceptable loss, set beforehand"),
        (
            "Difference",
            f"{fmt.signed(comparison.difference)} ({fmt.interval(comparison.lower, comparison.upper, sign=True)})",
            f"{lineage.candidate.name} minus {lineage.reference.name}, with its 95 % interval",
        ),
        (
            "Control",
            _control(lineage),
            "a student trained on as many unfiltered images: what the images teach without the filter",
        ),
        ("Audit", *_audit(lineage)),
    ]
    if not lineage.candidate.synthetic:
        rows = [row for row in rows if row[0] not in ("Control", "Audit") or row[1] != "none"]
    return [{"term": term, "value": value, "meaning": meaning} for term, value, meaning in rows]


def difference_svg(lineage: Lineage) -> str:
    """The intervals with zero and the margin; empty where the roles are not known."""
    comparison = lineage.comparison
    endpoint = comparison.endpoint
    names = {arm.role: arm.name for arm in lineage.arms}
    rows = []
    for pair in _PAIRS:
        row, roles = difference(comparison, pair, endpoint), pair.split(" - ")
        if row is not None and all(role in names for role in roles):
            label = f"{fmt.sentence_case(names[roles[0]])} {fmt.MINUS} {names[roles[1]]}"
            role = "candidate" if pair == _PAIRS[0] else "control"
            rows.append(figures.Difference(label, row.value, row.lower, row.upper, role))
    if not rows:
        return ""
    return figures.difference_figure(rows, comparison.margin, fmt.MEASURES.get(endpoint, endpoint), "differences")


def roc_svg(lineage: Lineage) -> str:
    """ROC curves of all classifiers whose test is in the history; empty where none is."""
    curves = []
    for arm in lineage.arms:
        x, y = figures.points(arm.test.roc if arm.test else None)
        if not x:
            continue
        row = measure(lineage.comparison, arm.role, "auc")
        value = f", AUC {fmt.number(row.value)}" if row else ""
        color, dashes = figures.COLORS[arm.role], figures.DASHES[arm.role]
        line = figures.Line(f"{fmt.sentence_case(arm.name)}{value}", x, y, color, dashes)
        curves.append((line, _operating_point(_confusion(lineage, arm.role))))
    negative, positive = classes(lineage)
    return figures.roc_figure(curves, positive, negative, "roc") if curves else ""


def confusions(lineage: Lineage) -> list[dict[str, Any]]:
    """The four counts of each classifier that are known."""
    cells = [(arm, _confusion(lineage, arm.role)) for arm in lineage.arms]
    return [{"name": fmt.sentence_case(arm.name), "role": arm.role, "cells": c} for arm, c in cells if c is not None]


def measures(lineage: Lineage) -> list[dict[str, Any]]:
    """One row for each measure: its name, what it means, and value and interval of every classifier."""
    negative, positive = classes(lineage)
    meanings = {name: text.format(positive=positive, negative=negative) for name, text in _ENDPOINTS.items()}
    meanings["brier"] = "mean squared error of the probabilities; 0 is perfect"
    rows = [
        {
            "title": fmt.MEASURES.get(name, "Brier score"),
            "meaning": meaning,
            "values": [measure(lineage.comparison, arm.role, name) for arm in lineage.arms],
        }
        for name, meaning in meanings.items()
    ]
    thresholds = [
        MeasureRow(arm.role, "threshold", arm.test.threshold, None, None) if arm.test else None for arm in lineage.arms
    ]
    meaning = f"probability at or above which an image is classified as {positive}; fixed on validation images"
    rows.append({"title": "Threshold", "meaning": meaning, "values": thresholds})
    return [row for row in rows if any(row["values"])]


def tests(lineage: Lineage) -> list[dict[str, Any]]:
    """Rows of the tests, one group for each pair of classifiers."""
    names = {arm.role: arm.name for arm in lineage.arms}
    groups = []
    for pair in _PAIRS:
        rows = [row for row in lineage.comparison.tests if row.comparison == pair]
        first, second = pair.split(" - ")
        if rows:
            title = f"{fmt.sentence_case(names.get(first, first))} against {names.get(second, second)}"
            groups.append({"title": title, "rows": rows, "declared": pair == _PAIRS[0]})
    return groups


def _test_images(lineage: Lineage) -> str:
    comparison, (negative, positive) = lineage.comparison, classes(lineage)
    split = f"{fmt.number(comparison.num_positive)} {positive}, {fmt.number(comparison.num_negative)} {negative}"
    if comparison.unit == "group":
        split += f"; {fmt.number(comparison.num_units)} groups"
    return f"{fmt.number(comparison.num_images)} ({split})"


def _control(lineage: Lineage) -> str:
    row = measure(lineage.comparison, "control", "auc") if lineage.control else None
    if row is None:
        return "none" if lineage.control is None else UNKNOWN
    return f"AUC {fmt.number(row.value)} ({fmt.interval(row.lower, row.upper)})"


def _audit(lineage: Lineage) -> tuple[str, str]:
    verdict, entry = lineage.audit_verdict, lineage.audit_entry
    if verdict is None:
        return "none", "not known whether the synthetic images copy training images"
    if entry is None:
        return verdict, "its limits and figures are not known"
    limited = [row.measure.replace("_", " ") for row in entry.audit if row.limit is not None]
    limits = f"limit on {', '.join(limited)}" if limited else "no measure has a limit"
    return verdict, f"{limits}; fidelity and diversity: see below"


def _confusion(lineage: Lineage, role: str) -> ConfusionRow | None:
    return next((row for row in lineage.comparison.confusion if row.classifier == role), None)


def _operating_point(cells: ConfusionRow | None) -> tuple[float, float] | None:
    """False positive rate and sensitivity at the threshold in use."""
    if cells is None:
        return None
    num_negative = cells.true_negative + cells.false_positive
    num_positive = cells.true_positive + cells.false_negative
    if not num_negative or not num_positive:
        return None
    return cells.false_positive / num_negative, cells.true_positive / num_positive
