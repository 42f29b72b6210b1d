"""What the control says about the filter: whether the images, or the teacher's rule, taught the student."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from regan.artifacts.entries import CompareClassifiersEntry, FilterImagesEntry
from regan.artifacts.rows import DifferenceRow, MeasureRow
from regan.report import formatting as fmt
from regan.report.lineage import Arm, Lineage

NEAR_CHANCE = 0.65  # an AUC below it, or one whose interval includes 0.5, is called near chance
LARGE_GAIN = 0.10  # an AUC gain that a filter should not bring if the images carried the difference themselves


@dataclass(frozen=True)
class Reading:
    """One paragraph about the control: how serious it is, its headline and its text."""

    kind: Literal["plain", "caution", "warning"]
    title: str
    text: str


def read_control(lineage: Lineage) -> list[Reading]:
    """What a careful reader must know about reference and control, the most important first."""
    found = _reference_near_chance(lineage)
    if not lineage.candidate.synthetic:
        return found
    if lineage.control is None:
        return [*found, _missing(lineage.candidate.name)]
    comparison = lineage.comparison
    own, other = measure(comparison, "control", "auc"), measure(comparison, "candidate", "auc")
    gain = difference(comparison, "candidate - control", "auc")
    if own is None or other is None or gain is None:
        return [*found, Reading("caution", "Control", "The history does not contain the results of the control.")]
    found.append(_reading(lineage.candidate.name, other, own, gain, acceptance_text(lineage.candidate.filters)))
    return found + _unfair(lineage.candidate, lineage.control)


def measure(comparison: CompareClassifiersEntry, role: str, name: str) -> MeasureRow | None:
    """The row of one measure of one classifier; None where there is none."""
    found = [row for row in comparison.measures if (row.classifier, row.measure) == (role, name)]
    return found[0] if found else None


def difference(comparison: CompareClassifiersEntry, pair: str, endpoint: str) -> DifferenceRow | None:
    """The row of one difference, such as `candidate - control`; None where there is none."""
    found = [row for row in comparison.differences if (row.comparison, row.endpoint) == (pair, endpoint)]
    return found[0] if found else None


def acceptance_text(filters: Sequence[FilterImagesEntry]) -> str:
    """`The filter accepted 61 % of the benign images and 48 % of the malignant images.`; empty without a filter."""
    rows = [row for entry in filters for row in entry.acceptance]
    shares = [f"{fmt.percent(row.acceptance, 0)} of the {row.class_} images" for row in rows]
    return f"The filter accepted {' and '.join(shares)}." if shares else ""


def near_chance(row: MeasureRow) -> bool:
    """Whether an AUC is so low, or so uncertain, that chance explains it."""
    return row.value < NEAR_CHANCE or (row.lower is not None and row.lower <= 0.5)


def _reading(name: str, candidate: MeasureRow, control: MeasureRow, gain: DifferenceRow, acceptance: str) -> Reading:
    figures = (
        f"AUC {fmt.number(candidate.value)} with the filter, {fmt.number(control.value)} without it: "
        f"difference {fmt.signed(gain.value)} (95 % interval "
        f"{fmt.interval(gain.lower, gain.upper, sign=True)})."
    )
    result = f"{figures} {acceptance}".strip()
    if near_chance(control) and gain.lower > 0 and gain.value >= LARGE_GAIN:
        return Reading(
            "warning",
            f"The filter, not the images, taught the {name}",
            f"{result} The control was trained on as many unfiltered images of the same generators and is near chance. "
            f"So the images themselves contain little about the two classes; the {name} mostly learned the rule by "
            "which the teacher selected them. Its AUC is no evidence of good synthetic images.",
        )
    if near_chance(control) and near_chance(candidate):
        return Reading(
            "warning",
            f"Neither {name} nor control is clearly better than chance",
            f"{result} A classifier trained on these synthetic images does not learn to separate the two classes.",
        )
    if gain.lower > 0:
        return Reading(
            "caution",
            f"Part of the performance of the {name} comes from the filter",
            f"{result} The control was trained on as many unfiltered images. Its performance comes from the images; "
            f"what the {name} gains over it comes from the teacher's selection.",
        )
    if gain.upper < 0:
        return Reading(
            "caution",
            f"Filtering made the {name} worse",
            f"{result} As many unfiltered images trained a better classifier.",
        )
    return Reading(
        "plain",
        "The images carry the difference themselves" if not near_chance(control) else "The control is near chance",
        f"{result} No difference between filtered and unfiltered images was shown, which does not mean there is none.",
    )


def _reference_near_chance(lineage: Lineage) -> list[Reading]:
    row, name = measure(lineage.comparison, "reference", "auc"), lineage.reference.name
    if row is None or not near_chance(row):
        return []
    text = (
        f"AUC {fmt.number(row.value)} (95 % interval {fmt.interval(row.lower, row.upper)}). "
        f"A comparison with a {name} at chance level says nothing: treat the verdict as inconclusive. Train the {name} "
        "longer, or on more images, first."
    )
    return [Reading("warning", f"The {name} itself is near chance", text)]


def _missing(name: str) -> Reading:
    return Reading(
        "caution",
        "There is no control",
        f"Without a control it is not known whether the {name} learned from the images or from the teacher's selection "
        "of them: keeping what the teacher agrees with can write the teacher's rule into worthless images. Train a "
        "second student on as many unfiltered images and pass its predictions as `control`.",
    )


def _unfair(candidate: Arm, control: Arm) -> list[Reading]:
    sizes = [arm.training.num_images for arm in (candidate, control) if arm.training]
    rules = {entry.rule for entry in control.filters} - {"none"}
    reasons = []
    if len(set(sizes)) > 1:
        reasons.append(
            f"The {candidate.name} was trained on {fmt.number(sizes[0])} images and the control on "
            f"{fmt.number(sizes[1])}; a fair control is trained on as many."
        )
    if rules:
        reasons.append(
            f"The control's images were filtered too (rule: {', '.join(sorted(rules))}); a control is unfiltered."
        )
    return [Reading("caution", "The control is not a fair one", " ".join(reasons))] if reasons else []
