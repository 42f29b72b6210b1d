"""Verdict of a comparison: the confidence interval of the difference against a margin declared before the run."""

from dataclasses import dataclass
from typing import Literal

from regan.common.errors import SettingError
from regan.statistics.proportions import Interval

Outcome = Literal["superior", "non-inferior", "inferior", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """Outcome for one endpoint, and whether the candidate is measurably worse (the whole interval is below 0)."""

    outcome: Outcome
    measurably_worse: bool


def verdict(difference: Interval, margin: float) -> Verdict:
    """Compare the interval `[L, U]` of candidate minus reference with a non-inferiority margin m.

    superior: L > 0. non-inferior: -m < L <= 0. inferior: L <= -m and U < 0. inconclusive: everything else.

    Args:
        difference: Candidate minus reference with its two-sided confidence interval.
        margin: Non-inferiority margin (largest acceptable loss), between 0 and 1.

    Returns:
        The verdict.

    Raises:
        SettingError: The margin is out of range.
    """
    require_margin(margin)
    return Verdict(_outcome(difference, margin), difference.upper < 0)


def require_margin(margin: float) -> None:
    """Refuse a margin outside 0 to 1.

    Raises:
        SettingError: The margin is out of range.
    """
    if not 0 < margin < 1:
        raise SettingError(
            "`margin` must be between 0 and 1: it is the largest acceptable loss, declared before the run. "
            f"Received margin={margin}. Use for example `margin=0.05`."
        )


def sentence(
    difference: Interval, margin: float, *, measure: str, names: tuple[str, str] = ("candidate", "reference")
) -> str:
    """The verdict in plain words, for a reader who knows no statistics.

    Args:
        difference: Candidate minus reference with its 95 % confidence interval.
        margin: Declared non-inferiority margin.
        measure: What was compared, with both values, such as "AUC (0.90 against 0.96)".
        names: Names of the candidate and the reference.

    Returns:
        One or two sentences.
    """
    first, second = names
    judged = verdict(difference, margin)
    numbers = (
        f"difference {difference.estimate:+.3f}, 95 % confidence interval {difference.lower:+.3f} to "
        f"{difference.upper:+.3f}"
    )
    texts = {
        "superior": f"The {first} is superior to the {second} in {measure}: {numbers}.",
        "non-inferior": (
            f"The {first} is non-inferior to the {second} in {measure}, within the declared margin of {margin:g}: "
            f"{numbers}."
        ),
        "inferior": (f"The {first} is inferior to the {second} in {measure}: {numbers}; {_loss(difference, margin)}."),
        "inconclusive": (
            f"Inconclusive: it is unknown whether the {first} is non-inferior to the {second} in {measure}: {numbers}. "
            f"Neither a difference nor non-inferiority within the declared margin of {margin:g} was shown, which does "
            "not mean that they are the same."
        ),
    }
    worse = judged.outcome == "non-inferior" and judged.measurably_worse
    return texts[judged.outcome] + (
        " Nevertheless it is measurably worse: the whole interval is below 0." if worse else ""
    )


def _loss(difference: Interval, margin: float) -> str:
    # Every loss in the interval exceeds the margin only if its upper limit does; on the margin itself it does not.
    if difference.upper < -margin:
        return f"the loss exceeds the declared margin of {margin:g}"
    return f"it is worse, and a loss of the declared margin of {margin:g} or more is not excluded"


def _outcome(difference: Interval, margin: float) -> Outcome:
    if difference.lower > 0:
        return "superior"
    if difference.lower > -margin:
        return "non-inferior"
    if difference.upper < 0:
        return "inferior"
    return "inconclusive"
