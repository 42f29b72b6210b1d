"""A row of the table of parameters, and the rules for values: small classes that read a value's text."""

import math
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

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
MOST_STYLES = 18  # of a generator of 1024 pixels: two for each size from 4 on, and fewer for smaller ones
MOST_SEEDS = 10_000_000  # images of one class and round: a slip of the pen may name a billion

_SEED_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})")


class Allowed(Protocol):
    """A rule for the text of a value."""

    @property
    def expected(self) -> str:
        """What is allowed, such as `a whole number from 1 to 10`."""
        ...

    def allows(self, text: str) -> bool:
        """Whether this text is allowed."""
        ...


@dataclass(frozen=True)
class OneOf:
    """One of several words or numbers."""

    words: tuple[str | int, ...]

    @property
    def expected(self) -> str:
        """The list."""
        return f"one of {', '.join(map(str, self.words))}"

    def allows(self, text: str) -> bool:
        """Whether it is in the list."""
        return text in map(str, self.words)


@dataclass(frozen=True)
class Boolean:
    """True or false; Python, JSON and a person spell it differently."""

    expected: str = "true or false"

    def allows(self, text: str) -> bool:
        """Whether it is either, in capitals or not."""
        return text.lower() in ("true", "false")


@dataclass(frozen=True)
class Whole:
    """A whole number from `least` to `most`."""

    least: int
    most: int

    @property
    def expected(self) -> str:
        """The range."""
        return f"a whole number from {self.least:,} to {self.most:,}"

    def allows(self, text: str) -> bool:
        """Whether it lies in the range, ends included."""
        number = read_number(text)
        return self.least <= number <= self.most and number == int(number)


@dataclass(frozen=True)
class Real:
    """A number from `least` to `most`; `is_open` leaves the ends out."""

    least: float
    most: float
    is_open: bool = False

    @property
    def expected(self) -> str:
        """The range."""
        if self.is_open:
            return f"a number above {self.least:,} and below {self.most:,}"
        return f"a number from {self.least:,} to {self.most:,}"

    def allows(self, text: str) -> bool:
        """Whether it lies in the range."""
        number = read_number(text)
        is_inside = self.least <= number <= self.most
        return is_inside and not (self.is_open and number in (self.least, self.most))


@dataclass(frozen=True)
class Digits:
    """A number as text, in at most four digits: Kubernetes takes GPUs so."""

    expected: str = 'a whole number as text, such as "0" or "1"'

    def allows(self, text: str) -> bool:
        """Whether it is one to four ASCII digits."""
        return re.fullmatch(r"[0-9]{1,4}", text) is not None


@dataclass(frozen=True)
class SeedRange:
    """One rising range, to which the pipeline appends which range of that length a class and round take (`+3`)."""

    expected: str = f"one range of at most {MOST_SEEDS:,} seeds, such as 1-25000"

    def allows(self, text: str) -> bool:
        """Whether it is such a range."""
        return 1 <= num_seeds(text) <= MOST_SEEDS


@dataclass(frozen=True)
class Features:
    """A feature extractor of `regan.quality.extractors`; that a folder exists only the step's own node can know."""

    expected: str = "radiomic, a network of keras.applications, or the folder of a classifier"

    def allows(self, text: str) -> bool:
        """Whether `feature_extractor` may know it."""
        network = text.partition(":")[0].partition("/")[0]
        if text == "radiomic" or network in NETWORKS:
            return True
        return ("/" in text and ":" not in text) or (text != "" and Path(text).is_dir())


def num_seeds(text: str) -> int:
    """Length of a range of seeds; 0 where the text is none."""
    match = _SEED_RANGE.fullmatch(text)
    return max(0, int(match[2]) + 1 - int(match[1])) if match else 0


def read_number(text: str) -> float:
    """The number of a text; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


SEEDS = Whole(0, 2**32 - 1)  # what NumPy and Keras take


class Kind(Enum):
    """What depends on a parameter, and so which keys it is part of."""

    TRAINING = "GAN training reads it: another value is another training, and another run"
    RESULT = "the result depends on it: another value is another run"
    PLACEMENT = "where something is or runs: the preflight tries it where a run names it, and assumes no default"
    CONTROL = "steers the preflight alone"
    OTHER = "neither the result nor the preflight depends on it"


@dataclass(frozen=True)
class Parameter:
    """One parameter of the pipeline, or of verbs alone.

    Attributes:
        name: Name in the pipeline; `verb.name` for a parameter that the pipeline does not expose.
        default: Its default; None where a value is required.
        about: One sentence, with which the description in every signature begins.
        feeds: Each `verb.name` that takes the value.
        allowed: Rule for its values; None = any text.
        kind: What depends on it.
        stage: Key of `STAGES`; empty for a parameter that the pipeline does not expose.
    """

    name: str
    default: Any
    about: str
    feeds: tuple[str, ...] = ()
    allowed: Allowed | None = None
    kind: Kind = Kind.RESULT
    stage: str = ""

    @property
    def type(self) -> type:
        """Python type of the value, that of the default."""
        return str if self.default is None else type(self.default)

    @property
    def in_run_key(self) -> bool:
        """Whether another value makes another run."""
        return self.kind in (Kind.TRAINING, Kind.RESULT)

    @property
    def is_uri(self) -> bool:
        """Whether it holds a URI or a path."""
        return self.name.endswith("_uri")

    @property
    def in_settings(self) -> bool:
        """Whether the preflight receives it as a line `name=value`; what is required is an argument of its own."""
        return self.default is not None and self.kind is not Kind.OTHER
