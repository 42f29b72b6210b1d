import numpy as np
import pytest

from regan.classifier.filtering import accept, images_per_class, mark_first_occurrences, sample_accepted
from regan.common.errors import SettingError, TooFewImagesError

PROBABILITIES = np.array([0.05, 0.3, 0.6, 0.95])


def test_agreement_accepts_what_the_teacher_gives_its_own_class():
    of = {positive: accept(PROBABILITIES, positive=positive, rule="agreement", threshold=0.6) for positive in (0, 1)}
    assert of[1].tolist() == [False, False, True, True]
    assert of[0].tolist() == [True, True, False, False]


def test_confidence_asks_for_the_probability_of_the_own_class():
    of = {positive: accept(PROBABILITIES, positive=positive, rule="confidence", confidence=0.9) for positive in (0, 1)}
    assert of[1].tolist() == [False, False, False, True]
    assert of[0].tolist() == [True, False, False, False]


def test_no_other_rule_judges_probabilities():
    with pytest.raises(SettingError, match="rule='none'"):
        accept(PROBABILITIES, positive=True, rule="none")


def test_both_classes_give_as_many_as_the_rarer_one_has():
    assert images_per_class({"b": 7, "m": 5}, 0) == 5
    assert images_per_class({"b": 7, "m": 5}, 3) == 3


def test_more_than_there_are_is_refused():
    with pytest.raises(TooFewImagesError, match=r"rarer class, m: 5. Received per_class=6.*Generate more seeds"):
        images_per_class({"b": 7, "m": 5}, 6)


def test_a_class_without_accepted_images_is_refused():
    with pytest.raises(TooFewImagesError, match=r"no images of class m\. Accepted: b 7, m 0.*Generate more seeds"):
        images_per_class({"b": 7, "m": 0}, 0)


def test_the_pick_is_random_without_repeats_and_the_same_for_the_same_seed():
    marks = np.arange(100) % 2 == 0
    picks = [sample_accepted(marks, 20, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert picks[0].tolist() == picks[1].tolist() != picks[2].tolist()
    assert len(set(picks[0].tolist())) == 20
    assert marks[picks[0]].all()


def test_every_accepted_image_is_picked_equally_often():
    random = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([sample_accepted(np.ones(10, bool), 3, random) for _ in range(3000)]))
    assert np.abs(counts - 900).max() < 100  # 4 standard deviations


def test_only_the_first_of_equal_images_is_marked():
    assert mark_first_occurrences(["x", "y", "x", "z"]).tolist() == [True, True, False, True]
    assert mark_first_occurrences(["x", "y", "x", "z"], frozenset("y")).tolist() == [True, False, False, True]
