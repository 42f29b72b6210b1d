"""Rules that keep or refuse synthetic images, on the teacher's probabilities alone."""

import numpy as np

NONE, AGREEMENT, CONFIDENCE = "none", "agreement", "confidence"
RULES = (NONE, AGREEMENT, CONFIDENCE)


def accepted(
    probabilities: np.ndarray, *, positive: bool, rule: str, threshold: float = 0.5, confidence: float = 0.9
) -> np.ndarray:
    """Images of one class that a rule accepts.

    Args:
        probabilities: Of the positive class, float64 `(n,)`, 0 to 1.
        positive: Whether the images were made as the positive class.
        rule: `agreement`: the teacher gives the image its own class at its own threshold, as the reference experiment
            asked. `confidence`: the probability of its own class is at least `confidence`.
        threshold: The teacher's.
        confidence: 0 to 1.

    Returns:
        bool `(n,)`.
    """
    if rule == AGREEMENT:
        return (probabilities >= threshold) == positive
    if rule == CONFIDENCE:
        return (probabilities if positive else 1 - probabilities) >= confidence
    raise ValueError(f"`rule` must be {AGREEMENT} or {CONFIDENCE} to judge probabilities. Received rule={rule!r}.")


def images_per_class(num_accepted: dict[str, int], per_class: int) -> int:
    """How many images of each class the output takes, the same for both.

    Args:
        num_accepted: Accepted images of each class.
        per_class: What was asked for; 0 means as many as the rarer class gives.

    Raises:
        ValueError: A class has none, or fewer than asked for. Fewer are never taken silently: students are compared at
            equal numbers of images.
    """
    rarer = min(num_accepted, key=lambda label: num_accepted[label])
    available = num_accepted[rarer]
    counts = ", ".join(f"{label} {number}" for label, number in num_accepted.items())
    if available == 0:
        raise ValueError(
            f'Each class needs accepted images. Received {counts}. Generate more seeds, use `rule="{NONE}"`, or train '
            "the generator longer: a teacher that accepts nothing sees no finding in the images."
        )
    if per_class > available:
        raise ValueError(
            f"`per_class` must be at most the number of accepted images of the rarer class, {rarer}: {available}. "
            f"Received per_class={per_class}; accepted were {counts}. Generate more seeds, use another rule, or pass "
            "`per_class=0` to take as many as there are."
        )
    return per_class or available


def picked(accepted: np.ndarray, number: int, random: np.random.Generator) -> np.ndarray:
    """Pick accepted images at random.

    Args:
        accepted: bool `(n,)`.
        number: How many, at most as many as are accepted.
        random: Decides.

    Returns:
        Their positions, int64 `(number,)`, ascending.
    """
    return np.sort(random.choice(np.flatnonzero(accepted), number, replace=False))


def first_of_each(hashes: list[str], refused: frozenset[str] = frozenset()) -> np.ndarray:
    """Mark the first image of each pixel hash, bool `(n,)`; hashes in `refused` are not marked at all."""
    seen = set(refused)
    marks = np.zeros(len(hashes), bool)
    for position, value in enumerate(hashes):
        marks[position] = value not in seen
        seen.add(value)
    return marks
