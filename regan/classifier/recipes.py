"""Recipes: how a classifier is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """What sets one way of training apart.

    All recipes share Adam, cross-entropy, shifts of 10 % and mirrors, early stopping on the validation loss
    (patience 10) and a learning rate that falls to a tenth on a plateau (patience 3).

    Attributes:
        learning_rate: Of Adam, from random weights.
        tuning_rate: Of Adam, from weights that know images already.
        scaling: What the backbone sees; see `Configuration.scaling`.
        freezes_backbone: Whether all but the last layers of the backbone keep their weights.
        trains_on_validation: Whether the validation images train too.
        keeps_best: Whether the weights of the best epoch are kept, rather than those of the last.
        fixes_threshold: Whether the threshold is fixed on validation images, rather than 0.5.
    """

    learning_rate: float
    tuning_rate: float
    scaling: str
    freezes_backbone: bool
    trains_on_validation: bool
    keeps_best: bool
    fixes_threshold: bool


RECIPES = {
    # Mends what the reference did: validation images stay out of training, the best epoch is kept, the backbone sees
    # the range that its weights expect, every layer learns, the threshold is fixed on validation images.
    "standard": Recipe(
        learning_rate=1e-3,
        tuning_rate=1e-4,
        scaling="backbone",
        freezes_backbone=False,
        trains_on_validation=False,
        keeps_best=True,
        fixes_threshold=True,
    ),
    # As the breast ultrasound experiment of 2021 did it.
    "reference": Recipe(
        learning_rate=1e-3,
        tuning_rate=1e-3,
        scaling="unit",
        freezes_backbone=True,
        trains_on_validation=True,
        keeps_best=False,
        fixes_threshold=False,
    ),
}


def recipe_named(name: str) -> Recipe:
    """A recipe of the table; ValueError for another name."""
    if name not in RECIPES:
        raise ValueError(f"`recipe` must be one of {', '.join(RECIPES)}. Received recipe={name!r}.")
    return RECIPES[name]
