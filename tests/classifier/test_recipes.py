import pytest

from regan.classifier.recipes import RECIPES, find_recipe
from regan.common.errors import SettingError


def test_the_standard_recipe_differs_from_the_reference_in_every_flaw():
    standard, reference = (vars(RECIPES[name]) for name in ("standard", "reference"))
    assert {name for name in standard if standard[name] == reference[name]} == {"learning_rate"}


def test_an_unknown_recipe_is_refused():
    with pytest.raises(SettingError, match=r"must be one of standard, reference. Received recipe='best'"):
        find_recipe("best")
