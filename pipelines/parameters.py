"""Values of the pipeline's parameters from a command line: presets, types, and the check before anything runs."""

import difflib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from regan.common.errors import SettingError, TooFewImagesError
from regan.preparation.split import LEAST_TO_SPLIT, LEAST_TO_TEST, default_test_share
from regan.runs.parameter_row import Digits
from regan.runs.parameters import PARAMETERS

# Where a preset differs from the table's defaults, which are the reference experiment's.
PRESETS: dict[str, dict[str, Any]] = {
    # Minutes on two cores: images of 32 x 32, a network of 0.2 million parameters, no downloaded weights.
    "demo": {
        "data_size": 32,
        "gan_preset": "demo",
        "gan_selection_images": 1_000,
        "gan_seeds": "1-2000",
        "gan_truncation_psi": 1.0,
        "classifier_backbone": "small",
        "classifier_weights": "none",
    },
    # Days on one GPU: the reference experiment's network and sizes.
    "config-e": {},
}

_GIVEN_ELSEWHERE = {"source_uri": "--source", "negative_class": "--classes", "positive_class": "--classes"}


def convert_types(settings: Mapping[str, str], specification: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the pipeline parameters of a command line to their types.

    Args:
        settings: Text of each parameter by name.
        specification: Compiled pipeline, which may be another version's: its names and types decide.

    Returns:
        The same with each value in its parameter's type.

    Raises:
        SettingError: No such parameter, or a text that is not a value of its type.
    """
    known = specification["root"]["inputDefinitions"]["parameters"]
    for name in settings:
        if name in _GIVEN_ELSEWHERE:
            raise SettingError(f"`{name}` cannot be set by --set. Use {_GIVEN_ELSEWHERE[name]}.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"The pipeline has {', '.join(sorted(known))}."
            raise SettingError(f"--set names no parameter of the pipeline: {name!r}. {hint}")
    return {name: _value(name, text, known[name]["parameterType"]) for name, text in settings.items()}


def require_sense(values: Mapping[str, Any]) -> None:
    """Check the values as the preflight will, before anything is submitted or run.

    Args:
        values: Parameters of the pipeline, and `conditional` and `rounds` of its graph; the others have their defaults.

    Raises:
        SettingError: Some are not allowed; the message has a line for each.
    """
    from regan.runs.checks import failures
    from regan.runs.settings import canonical_values, settings_checks

    wrong = failures(settings_checks(canonical_values(values))[0])
    if wrong:
        raise SettingError("\n".join(f"{c.name}: expected {c.expected}. Received {c.found}. {c.advice}" for c in wrong))


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _json(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError
        return value

    return read


def _digits(text: str) -> str:
    if not Digits().allows(text):
        raise ValueError
    return text


_READERS: dict[str, Callable[[str], Any]] = {
    "STRING": str,
    "NUMBER_INTEGER": lambda text: int(text.replace("_", "")),
    "NUMBER_DOUBLE": _finite,
    "BOOLEAN": lambda text: {"true": True, "false": False}[text.lower()],
    "STRUCT": _json(dict),
    "LIST": _json(list),
    "DIGITS": _digits,
}
_WORDS = {
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a finite number",
    "BOOLEAN": "true or false",
    "STRUCT": "a JSON object",
    "LIST": "a JSON list",
    "DIGITS": "a whole number in digits",
}


def _value(name: str, text: str, kind: str) -> Any:
    if name in PARAMETERS and isinstance(PARAMETERS[name].allowed, Digits):  # numbers that Kubernetes takes as text
        kind = "DIGITS"
    try:
        return _READERS[kind](text)
    except (ValueError, KeyError, RecursionError) as error:
        raise SettingError(f"--set {name} expects {_WORDS[kind]}. Received {text!r}.") from error


def share_for_test(counts: Mapping[str, int], wanted: int) -> int:
    """Test images of each class where the source is small.

    Args:
        counts: Number of images of each class in the source.
        wanted: Number that the preset asks for.

    Returns:
        As many as wanted, but at most a quarter of the rarer class, and at least 2.

    Raises:
        TooFewImagesError: A class has too few images for a test, a validation and a training set.
    """
    rarer = min(counts.values())
    share = default_test_share(rarer)
    if not share:
        found = ", ".join(f"{label}: {count}" for label, count in counts.items())
        raise TooFewImagesError(
            f"A class has fewer than {LEAST_TO_SPLIT} images: {LEAST_TO_TEST} for the test, one for validation and one "
            f"for training. Found {found}. Add images, or name other class folders by --classes."
        )
    return min(max(LEAST_TO_TEST, wanted), share)
