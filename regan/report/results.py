"""The parts of the report that carry the verdict: the sentence, what it rests on, the test and its figures."""

import re
from collections.abc import Mapping
from typing import Any

from regan.common.text import UNKNOWN, is_number
from regan.report import figures
from regan.report import formatting as fmt
from regan.report.control_reading import difference, measure
from regan.report.lineage import Arm, Lineage

_OUTCOMES = {
    "superior": ("Superior", "The whole interval lies above zero."),
    "non-inferior": ("Non-inferior", "The whole interval lies above the declared margin."),
    "inferior": ("Inferior", "The whole interval lies below zero, and reaches the declared margin or goes beyond it."),
    "inconclusive": ("Inconclusive", "The interval holds zero as well as losses beyond the declared margin."),
}
_ENDPOINTS = {
    "auc": "chance that a {positive} image gets a higher score than a {negative} one; 0.5 is guessing, 1 is perfect",
    "accuracy": "share of all test images that were called right",
    "sensitivity": "share of the {positive} images that were found",
    "specificity": "share of the {negative} images that were called {negative}",
}
_PAIRS = ("candidate - reference", "control - reference", "candidate - control")


def verdict(lineage: Lineage) -> dict[str, str]:
    """The outcome, its word and what that means, the sentence, and what the history says after it."""
    settings = lineage.compare.settings
    outcome = str(settings.get("verdict", "inconclusive"))
    word, meaning = _OUTCOMES.get(outcome, (fmt.sentence_case(outcome), ""))
    kind = outcome if outcome in _OUTCOMES else "inconclusive"
    told = fmt.typographic(str(settings.get("sentence", "The history holds no verdict.")))
    sentence, *more = re.split(r"(?<=[a-z0-9)]\.) (?=[A-Z])", told, maxsplit=1)
    return {"kind": kind, "word": word, "meaning": meaning, "sentence": sentence, "more": "".join(more)}


def classes(lineage: Lineage) -> tuple[str, str]:
    """Names of the negative and the positive class."""
    settings = lineage.compare.settings
    return str(settings.get("negative_class", "negative")), str(settings.get("positive_class", "positive"))


def cards(lineage: Lineage) -> list[dict[str, Any]]:
    """One card for each classifier: its AUC, what it learned from, and what it found and missed."""
    return [
        {
            "role": arm.role,
            "name": fmt.sentence_case(arm.name),
            "learned": learned_from(arm),
            "auc": measure(lineage.compare, arm.role, "auc"),
            "confusion": _confusion(lineage, arm.role),
        }
        for arm in lineage.arms
    ]


def learned_from(arm: Arm) -> str:
    """What trained a classifier, in a few words: `5,000 synthetic images, filtered by agreement`."""
    if arm.classifier is None:
        return "Its history is not known."
    count = arm.num_images
    kind = "synthetic" if arm.synthetic else "real"
    images = fmt.plural(count, f"{kind} image") if is_number(count) else f"{kind} images"
    rules = [str(step.settings.get("rule", "")) for step in arm.filters]
    chosen = {
        "none": "unfiltered",
        "agreement": "those the teacher agrees with",
        "confidence": "those the teacher is sure of",
    }
    rule = ", ".join(chosen.get(rule, rule) for rule in rules if rule)
    rounds = f"; round {len(arm.classifiers)}" if len(arm.classifiers) > 1 else ""
    return f"Learned from {images}{', ' + rule if rule else ''}{rounds}"


def rests_on(lineage: Lineage) -> list[dict[str, str]]:
    """What the verdict rests on: term, value and one line on what it means."""
    compare, (negative, positive) = lineage.compare, classes(lineage)
    endpoint, margin = str(compare.settings.get("endpoint", "")), compare.settings.get("margin")
    explained = _ENDPOINTS.get(endpoint, "").format(positive=positive, negative=negative)
    rows = [
        ("Test images", _test_images(lineage), "answered once, by every classifier alike"),
        ("Endpoint", fmt.MEASURES.get(endpoint, endpoint), explained),
        ("Margin", fmt.number(margin, 2), "largest loss that would be accepted, declared before the run"),
        (
            "Difference",
            f"{fmt.signed(compare.figures.get('difference'))} "
            f"({fmt.interval(compare.figures.get('lower'), compare.figures.get('upper'), sign=True)})",
            f"{lineage.candidate.name} minus {lineage.reference.name}, with its 95 % interval",
        ),
        (
            "Control",
            _control(lineage),
            "a student of as many unfiltered images: what the images teach without the filter",
        ),
        ("Audit", *_audit(lineage)),
    ]
    if not lineage.candidate.synthetic:
        rows = [row for row in rows if row[0] not in ("Control", "Audit") or row[1] != "none"]
    return [{"term": term, "value": value, "meaning": meaning} for term, value, meaning in rows]


def difference_svg(lineage: Lineage) -> str:
    """The intervals beside zero and the margin; nothing where the history has no interval."""
    compare = lineage.compare
    endpoint, margin = str(compare.settings.get("endpoint", "")), compare.settings.get("margin")
    names = {arm.role: arm.name for arm in lineage.arms}
    rows = []
    for pair in _PAIRS:
        row, roles = difference(compare, pair, endpoint), pair.split(" - ")
        if row is not None and all(role in names for role in roles):
            label = f"{fmt.sentence_case(names[roles[0]])} {fmt.MINUS} {names[roles[1]]}"
            role = "candidate" if pair == _PAIRS[0] else "control"
            rows.append(figures.Difference(label, row["value"], row["lower"], row["upper"], role))
    if not rows or not is_number(margin):
        return ""
    return figures.difference_figure(rows, float(margin or 0), fmt.MEASURES.get(endpoint, endpoint), "differences")


def roc_svg(lineage: Lineage) -> str:
    """ROC curves of all classifiers whose evaluation is known; nothing where none is."""
    curves = []
    for arm in lineage.arms:
        x, y = figures.points(arm.evaluation.curves.get("roc")) if arm.evaluation else ([], [])
        if not x:
            continue
        row = measure(lineage.compare, arm.role, "auc")
        value = f", AUC {fmt.number(row['value'])}" if row else ""
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
    told = {name: text.format(positive=positive, negative=negative) for name, text in _ENDPOINTS.items()}
    rows = [
        {
            "title": fmt.MEASURES.get(name, "Brier score"),
            "meaning": meaning,
            "values": [measure(lineage.compare, arm.role, name) for arm in lineage.arms],
        }
        for name, meaning in (told | {"brier": "mean squared error of the probabilities; 0 is perfect"}).items()
    ]
    evaluated = [arm.evaluation.figures if arm.evaluation else {} for arm in lineage.arms]
    thresholds = [{"value": f["threshold"]} if is_number(f.get("threshold")) else None for f in evaluated]
    meaning = f"probability from which on an image is called {positive}; fixed on validation images"
    rows.append({"title": "Threshold", "meaning": meaning, "values": thresholds})
    return [row for row in rows if any(row["values"])]


def tests(lineage: Lineage) -> list[dict[str, Any]]:
    """Rows of the tests, one group for each pair of classifiers."""
    names = {arm.role: arm.name for arm in lineage.arms}
    groups = []
    for pair in _PAIRS:
        rows = [row for row in lineage.compare.tables.get("tests", []) if row.get("comparison", _PAIRS[0]) == pair]
        first, second = pair.split(" - ")
        if rows:
            title = f"{fmt.sentence_case(names.get(first, first))} against {names.get(second, second)}"
            groups.append({"title": title, "rows": rows, "declared": pair == _PAIRS[0]})
    return groups


def _test_images(lineage: Lineage) -> str:
    counts, (negative, positive) = lineage.compare.counts, classes(lineage)
    total = fmt.number(counts.get("num_images"))
    if "num_positive" not in counts or "num_negative" not in counts:
        return total
    split = f"{fmt.number(counts['num_positive'])} {positive}, {fmt.number(counts['num_negative'])} {negative}"
    if lineage.compare.settings.get("unit") == "group":
        split += f"; {fmt.number(counts.get('num_units'))} groups"
    return f"{total} ({split})"


def _control(lineage: Lineage) -> str:
    row = measure(lineage.compare, "control", "auc") if lineage.control else None
    if row is None:
        return "none" if lineage.control is None else UNKNOWN
    return f"AUC {fmt.number(row['value'])} ({fmt.interval(row.get('lower'), row.get('upper'))})"


def _audit(lineage: Lineage) -> tuple[str, str]:
    if lineage.audit is None:
        return "none", "whether the synthetic images copy patients is not known"
    rows = lineage.audit.tables.get("audit", [])
    limited = [str(row.get("measure")).replace("_", " ") for row in rows if row.get("limit") is not None]
    limits = f"limit on {', '.join(limited)}" if limited else "no measure has a limit"
    return str(lineage.audit.settings.get("verdict", UNKNOWN)), f"{limits}; closeness and variety: see below"


def _confusion(lineage: Lineage, role: str) -> Mapping[str, int] | None:
    keys = ("true_positive", "false_negative", "true_negative", "false_positive")
    rows = [row for row in lineage.compare.tables.get("confusion", []) if row.get("classifier") == role]
    return rows[0] if rows and all(isinstance(rows[0].get(key), int) for key in keys) else None


def _operating_point(cells: Mapping[str, int] | None) -> tuple[float, float] | None:
    if cells is None:
        return None
    num_negative = cells["true_negative"] + cells["false_positive"]
    num_positive = cells["true_positive"] + cells["false_negative"]
    if not num_negative or not num_positive:
        return None
    return cells["false_positive"] / num_negative, cells["true_positive"] / num_positive
