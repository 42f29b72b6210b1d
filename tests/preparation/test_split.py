from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regan.common.errors import TooFewImagesError
from regan.preparation.split import LEFT_OUT, TEST, TRAIN, VALIDATION, split_by_group

SETTINGS = {"test_per_class": 2, "validation_fraction": 0.25, "seed": 0}


def collection(sizes):
    """Labels and groups: `sizes` gives, for each class, the number of images of each of its groups."""
    labels, groups = [], []
    for label, own in sizes.items():
        for number, size in enumerate(own):
            labels += [label] * size
            groups += [f"{label}{number:03d}"] * size
    return labels, groups


group_sizes = st.lists(st.integers(1, 5), min_size=4, max_size=25)


@given(benign=group_sizes, malignant=group_sizes, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 5))
def test_what_a_split_promises(benign, malignant, fraction, seed):
    labels, groups = collection({"benign": benign, "malignant": malignant, "mixed": []})
    labels += ["benign", "malignant"]
    groups += ["mixed", "mixed"]
    sides = split_by_group(
        labels, groups, test_per_class=2, validation_fraction=fraction, seed=seed, train_only={"mixed"}
    )
    where = defaultdict(set)
    for side, group in zip(sides, groups):
        where[group].add(side)
    assert all(len(found - {LEFT_OUT}) == 1 for found in where.values()), "a group lies on two sides"
    assert all(TEST in found for found in where.values() if LEFT_OUT in found), "left out without need"
    assert where["mixed"] == {TRAIN}
    tested = Counter((label, group) for side, label, group in zip(sides, labels, groups) if side == TEST)
    assert set(tested.values()) == {1}, "a group is tested twice"
    counts = Counter(zip(labels, sides))
    for label in ("benign", "malignant"):
        assert counts[label, TEST] == 2
        assert counts[label, VALIDATION] >= 1
        assert any(s == TRAIN for s, own, g in zip(sides, labels, groups) if own == label and g != "mixed")


def test_the_share_for_validation_is_of_the_images_outside_the_test_set():
    labels, groups = collection({"benign": [1] * 42, "malignant": [1] * 22})
    counts = Counter(zip(labels, split_by_group(labels, groups, **SETTINGS)))
    assert (counts["benign", VALIDATION], counts["malignant", VALIDATION]) == (10, 5)
    assert (counts["benign", TRAIN], counts["malignant", TRAIN]) == (30, 15)


def test_a_giant_group_trains_and_does_not_validate():
    labels, groups = collection({"benign": [30, 1, 1, 1, 1, 1, 1], "malignant": [1] * 10})
    for seed in range(20):
        sides = split_by_group(labels, groups, **SETTINGS | {"seed": seed})
        assert VALIDATION not in [side for side, group in zip(sides, groups) if group == "benign000"]


def test_the_same_seed_gives_the_same_split_and_another_one_does_not():
    labels, groups = collection({"benign": [1, 2, 3] * 8, "malignant": [2, 1] * 10})
    first = split_by_group(labels, groups, **SETTINGS)
    assert split_by_group(labels, groups, **SETTINGS) == first
    assert split_by_group(labels, groups, **SETTINGS | {"seed": 1}) != first


def test_the_order_of_the_groups_does_not_matter():
    labels, groups = collection({"benign": [1] * 20, "malignant": [1] * 20})
    first = dict(zip(groups, split_by_group(labels, groups, **SETTINGS)))
    assert dict(zip(groups[::-1], split_by_group(labels[::-1], groups[::-1], **SETTINGS))) == first


def test_every_image_of_a_class_may_be_tested_over_the_seeds():
    labels, groups = collection({"benign": [1] * 6, "malignant": [3] * 4})
    tested = set()
    for seed in range(60):
        sides = split_by_group(labels, groups, **SETTINGS | {"seed": seed})
        tested |= {index for index, side in enumerate(sides) if side == TEST}
    assert tested == set(range(len(labels)))


def test_too_few_groups_are_counted_and_the_value_that_is_named_works():
    labels, groups = collection({"benign": [4] * 9, "malignant": [1] * 7})
    with pytest.raises(
        TooFewImagesError, match=r"benign: 9, malignant: 7.*Received test_per_class=6\. Use `test_per_class=5`"
    ):
        split_by_group(labels, groups, **SETTINGS | {"test_per_class": 6})
    assert set(split_by_group(labels, groups, **SETTINGS | {"test_per_class": 5})) >= {TRAIN, VALIDATION, TEST}


def test_where_no_value_works_images_are_asked_for():
    labels, groups = collection({"benign": [1] * 9, "malignant": [9, 9, 9]})
    with pytest.raises(
        TooFewImagesError, match=r"benign: 9, malignant: 3,.*at least 2.*Received test_per_class=2\. Add images"
    ):
        split_by_group(labels, groups, **SETTINGS | {"test_per_class": 2})


@given(benign=group_sizes, malignant=group_sizes, more=group_sizes, test=st.integers(2, 9), seed=st.integers(0, 5))
def test_what_an_extended_split_promises(benign, malignant, more, test, seed):
    labels, groups = collection({"benign": benign, "malignant": malignant})
    before = split_by_group(labels, groups, **SETTINGS)
    new_labels, new_groups = collection({"benign": more})
    after = split_by_group(
        labels + new_labels,
        groups + [f"new {group}" for group in new_groups],
        assigned=before + [""] * len(new_labels),
        **SETTINGS | {"test_per_class": test, "seed": seed},
    )
    assert after[: len(labels)] == before
    added = Counter(after[len(labels) :])
    assert added[TEST] == min(test - 2, len(more))
    num_trained = Counter(zip(labels, before))["benign", TRAIN] + added[TRAIN]
    num_validated = Counter(zip(labels, before))["benign", VALIDATION] + added[VALIDATION]
    assert added[VALIDATION] == 0 or num_validated <= round(0.25 * (num_trained + num_validated))


def test_a_side_that_has_no_image_any_more_gets_a_new_one():
    labels, groups = collection({"benign": [1] * 9, "malignant": [1] * 9})
    for gone in (TRAIN, VALIDATION, TEST):
        sides = split_by_group(labels, groups, **SETTINGS)
        settled = ["" if side == gone else side for side in sides]
        assert Counter(split_by_group(labels, groups, assigned=settled, **SETTINGS | {"seed": 9}))[gone] > 0
