"""What the control says about the filter: whether the images, or the teacher's rule, taught the student."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from regan.artifacts.history import Step
from regan.common.text import is_number
from regan.report import formatting as fmt
from regan.report.lineage import Arm, Lineage

NEAR_CHANCE = 0.65  # an AUC below it, or one whose interval reaches one half, is called near guessing
LARGE_GAIN = 0.10  # an AUC gain that a filter should not bring if the images carried the difference themselves


@dataclass(frozen=True)
class Reading:
    """One paragraph about the control: how serious it is, its headline and its text."""

    kind: Literal["plain", "caution", "warning"]
    title: str
    text: str


def read_control(lineage: Lineage) -> list[Reading]:
    """What a careful reader must know about reference and control, the most important first."""
    found = _guessing_reference(lineage)
    if not lineage.candidate.synthetic:
        return found
    if lineage.control is None:
        return [*found, _missing(lineage.candidate.name)]
    compare = lineage.compare
    own, other = measure(compare, "control", "auc"), measure(compare, "candidate", "auc")
    gain = difference(compare, "candidate - control", "auc")
    if own is None or other is None or gain is None:
        return [*found, Reading("caution", "Control", "The history does not say how the control did.")]
    found.append(_reading(lineage.candidate.name, other, own, gain, acceptance_text(lineage.candidate.filters)))
    return found + _unfair(lineage.candidate, lineage.control)


def measure(compare: Step, role: str, name: str) -> Mapping[str, Any] | None:
    """The row of one classifier's measure with its interval; None where the history has none."""
    rows = compare.tables.get("measures", [])
    found = [row for row in rows if row.get("classifier") == role and row.get("measure") == name]
    return found[0] if found and is_number(found[0].get("value")) else None


def difference(compare: Step, comparison: str, endpoint: str) -> Mapping[str, Any] | None:
    """The row of one difference with its interval, such as `candidate - control`; None where there is none."""
    for row in compare.tables.get("differences", []):
        if row.get("comparison") == comparison and row.get("endpoint") == endpoint:
            return row if all(is_number(row.get(key)) for key in ("value", "lower", "upper")) else None
    return None


def acceptance_text(filters: Sequence[Step]) -> str:
    """`The teacher accepted 61 % of the benign and 48 % of the malignant images.`; empty where nothing is known."""
    rows = [row for step in filters for row in step.tables.get("acceptance", [])]
    shares = [
        f"{fmt.percent(row['acceptance'], 0)} of the {row['class']} images"
        for row in rows
        if is_number(row.get("acceptance")) and "class" in row
    ]
    return f"The filter accepted {' and '.join(shares)}." if shares else ""


def near_chance(row: Mapping[str, Any]) -> bool:
    """Whether an AUC is so low, or so uncertain, that guessing explains it."""
    return row["value"] < NEAR_CHANCE or (is_number(row.get("lower")) and row["lower"] <= 0.5)


def _reading(
    name: str, candidate: Mapping[str, Any], control: Mapping[str, Any], gain: Mapping[str, Any], acceptance: str
) -> Reading:
    figures = (
        f"AUC {fmt.number(candidate['value'])} with the filter, {fmt.number(control['value'])} without it: "
        f"difference {fmt.signed(gain['value'])} (95 % interval "
        f"{fmt.interval(gain['lower'], gain['upper'], sign=True)})."
    )
    told = f"{figures} {acceptance}".strip()
    if near_chance(control) and gain["lower"] > 0 and gain["value"] >= LARGE_GAIN:
        return Reading(
            "warning",
            f"The filter, not the images, taught the {name}",
            f"{told} The control learned from as many unfiltered images of the same generators and is near guessing. "
            f"So the images themselves say little about the two classes; the {name} mostly learned the rule by which "
            "the teacher picked them. Do not take its AUC as a sign of good synthetic images.",
        )
    if near_chance(control) and near_chance(candidate):
        return Reading(
            "warning",
            f"Neither {name} nor control does clearly better than guessing",
            f"{told} Whoever learned from these synthetic images did not learn what sets the two classes apart.",
        )
    if gain["lower"] > 0:
        return Reading(
            "caution",
            f"Part of what the {name} knows comes from the filter",
            f"{told} The control learned from as many unfiltered images. What it knows, it knows from the images; what "
            f"the {name} knows beyond it came with the teacher's choice.",
        )
    if gain["upper"] < 0:
        return Reading(
            "caution", "Filtering did harm here", f"{told} As many unfiltered images trained a better classifier."
        )
    return Reading(
        "plain",
        "The images carry the difference themselves" if not near_chance(control) else "The control is near guessing",
        f"{told} No difference between filtered and unfiltered images was shown, which does not mean there is none.",
    )


def _guessing_reference(lineage: Lineage) -> list[Reading]:
    row, name = measure(lineage.compare, "reference", "auc"), lineage.reference.name
    if row is None or not near_chance(row):
        return []
    text = (
        f"AUC {fmt.number(row['value'])} (95 % interval {fmt.interval(row.get('lower'), row.get('upper'))}). "
        f"Whoever is compared with a {name} that guesses is measured against nothing: take the verdict as open. Train "
        f"the {name} longer, or on more images, first."
    )
    return [Reading("warning", f"The {name} itself is near guessing", text)]


def _missing(name: str) -> Reading:
    return Reading(
        "caution",
        "There is no control",
        f"Nobody can tell whether the {name} learned from the images or from the teacher's choice of them: keeping "
        "what the teacher agrees with can write the teacher's rule into worthless images. Train a second student on as "
        "many unfiltered images and give its predictions as `control`.",
    )


def _unfair(candidate: Arm, control: Arm) -> list[Reading]:
    sizes = [candidate.num_images, control.num_images]
    rules = {str(step.settings.get("rule")) for step in control.filters} - {"none"}
    said = []
    if all(is_number(size) for size in sizes) and sizes[0] != sizes[1]:
        said.append(
            f"The {candidate.name} learned from {fmt.number(sizes[0])} images and the control from "
            f"{fmt.number(sizes[1])}; a fair control learns from as many."
        )
    if rules:
        said.append(
            f"The control's images were filtered too (rule: {', '.join(sorted(rules))}); a control is unfiltered."
        )
    return [Reading("caution", "The control is not a fair one", " ".join(said))] if said else []
