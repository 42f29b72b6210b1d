"""Rules that accept or reject synthetic images by the teacher's probabilities."""

import numpy as np

from regan.common.errors import SettingError, TooFewImagesError

NONE, AGREEMENT, CONFIDENCE = "none", "agreement", "confidence"
RULES = (NONE, AGREEMENT, CONFIDENCE)


def accept(
    probabilities: np.ndarray, *, positive: bool, rule: str, threshold: float = 0.5, confidence: float = 0.9
) -> np.ndarray:
    """Apply a rule to images of one class.

    Args:
        probabilities: The teacher's probability of the positive class, float64 `(n,)`, 0 to 1.
        positive: Whether the images were generated as the positive class.
        rule: `agreement`: the teacher predicts the class that the image was generated as, at its own threshold, as in
            the reference experiment. `confidence`: the probability of that class is at least `confidence`.
        threshold: Decision threshold of the teacher, 0 to 1.
        confidence: Smallest probability for the rule `confidence`, 0 to 1.

    Returns:
        Whether each image is accepted, bool `(n,)`.

    Raises:
        SettingError: There is no such rule.
    """
    if rule == AGREEMENT:
        # At the teacher's own threshold, since that is how it classifies test images.
        return (probabilities >= threshold) == positive
    if rule == CONFIDENCE:
        return (probabilities if positive else 1 - probabilities) >= confidence
    raise SettingError(f"`rule` must be {AGREEMENT} or {CONFIDENCE} to use probabilities. Received rule={rule!r}.")


def images_per_class(num_accepted: dict[str, int], per_class: int) -> int:
    """Number of images of each class in the output, the same for both.

    Args:
        num_accepted: Accepted images of each class.
        per_class: Requested number; 0 = as many as the rarer class has.

    Returns:
        Number of images per class.

    Raises:
        TooFewImagesError: A class has none, or fewer than requested. Fewer are never used silently, because students
            are compared at equal numbers of images.
    """
    rarer = min(num_accepted, key=lambda label: num_accepted[label])
    available = num_accepted[rarer]
    counts = ", ".join(f"{label} {number}" for label, number in num_accepted.items())
    if available == 0:
        raise TooFewImagesError(
            f"The teacher accepted no images of class {rarer}. Accepted: {counts}. Generate more seeds, use "
            f'`rule="{NONE}"`, or train the generator longer: its images show no finding that the teacher recognises.'
        )
    if per_class > available:
        raise TooFewImagesError(
            f"`per_class` is more than the accepted images of the rarer class, {rarer}: {available}. "
            f"Received per_class={per_class}; accepted: {counts}. Generate more seeds, use another rule, or pass "
            "`per_class=0` for as many as there are."
        )
    return per_class or available


def sample_accepted(accepted: np.ndarray, number: int, random: np.random.Generator) -> np.ndarray:
    """Sample accepted images at random, without replacement.

    Args:
        accepted: Whether each image is accepted, bool `(n,)`.
        number: Size of the sample, at most the number of accepted images.
        random: Source of random numbers.

    Returns:
        Positions of the sample, int64 `(number,)`, ascending.
    """
    # At random, not the most confident ones: those would be the easy images, and less varied.
    return np.sort(random.choice(np.flatnonzero(accepted), number, replace=False))


def mark_first_occurrences(hashes: list[str], refused: frozenset[str] = frozenset()) -> np.ndarray:
    """Mark the first image of each pixel hash.

    Args:
        hashes: Pixel hashes of n images.
        refused: Hashes that are not marked at all.

    Returns:
        bool `(n,)`, True for the first occurrence of a hash.
    """
    seen = set(refused)
    marks = np.zeros(len(hashes), bool)
    for position, value in enumerate(hashes):
        marks[position] = value not in seen
        seen.add(value)
    return marks
