"""Rules for values, against what the steps take."""

import keras
import pytest

from regan.runs.parameter_row import (
    MOST_SEEDS,
    NETWORKS,
    Boolean,
    Digits,
    Features,
    OneOf,
    Real,
    SeedRange,
    Whole,
    num_seeds,
)
from regan.verbs.generate_images import parse_seeds


def test_the_networks_are_those_that_keras_builds():
    assert set(NETWORKS) == {name for name in dir(keras.applications) if name[0].isupper()}


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (OneOf((1, 3)), ["1", "3"], ["2", "", "1.0"]),
        (Boolean(), ["true", "False"], ["yes", "1", ""]),
        (Whole(2, 1_000), ["2", "1000", "10.0"], ["1", "1001", "2.5", "nan", "inf", "-inf", "two", ""]),
        (Real(0, 1), ["0", "1", "0.5"], ["-0.1", "1.1", "nan", ""]),
        (Real(0, 1, is_open=True), ["0.001", "0.999"], ["0", "1", "nan"]),
        (Digits(), ["0", "8", "1024"], ["-1", "1.5", "", "٣", "12345", "one"]),
        (Features(), ["radiomic", "MobileNet", "MobileNet:m.weights.h5", "/mnt/teacher"], ["", "mobilenet"]),
    ],
)
def test_a_rule_allows_what_it_describes(rule, good, bad):
    assert [text for text in good if not rule.allows(text)] == []
    assert [text for text in bad if rule.allows(text)] == []


def test_a_rule_says_what_it_expects():
    assert Whole(1, 1_000).expected == "a whole number from 1 to 1,000"
    assert Real(0, 1, is_open=True).expected == "a number above 0 and below 1"
    assert OneOf((1, 3)).expected == "one of 1, 3"


@pytest.mark.parametrize("seeds", ["1-25000", "7-7", "101-150"])
def test_seeds_that_are_allowed_are_read_with_what_the_pipeline_appends(seeds):
    assert SeedRange().allows(seeds)
    assert num_seeds(seeds) == len(parse_seeds(f"{seeds}+3"))
    assert set(parse_seeds(f"{seeds}+0")).isdisjoint(parse_seeds(f"{seeds}+1"))


@pytest.mark.parametrize("seeds", ["7", "25", "1-100+2", "1-100:1/2", "5-1", "one", ""])
def test_seeds_that_no_step_of_the_pipeline_can_read_are_refused(seeds):
    assert not SeedRange().allows(seeds)
    with pytest.raises(ValueError, match="cannot be parsed"):
        parse_seeds(f"{seeds}+3")


@pytest.mark.parametrize("seeds", ["1-10,20-29", f"1-{MOST_SEEDS + 1}", "1-99999999999"])
def test_several_ranges_and_slips_of_the_pen_are_refused(seeds):
    # With several ranges only the last one would move with class and round.
    assert not SeedRange().allows(seeds)
