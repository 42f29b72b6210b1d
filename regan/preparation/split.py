"""The split into training, validation and test images: by group, by class, once, by seed."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np

LEAST_TO_TEST = 2  # images of each class: fewer tell no spread, and classifiers could not be compared
LEAST_TO_SPLIT = LEAST_TO_TEST + 2  # one more trains and one validates
TRAIN, VALIDATION, TEST, LEFT_OUT = "train", "validation", "test", "left out"


def split_by_group(
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    test_per_class: int,
    validation_fraction: float,
    seed: int,
    train_only: Collection[str] = (),
    settled: Sequence[str] = (),
) -> list[str]:
    """Say for each image whether it trains, validates, tests or is left out.

    No group lies on two sides. The test set has `test_per_class` images of each class, one from each of as many groups,
    so that no lesion counts twice; the rest of these groups is left out. The choice depends on labels, groups, seed and
    the order of the images within a group only, so name groups and order images by content, not by file name.

    Images that an earlier split put on a side stay there. New groups then fill up the test set, as far as they go, and
    the validation set to its share.

    Args:
        labels: Class of each of n images.
        groups: Group of each; images that belong together share it.
        test_per_class: Test images of each class.
        validation_fraction: Share of the images of each class outside the test set's groups, between 0 and 1. Whole
            groups are taken as long as they fit, and at least one.
        seed: Same seed, same split.
        train_only: Groups that neither test nor validate, such as those with images under both labels.
        settled: For each image the side that it has already, or nothing where it is new. All images of a group must be
            settled, or none. Empty: all are new.

    Returns:
        For each image `train`, `validation`, `test` or `left out`.

    Raises:
        ValueError: A class has too few groups for its test images, one for validation and one for training.
    """
    old = list(settled) or [""] * len(labels)
    sides = [side or TRAIN for side in old]
    before = Counter((label, side) for label, side in zip(labels, old) if side)
    members = _members(labels, groups, {*train_only, *(group for group, side in zip(groups, old) if side)})
    _require_enough(members, before, test_per_class)
    for number, label in enumerate(sorted(members)):
        rng = np.random.default_rng([seed, number])
        shuffled = [members[label][name] for name in rng.permutation(sorted(members[label]))]
        num_spared = sum(not before[label, side] for side in (TRAIN, VALIDATION))
        num_tested = max(0, min(test_per_class - before[label, TEST], len(shuffled) - num_spared))
        for group in shuffled[:num_tested]:
            chosen = group[rng.integers(len(group))]
            for index in group:
                sides[index] = TEST if index == chosen else LEFT_OUT
        num_others = sum(side in (TRAIN, VALIDATION) and own == label for side, own in zip(sides, labels))
        wanted = round(validation_fraction * num_others) - before[label, VALIDATION]
        for index in _validation(shuffled[num_tested:], wanted, before[label, TRAIN], before[label, VALIDATION]):
            sides[index] = VALIDATION
    return sides


def _members(
    labels: Sequence[str], groups: Sequence[str], train_only: Collection[str]
) -> dict[str, dict[str, list[int]]]:
    """Class -> group -> images, without the groups that may only train."""
    barred = set(train_only)
    members: dict[str, dict[str, list[int]]] = {label: defaultdict(list) for label in labels}
    for index, (label, group) in enumerate(zip(labels, groups)):
        if group not in barred:
            members[label][group].append(index)
    return members


def _validation(groups: list[list[int]], wanted: int, num_train: int, num_validation: int) -> list[int]:
    """Images of whole groups, at most `wanted`; where none validates yet, at least the smallest group.

    Where none trains yet, one group is left to train.
    """
    taken: list[int] = []
    for group in groups if num_train else groups[:-1]:
        if len(taken) + len(group) <= wanted:
            taken += group
    return taken if taken or num_validation else min(groups, key=len)


def _require_enough(
    members: dict[str, dict[str, list[int]]], before: Mapping[tuple[str, str], int], test_per_class: int
) -> None:
    """Enough new groups for what each class lacks: on a first split the whole test set, later on two images of it."""
    if before:
        _require_usable(members, before)
        return
    found = {label: len(groups) for label, groups in sorted(members.items())}
    largest = min(found.values(), default=0) - 2
    if test_per_class <= largest:
        return
    advice = f"Use `test_per_class={largest}` or less, or add images." if largest >= LEAST_TO_TEST else "Add images."
    raise ValueError(
        f"Each class must have `test_per_class` different pictures for the test set, at least {LEAST_TO_TEST}, and at "
        "least one more for training and one for validation, counting duplicates and near duplicates once. Found "
        f"{', '.join(f'{label}: {count}' for label, count in found.items())}. Received "
        f"test_per_class={test_per_class}. {advice}"
    )


def _require_usable(members: dict[str, dict[str, list[int]]], before: Mapping[tuple[str, str], int]) -> None:
    least = {TEST: LEAST_TO_TEST, VALIDATION: 1, TRAIN: 1}
    for label, groups in sorted(members.items()):
        lacking = {side: max(0, number - before.get((label, side), 0)) for side, number in least.items()}
        if sum(lacking.values()) > len(groups):
            known = ", ".join(f"{before.get((label, side), 0)} {side}" for side in least)
            raise ValueError(
                f"Each class must have {LEAST_TO_TEST} test images, one for validation and one for training. Images "
                f"keep the side that an earlier split gave them, and too many of {label} are gone: found {known}, and "
                f"{len(groups)} new ones, counting near duplicates once. Bring back images, or add new ones."
            )
