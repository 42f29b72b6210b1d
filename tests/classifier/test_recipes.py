import pytest

from regan.classifier.recipes import RECIPES, find_recipe


def test_the_standard_recipe_differs_from_the_reference_in_every_flaw():
    standard, reference = (vars(RECIPES[name]) for name in ("standard", "reference"))
    assert {name for name in standard if standard[name] == reference[name]} == {"learning_rate"}


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match=r"must be one of standard, reference. Received recipe='best'"):
        find_recipe("best")
