"""The split into training, validation and test images: by group, stratified by class, determined by the seed."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from regan.common.errors import TooFewImagesError

LEAST_TO_TEST = 2  # images of each class: one alone has no variance, and classifiers could not be compared
LEAST_TO_SPLIT = LEAST_TO_TEST + 2  # one more for training and one for validation
TEST_SHARE = 4  # where images are few, one in four of the rarer class is enough to test on
TRAIN, VALIDATION, TEST, LEFT_OUT = "train", "validation", "test", "left out"


def default_test_share(num_rarer: int) -> int:
    """Test images of each class for a small source.

    Args:
        num_rarer: Images of the rarer class.

    Returns:
        A quarter of them, and at least 2; 0 where a training and a validation image would not be left.
    """
    return max(LEAST_TO_TEST, num_rarer // TEST_SHARE) if num_rarer >= LEAST_TO_SPLIT else 0


def split_by_group(
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    test_per_class: int,
    validation_fraction: float,
    seed: int,
    train_only: Collection[str] = (),
    assigned: Sequence[str] = (),
) -> list[str]:
    """Assign each image to training, validation or test, or leave it out.

    No group is in two sets. The test set has `test_per_class` images of each class, each from another group, so that no
    lesion counts twice; the other images of these groups are left out. The result depends only on labels, groups, seed
    and the order of images within a group: name groups and order images by content, not by file name.

    Images that an earlier split assigned stay where they are. New groups then complete the test set, as far as they
    suffice, and the validation set up to its share.

    Args:
        labels: Class of each of n images.
        groups: Group of each image.
        test_per_class: Test images of each class.
        validation_fraction: Share of the images of each class outside the test set's groups, between 0 and 1. Complete
            groups are taken while they fit, and at least one.
        seed: Same seed, same split.
        train_only: Groups for training only, such as those with images of both classes.
        assigned: For each image the side that it has already, or an empty text if it is new. Either all images of a
            group are assigned, or none. Empty: all are new.

    Returns:
        For each image `train`, `validation`, `test` or `left out`.

    Raises:
        TooFewImagesError: A class has too few groups for its test images, one for validation and one for training.
    """
    old = list(assigned) or [""] * len(labels)
    sides = [side or TRAIN for side in old]
    before = Counter((label, side) for label, side in zip(labels, old) if side)
    members = _members(labels, groups, {*train_only, *(group for group, side in zip(groups, old) if side)})
    _require_enough(members, before, test_per_class)
    for number, label in enumerate(sorted(members)):
        # A stream for each class, so that new images of one class do not change the split of the other.
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
    """Class -> group -> indices of its images, without excluded groups."""
    excluded = set(train_only)
    members: dict[str, dict[str, list[int]]] = {label: defaultdict(list) for label in labels}
    for index, (label, group) in enumerate(zip(labels, groups)):
        if group not in excluded:
            members[label][group].append(index)
    return members


def _validation(groups: list[list[int]], wanted: int, num_train: int, num_validation: int) -> list[int]:
    """Images of complete groups, at most `wanted`, but at least the smallest group if there is no validation image yet.

    If there is no training image yet, one group stays for training.
    """
    taken: list[int] = []
    for group in groups if num_train else groups[:-1]:
        if len(taken) + len(group) <= wanted:
            taken += group
    return taken if taken or num_validation else min(groups, key=len)


def _require_enough(
    members: dict[str, dict[str, list[int]]], before: Mapping[tuple[str, str], int], test_per_class: int
) -> None:
    """Require enough new groups for what each class lacks: in a first split the full test set, later two images."""
    if before:
        _require_usable(members, before)
        return
    found = {label: len(groups) for label, groups in sorted(members.items())}
    largest = min(found.values(), default=0) - 2  # one group for training and one for validation
    if test_per_class <= largest:
        return
    advice = f"Use `test_per_class={largest}` or less, or add images." if largest >= LEAST_TO_TEST else "Add images."
    raise TooFewImagesError(
        f"Too few different pictures: {', '.join(f'{label}: {count}' for label, count in found.items())}, counting "
        "duplicates and near duplicates once. Each class needs `test_per_class` of them for the test set, at least "
        f"{LEAST_TO_TEST}, and one more each for training and validation. Received test_per_class={test_per_class}. "
        f"{advice}"
    )


def _require_usable(members: dict[str, dict[str, list[int]]], before: Mapping[tuple[str, str], int]) -> None:
    least = {TEST: LEAST_TO_TEST, VALIDATION: 1, TRAIN: 1}
    for label, groups in sorted(members.items()):
        lacking = {side: max(0, number - before.get((label, side), 0)) for side, number in least.items()}
        if sum(lacking.values()) > len(groups):
            known = ", ".join(f"{before.get((label, side), 0)} {side}" for side in least)
            raise TooFewImagesError(
                f"Too many images of {label} are gone: found {known}, and {len(groups)} new ones, counting near "
                f"duplicates once. Each class needs {LEAST_TO_TEST} test images, one for validation and one for "
                "training, and images stay in the set of an earlier split. Restore images, or add new ones."
            )
