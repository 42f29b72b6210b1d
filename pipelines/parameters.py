"""Parameters of a local run: presets, and values typed by the pipeline's own parameters."""

import difflib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from regan.preparation.split import LEAST_TO_SPLIT, LEAST_TO_TEST

# Parameters of pipelines/synthetic_training_set.py that differ from its defaults, which are the reference experiment's.
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


def typed(settings: Mapping[str, str], specification: Mapping[str, Any]) -> dict[str, Any]:
    """Read pipeline parameters that a person wrote.

    Args:
        settings: Text of each parameter by name.
        specification: Compiled pipeline, which knows their types.

    Returns:
        The same with each value in its parameter's type.

    Raises:
        ValueError: No such parameter, or a text that is no value of its type.
    """
    known = specification["root"]["inputDefinitions"]["parameters"]
    for name in settings:
        if name in _GIVEN_ELSEWHERE:
            raise ValueError(f"`{name}` is set by {_GIVEN_ELSEWHERE[name]}, not by --set.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"The pipeline has {', '.join(sorted(known))}."
            raise ValueError(f"--set expects a parameter of the pipeline. Received {name!r}. {hint}")
    return {name: _value(name, text, known[name]["parameterType"]) for name, text in settings.items()}


def require_sense(values: Mapping[str, Any]) -> None:
    """Refuse values that the preflight would refuse, before anything is sent or run.

    Args:
        values: Parameters of the pipeline, and `conditional` and `rounds` of its graph; the others have their defaults.

    Raises:
        ValueError: Some make no sense; the text has a line for each.
    """
    from regan.runs.checks import failed
    from regan.runs.settings import settings_checks, spelled

    wrong = failed(settings_checks(spelled(values))[0])
    if wrong:
        raise ValueError("\n".join(f"{c.name}: expected {c.expected}. Received {c.found}. {c.advice}" for c in wrong))


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
    if not text.isascii() or not text.isdecimal():
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
_DIGITS = ("gpu_count", "gpu_count_gan")  # text for Kubernetes


def _value(name: str, text: str, kind: str) -> Any:
    kind = "DIGITS" if name in _DIGITS else kind
    try:
        return _READERS[kind](text)
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"--set {name} expects {_WORDS[kind]}. Received {text!r}.") from error


def share_for_test(counts: Mapping[str, int], wanted: int) -> int:
    """Images of each class to set aside for the test when the source is small.

    Args:
        counts: Images of each class in the source.
        wanted: Images that the preset would set aside.

    Returns:
        As many as wanted, but at most a quarter of the rarer class, at least 2.

    Raises:
        ValueError: A class has too few images for a test, a validation and a training set.
    """
    rarer = min(counts.values())
    if rarer < LEAST_TO_SPLIT:
        found = ", ".join(f"{label}: {count}" for label, count in counts.items())
        raise ValueError(
            f"Each class must have at least {LEAST_TO_SPLIT} images: {LEAST_TO_TEST} for the test, one for validation "
            f"and one for training. Found {found}. Add images, or name other class folders by --classes."
        )
    return max(LEAST_TO_TEST, min(wanted, rarer // 4))
