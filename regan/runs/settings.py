"""The pipeline's parameters as the preflight reads them: parsed, checked, and turned into keys."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from regan.gan.configuration import PRESETS, GanConfig, configure
from regan.runs.checks import Check
from regan.runs.value_checks import start_check, value_checks

# What GAN training computes depends on the data and on these parameters, its length aside: `gan_kimg` may be raised.
READ_BY_TRAINING = (
    "negative_class",
    "positive_class",
    "data_size",
    "data_channels",
    "data_mask_pattern",
    "data_validation_fraction",
    "data_seed",
    "test_per_class",
    "gan_preset",
    "gan_augment",
    "gan_precision",
    "gan_mapping_layers",
    "gan_seed",
    "gan_start_uri",
)
DEFAULTS = {
    "negative_class": "",
    "positive_class": "",
    "data_unchanged": "stop",
    "data_split_uri": "",
    "data_size": "256",
    "data_channels": "1",
    "data_mask_pattern": "*_mask*",
    "data_validation_fraction": "0.1",
    "data_seed": "0",
    "test_per_class": "150",
    "conditional": "true",
    "rounds": "1",
    "gan_preset": "config-e",
    "gan_kimg": "0",
    "gan_keep_snapshots": "25",
    "gan_augment": "mirror",
    "gan_precision": "float32",
    "gan_mapping_layers": "0",
    "gan_start_uri": "",
    "gan_seed": "0",
    "gan_features": "radiomic",
    "gan_selection_images": "2000",
    "gan_seeds": "1-25000",
    "gan_truncation_psi": "1.6",
    "classifier_backbone": "InceptionResNetV2",
    "classifier_recipe": "standard",
    "classifier_epochs": "50",
    "classifier_batch_size": "32",
    "classifier_seed": "0",
    "classifier_filter_rule": "agreement",
    "classifier_filter_confidence": "0.9",
    "classifier_images_per_class": "0",
    "report_features": "radiomic",
    "report_max_memorised": "0.01",
    "report_endpoint": "auc",
    "report_margin": "0.05",
}
MOST_SEEDS = 10_000_000

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)
# Ends of names whose values stay text: the class "1.0" is not the class "1".
_TEXTS = ("negative_class", "positive_class", "_uri", "_title", "_pattern", "_version")
_RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?(?:\+\d{1,18})?(?::(\d{1,9})/(\d{1,9}))?")


@dataclass(frozen=True)
class Plan:
    """What the settings ask for.

    Attributes:
        config: Of GAN training.
        networks: 1 where one network learns both classes, 2 otherwise.
        snapshots: Kept at most.
        rounds: How often student and control go on with new images.
        seeds: Synthetic images a class and round.
        test_per_class: Test images a class.
        negative_class: Class without the finding; empty = told by the source.
        positive_class: Class with the finding.
        mask_pattern: Names of lesion masks.
    """

    config: GanConfig
    networks: int
    snapshots: int
    rounds: int
    seeds: int
    test_per_class: int
    negative_class: str
    positive_class: str
    mask_pattern: str


def parsed(text: str) -> dict[str, str]:
    """Lines `name=value` as a dictionary, each number in one spelling.

    Raises:
        ValueError: A line is none, or a name comes twice.
    """
    found: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        name, equals, value = line.partition("=")
        name = name.strip()
        if not equals or not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in found:
            raise ValueError(
                "`settings` must be lines `name=value`, each name once. "
                f"Received the line {line.strip()[:80]!r}. Write one parameter in each line."
            )
        found[name] = _canonical(name, value.strip())
    return found


def spelled(values: Mapping[str, object]) -> dict[str, str]:
    """Values of the pipeline's parameters as `parsed` would give them; lists and objects are no settings."""
    return {name: _canonical(name, str(value)) for name, value in values.items() if not isinstance(value, list | dict)}


def run_key(data_version: str, settings: Mapping[str, str], version: str) -> str:
    """16 hexadecimal digits that stay as long as a run would compute the same."""
    return _hash([data_version, dict(settings), version])


def training_key(data_version: str, settings: Mapping[str, str]) -> str:
    """16 hexadecimal digits that stay as long as GAN training would go on from the same checkpoint."""
    known = DEFAULTS | dict(settings)
    return _hash([data_version, {name: known.get(name, "") for name in READ_BY_TRAINING}])


def settings_checks(settings: Mapping[str, str]) -> tuple[list[Check], Plan | None]:
    """Whether the settings make sense together; no plan where one does not."""
    values = DEFAULTS | dict(settings)
    checks, numbers = value_checks(values)
    start = start_check(values["gan_start_uri"], values["data_split_uri"])
    checks += [start] if start else []
    seeds = _seeds_check(values["gan_seeds"], checks)
    config = None if any(check.ok == "no" for check in checks) else _config_check(values, numbers, checks)
    if config is None:
        return checks, None
    return checks, Plan(
        config=config,
        networks=1 if values["conditional"].lower() in ("true", "1") else 2,
        snapshots=int(numbers["gan_keep_snapshots"]),
        rounds=int(numbers["rounds"]),
        seeds=seeds,
        test_per_class=int(numbers["test_per_class"]),
        negative_class=values["negative_class"],
        positive_class=values["positive_class"],
        mask_pattern=values["data_mask_pattern"],
    )


def _seeds_check(text: str, checks: list[Check]) -> int:
    """Number of seeds, without making the list: a slip of the pen may name a billion."""
    try:
        matches = [_RANGE.fullmatch(part) for part in text.split(",")]
        counts = [_length(match) for match in matches if match]
    except ValueError:
        counts = []
    total = sum(counts)
    good = bool(counts) and len(counts) == len(matches) and 1 <= total <= MOST_SEEDS and min(counts) > 0
    expected = f"ranges of 1 to {MOST_SEEDS:,} seeds, such as 1-25000"
    if not good:
        checks.append(Check("gan_seeds", text, expected, "no", f"Set gan_seeds to {expected}."))
    return total


def _length(match: re.Match[str]) -> int:
    first, last = int(match[1]), int(match[2] or match[1])
    part, parts = int(match[3] or 1), int(match[4] or 1)
    count = last + 1 - first
    if not 1 <= part <= parts <= count:
        raise ValueError(f"no range: {match[0]}")
    return count * part // parts - count * (part - 1) // parts


def _config_check(values: Mapping[str, str], numbers: Mapping[str, float], checks: list[Check]) -> GanConfig | None:
    size, preset = int(numbers["data_size"]), values["gan_preset"]
    labels = ("negative", "positive") if values["conditional"].lower() in ("true", "1") else ("one",)
    try:
        config = configure(
            preset,
            size=size,
            channels=int(numbers["data_channels"]),
            labels=labels,
            kimg=numbers["gan_kimg"],
            mapping_layers=int(numbers["gan_mapping_layers"]),
        )
    except ValueError as error:
        expected = f"a preset ({', '.join(PRESETS)}) and a size that is a power of two from 32 to 1024"
        checks.append(Check("GAN settings", f"{preset} at {size} pixels", expected, "no", str(error)))
        return None
    length = f"{config.kimg:,.10g} kimg, {config.channels} channel{'s' * (config.channels > 1)}"
    checks.append(Check("GAN settings", f"{preset} at {size} x {size}, {length}", "a known preset and size", "yes"))
    return config


def _canonical(name: str, value: str) -> str:
    """`256.0` as `256`: a pipeline passes the same number in either spelling."""
    if name.endswith(_TEXTS) or not _NUMBER.fullmatch(value):
        return value
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def _hash(values: list[object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
