"""Training recipes of the classifier."""

from dataclasses import dataclass

from regan.common.errors import SettingError


@dataclass(frozen=True)
class Recipe:
    """Settings in which the recipes differ.

    All recipes share Adam, cross-entropy, shifts of 10 % and flips, early stopping on the validation loss (patience 10)
    and a learning rate that is divided by ten on a plateau (patience 3).

    Attributes:
        learning_rate: Learning rate of Adam from random weights.
        tuning_rate: Learning rate of Adam from pretrained weights (fine-tuning).
        scaling: Input range of the backbone; see `Configuration.scaling`.
        freezes_backbone: Whether the backbone is frozen except its last layers.
        trains_on_validation: Whether the validation images are used for training too.
        keeps_best: Whether the weights of the best epoch are kept, instead of those of the last.
        fixes_threshold: Whether the threshold is fixed on validation images, instead of 0.5.
    """

    learning_rate: float
    tuning_rate: float
    scaling: str
    freezes_backbone: bool
    trains_on_validation: bool
    keeps_best: bool
    fixes_threshold: bool


RECIPES = {
    # Corrects the reference: validation images are not used for training, the best epoch is kept, the backbone gets the
    # input range that its weights expect, every layer is trained, the threshold is fixed on validation images.
    "standard": Recipe(
        learning_rate=1e-3,
        tuning_rate=1e-4,
        scaling="backbone",
        freezes_backbone=False,
        trains_on_validation=False,
        keeps_best=True,
        fixes_threshold=True,
    ),
    # As in the breast ultrasound experiment of 2021.
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


def find_recipe(name: str) -> Recipe:
    """Return a recipe of the table.

    Raises:
        SettingError: There is no recipe of this name.
    """
    if name not in RECIPES:
        raise SettingError(f"`recipe` must be one of {', '.join(RECIPES)}. Received recipe={name!r}.")
    return RECIPES[name]
