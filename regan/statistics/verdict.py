"""What an interval of the difference means for a margin that was declared before the run."""

from dataclasses import dataclass
from typing import Literal

from regan.statistics.proportions import Interval

Outcome = Literal["superior", "non-inferior", "inferior", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """The outcome for one endpoint, and whether the candidate is measurably worse (the whole interval below 0)."""

    outcome: Outcome
    measurably_worse: bool


def verdict(difference: Interval, margin: float) -> Verdict:
    """Judge the interval `[L, U]` of candidate minus reference against a margin m.

    superior: L > 0. non-inferior: -m < L <= 0. inferior: L <= -m and U < 0. inconclusive: everything else.

    Args:
        difference: Candidate minus reference with its two-sided interval.
        margin: Largest loss that would be accepted, between 0 and 1.

    Returns:
        The verdict.

    Raises:
        ValueError: The margin is out of range.
    """
    require_margin(margin)
    return Verdict(_outcome(difference, margin), difference.upper < 0)


def require_margin(margin: float) -> None:
    """Refuse a margin outside 0 to 1."""
    if not 0 < margin < 1:
        raise ValueError(
            "`margin` must lie between 0 and 1: the largest loss that would be accepted, declared before the run. "
            f"Received margin={margin}. Use for example `margin=0.05`."
        )


def sentence(
    difference: Interval, margin: float, *, measure: str, names: tuple[str, str] = ("candidate", "reference")
) -> str:
    """The verdict in plain words, for a reader who knows no statistics.

    Args:
        difference: Candidate minus reference with its 95 % interval.
        margin: The declared margin.
        measure: What was compared, with both values, such as "AUC (0.90 against 0.96)".
        names: What to call the candidate and the reference.

    Returns:
        One or two sentences.
    """
    first, second = names
    judged = verdict(difference, margin)
    numbers = f"difference {difference.estimate:+.3f}, 95 % interval {difference.lower:+.3f} to {difference.upper:+.3f}"
    texts = {
        "superior": f"The {first} is superior to the {second} in {measure}: {numbers}.",
        "non-inferior": (
            f"The {first} is non-inferior to the {second} in {measure}, within the declared margin of {margin:g}: "
            f"{numbers}."
        ),
        "inferior": (
            f"The {first} is inferior to the {second} in {measure}: {numbers}; it is worse, and a loss of the declared "
            f"margin of {margin:g} or more is not excluded."
        ),
        "inconclusive": (
            f"Inconclusive: whether the {first} keeps up with the {second} in {measure} stays open: {numbers}. Neither "
            f"a difference nor non-inferiority within the declared margin of {margin:g} was shown, and that does not "
            "mean that they are the same."
        ),
    }
    worse = judged.outcome == "non-inferior" and judged.measurably_worse
    return texts[judged.outcome] + (
        " It is measurably worse all the same: the whole interval lies below 0." if worse else ""
    )


def _outcome(difference: Interval, margin: float) -> Outcome:
    if difference.lower > 0:
        return "superior"
    if difference.lower > -margin:
        return "non-inferior"
    if difference.upper < 0:
        return "inferior"
    return "inconclusive"
