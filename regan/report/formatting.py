"""Numbers and steps in plain words: the one place that decides how the report writes them."""

import math
import re
from typing import Any

from regan.common.text import UNKNOWN, is_number

MINUS, NARROW = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"

VERBS = {
    "prepare_images": "Prepare the real images and split them",
    "train_gan": "Train the image generator (GAN)",
    "select_snapshot": "Choose the snapshot closest to the real images",
    "generate_images": "Generate synthetic images",
    "filter_images": "Choose the training images",
    "train_classifier": "Train a classifier",
    "evaluate_classifier": "Let a classifier answer the test images",
    "audit_images": "Audit the synthetic images",
    "compare_classifiers": "Compare the classifiers",
    "publish_images": "Publish the synthetic images",
    "import_nvidia": "Read a generator of an official release",
}
MEASURES = {"auc": "AUC", "accuracy": "Accuracy", "sensitivity": "Sensitivity", "specificity": "Specificity"}


def number(value: Any, digits: int = 3) -> str:
    """`1,234` for whole numbers, `0.958` for others; a true minus sign; what is no number as it is."""
    if value is None:
        return UNKNOWN
    if not is_number(value):
        return str(value)
    text = f"{value:,d}" if isinstance(value, int) else f"{value:,.{digits}f}"
    return text.replace("-", MINUS)


def significant(value: Any, digits: int = 3) -> str:
    """A number of any size with `digits` significant ones: `0.00123`, `12.3`, `4,560`; whole ones whole."""
    if not is_number(value) or isinstance(value, int):
        return number(value)
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    if decimals > 6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa} × 10^{int(exponent)}".replace("-", MINUS)
    return number(float(value), decimals)


def plain(value: Any) -> str:
    """A limit as a person set it: `0.01`, `5`."""
    return f"{value:g}".replace("-", MINUS) if is_number(value) else number(value)


def signed(value: Any, digits: int = 3) -> str:
    """A difference: `+0.012`, `−0.045`, and `0.000` without a sign."""
    if not is_number(value):
        return number(value)
    text = f"{value:+.{digits}f}"
    return (text[1:] if float(text) == 0 else text).replace("-", MINUS)


def percent(value: Any, digits: int = 1) -> str:
    """A share from 0 to 1: `61.3 %`."""
    return f"{number(100.0 * value, digits)}{NARROW}%" if is_number(value) else number(value)


def interval(lower: Any, upper: Any, digits: int = 3, *, sign: bool = False) -> str:
    """`0.934 to 0.974`; with `sign` as differences."""
    write = signed if sign else number
    return f"{write(lower, digits)} to {write(upper, digits)}" if is_number(lower) and is_number(upper) else UNKNOWN


def p_value(value: Any) -> str:
    """`< 0.001` or three decimals; a dash where a row has none."""
    if not is_number(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def typographic(text: str) -> str:
    """The same text with true minus signs before numbers and unbroken percentages."""
    return re.sub(r"(?<![\w-])-(?=\.?\d)", MINUS, text).replace(" %", f"{NARROW}%")


def plural(count: Any, noun: str) -> str:
    """`1 image`, `300 images`."""
    return f"{number(count)} {noun if count == 1 else noun + 's'}"


def sentence_case(text: str) -> str:
    """The same with its first letter large."""
    return text[:1].upper() + text[1:]


def flat(settings: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as `("optimizer.rate", "0.0025")`, in their order."""
    if isinstance(settings, dict):
        return [
            row for key, value in settings.items() for row in flat(value, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(settings, list):
        return [(prefix, ", ".join(str(item) for item in settings) or "none")]
    return [(prefix, "not set" if settings in ("", None) else str(settings))]
