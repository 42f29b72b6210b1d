"""The values that each parameter of the pipeline may have: what a step would refuse on the third day is refused now."""

import math
from collections.abc import Mapping
from pathlib import Path

from regan.classifier.filtering import RULES
from regan.classifier.recipes import RECIPES
from regan.gan.configuration import AUGMENTATIONS, PRECISIONS
from regan.runs.checks import Check

# What keras.applications builds; Keras itself would load a framework.
NETWORKS = (
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
    *(f"DenseNet{layers}" for layers in (121, 169, 201)),
    *(f"EfficientNetB{number}" for number in range(8)),
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small"),
    *("NASNetLarge", "NASNetMobile"),
    *(f"ResNet{layers}{version}" for layers in (50, 101, 152) for version in ("", "V2")),
    *("VGG16", "VGG19", "Xception"),
)
ENDPOINTS = ("auc", "accuracy", "sensitivity", "specificity")

_MOST_SEED = 2**32 - 1
# Parameter, least, most, whether it must be whole.
_NUMBERS = (
    ("data_size", 32, 1024, True),
    ("data_channels", 1, 3, True),
    ("data_seed", 0, _MOST_SEED, True),
    ("test_per_class", 2, 10**6, True),
    ("rounds", 1, 1_000, True),
    ("gan_kimg", 0, 10**6, False),
    ("gan_mapping_layers", 0, 64, True),
    ("gan_keep_snapshots", 2, 10**4, True),
    ("gan_seed", 0, _MOST_SEED, True),
    ("gan_selection_images", 16, 10**7, True),
    ("gan_truncation_psi", 0, 10, False),
    ("classifier_epochs", 1, 10**5, True),
    ("classifier_batch_size", 1, 10**5, True),
    ("classifier_seed", 0, _MOST_SEED, True),
    ("classifier_filter_confidence", 0, 1, False),
    ("classifier_images_per_class", 0, 10**8, True),
    ("report_max_memorised", 0, 1, False),
)
# Above 0 and below 1, with an example.
_SHARES = (("data_validation_fraction", "0.1"), ("report_margin", "0.05"))
_WORDS = (
    ("conditional", ("true", "false")),
    ("data_unchanged", ("stop", "run")),
    ("gan_augment", tuple(AUGMENTATIONS)),
    ("gan_precision", PRECISIONS),
    ("classifier_backbone", ("small", *NETWORKS)),
    ("classifier_recipe", tuple(RECIPES)),
    ("classifier_filter_rule", RULES),
    ("report_endpoint", ENDPOINTS),
)


def value_checks(values: Mapping[str, str]) -> tuple[list[Check], dict[str, float]]:
    """Check every value by itself.

    Args:
        values: Text of each parameter that is known here.

    Returns:
        Those that are wrong, and the numbers by name.
    """
    checks: list[Check] = []
    numbers = {name: _number(values, checks, name, least, most, whole) for name, least, most, whole in _NUMBERS}
    for name, example in _SHARES:
        if not 0 < _read(values[name]) < 1:
            expected = "a share above 0 and below 1"
            checks.append(_wrong(name, values[name], expected, f"Set {name} to {expected}, such as {example}."))
    for name, words in _WORDS:
        text = values[name].lower() if name == "conditional" else values[name]
        if text not in words:
            checks.append(_wrong(name, values[name], f"one of {', '.join(words)}", f"Set {name} to one of these."))
    for name in ("gan_features", "report_features"):
        if not _may_be_features(values[name]):
            expected = "radiomic, a network of keras.applications, or the folder of a classifier"
            advice = f"Set {name} to one of these; the networks are {', '.join(NETWORKS)}."
            checks.append(_wrong(name, values[name], expected, advice))
    return checks, numbers


def start_check(start_uri: str, split_uri: str) -> Check | None:
    """What is wrong with where GAN training starts; None where nothing is.

    Args:
        start_uri: Where generators are kept.
        split_uri: Where the split is kept.
    """
    if not start_uri or split_uri:
        return None
    return _wrong(
        "gan_start_uri",
        f"{start_uri} without data_split_uri",
        "gan_start_uri needs data_split_uri: a split that is made anew puts images into the test that have trained the "
        "generator which is kept",
        "Set data_split_uri to an address where the split is kept, or leave gan_start_uri empty.",
    )


def _number(values: Mapping[str, str], checks: list[Check], name: str, least: int, most: int, whole: bool) -> float:
    number = _read(values[name])
    if not least <= number <= most or (whole and number != int(number)):
        expected = f"{'a whole number' if whole else 'a number'} from {least:,} to {most:,}"
        checks.append(_wrong(name, values[name], expected, f"Set {name} to {expected}."))
    elif name == "data_channels" and number == 2:
        checks.append(_wrong(name, values[name], "1 for grey or 3 for RGB", f"Set {name} to 1 or 3."))
    return number


def _read(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _may_be_features(text: str) -> bool:
    """Whether `feature_extractor` may know it; whether a folder exists is known on the node of that step alone."""
    network = text.partition(":")[0].partition("/")[0]
    if text == "radiomic" or network in NETWORKS:
        return True
    return ("/" in text and ":" not in text) or (text != "" and Path(text).is_dir())


def _wrong(name: str, found: str, expected: str, advice: str) -> Check:
    return Check(name, found or "nothing", expected, "no", advice)
