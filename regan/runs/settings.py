"""The parameters of one run as the preflight reads them: parsed, checked, and turned into keys."""

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from regan.common.errors import SettingError
from regan.gan.configuration import GanConfig, configure
from regan.runs.checks import Check
from regan.runs.parameter_row import Kind, Parameter, num_seeds
from regan.runs.parameters import PARAMETERS

# A number as JSON writes it; "01" is none, since it may be the name of a class.
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)
_SETTINGS = {name: row for name, row in PARAMETERS.items() if row.in_settings}


@dataclass(frozen=True)
class Plan:
    """What the settings ask for.

    Attributes:
        config: Configuration of GAN training.
        networks: 1 where one network learns both classes, 2 otherwise.
        snapshots: Maximum number of snapshots kept.
        rounds: Rounds in which student and control continue training.
        seeds: Synthetic images of each class and round.
        test_per_class: Test images of each class.
        negative_class: Class without the finding; empty = from the source.
        positive_class: Class with the finding; empty = from the source.
        mask_pattern: Shell pattern for the names of lesion masks.
        backbone: Backbone of the classifiers.
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
    backbone: str


def parse_settings(text: str) -> dict[str, str]:
    """Lines `name=value` as a dictionary, each value in one spelling.

    Raises:
        SettingError: A line has another form, or a name occurs twice.
    """
    found: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        name, equals, value = line.partition("=")
        name = name.strip()
        if not equals or not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in found:
            raise SettingError(
                f"`settings` has a line that is not `name=value`, or a name twice: {line.strip()[:80]!r}. "
                "Write each parameter once, on a line of its own."
            )
        found[name] = _canonical(name, value.strip())
    return found


def canonical_values(values: Mapping[str, object]) -> dict[str, str]:
    """Those of the pipeline's parameters that are settings, each value as `parse_settings` would return it."""
    return {name: _canonical(name, str(value)) for name, value in values.items() if name in _SETTINGS}


def complete(settings: Mapping[str, str]) -> dict[str, str]:
    """Every setting: the given value, or its default. A placement that is not given is empty, and is not checked."""
    defaults = {
        name: "" if row.kind is Kind.PLACEMENT else _canonical(name, str(row.default))
        for name, row in _SETTINGS.items()
    }
    return defaults | {name: value for name, value in settings.items() if name in _SETTINGS}


def run_key(data_version: str, settings: Mapping[str, str], version: str) -> str:
    """16 hexadecimal digits that stay the same as long as a run would compute the same.

    Args:
        data_version: Version of the source.
        settings: As `parse_settings` returns them; whether there is a release counts, not where it goes.
        version: Version of regan.
    """
    values = complete(settings)
    # Only what changes the result: a run that writes elsewhere, or on other machines, is the same run.
    counted = {name: values[name] for name, row in _SETTINGS.items() if row.in_run_key}
    return _hash([data_version, counted | {"release": "yes" if values["report_release_uri"] else "no"}, version])


def training_key(data_version: str, settings: Mapping[str, str]) -> str:
    """16 hexadecimal digits that stay the same as long as GAN training would resume from the same checkpoint.

    The length of training is not part of it, since `gan_kimg` may be raised.
    """
    values = complete(settings)
    return _hash([data_version, {n: values[n] for n, row in _SETTINGS.items() if row.kind is Kind.TRAINING}])


def settings_checks(settings: Mapping[str, str]) -> tuple[list[Check], Plan | None]:
    """Whether the settings are valid and fit together; no plan where they do not."""
    values = complete(settings)
    checks = [_unknown(name) for name in settings if name not in _SETTINGS]
    checks += [
        _wrong(row, values[name])
        for name, row in _SETTINGS.items()
        if row.allowed and not row.allowed.allows(values[name]) and (name in settings or row.kind is not Kind.PLACEMENT)
    ]
    checks += _contradictions(values)
    # A configuration is built of valid values only, or one mistake would be reported twice.
    config = None if checks else _config_check(values, checks)
    if config is None:
        return checks, None
    return checks, Plan(
        config=config,
        networks=1 if _is_conditional(values) else 2,
        snapshots=int(values["gan_keep_snapshots"]),
        rounds=int(values["rounds"]),
        seeds=num_seeds(values["gan_seeds"]),
        test_per_class=int(values["test_per_class"]),
        negative_class=values["negative_class"],
        positive_class=values["positive_class"],
        mask_pattern=values["data_mask_pattern"],
        backbone=values["classifier_backbone"],
    )


def _unknown(name: str) -> Check:
    if name in PARAMETERS:
        given = (
            "it is the argument `source_uri` of the preflight" if name == "source_uri" else "the preflight ignores it"
        )
        advice = f"Leave {name} out of the settings: {given}."
        return Check(name, "a parameter that is not a setting", "settings of the pipeline", "no", advice)
    near = difflib.get_close_matches(name, _SETTINGS, n=1)
    advice = f"Did you mean {near[0]}?" if near else f"The settings are {', '.join(_SETTINGS)}."
    return Check(name, "no parameter of the pipeline", "a parameter of the pipeline", "no", advice)


def _wrong(row: Parameter, text: str) -> Check:
    expected = row.allowed.expected if row.allowed else ""
    return Check(row.name, text or "nothing", expected, "no", f"Set {row.name} to {expected}.")


def _contradictions(values: Mapping[str, str]) -> list[Check]:
    """Values that are valid alone and not together."""
    checks = []
    if values["gan_start_uri"] and not values["data_split_uri"]:
        checks.append(
            Check(
                "gan_start_uri",
                f"{values['gan_start_uri']} without data_split_uri",
                "gan_start_uri needs data_split_uri: a new split would put images that trained the kept generator into "
                "the test set",
                "no",
                "Set data_split_uri to a URI where the split is saved, or leave gan_start_uri empty.",
            )
        )
    return checks


def _config_check(values: Mapping[str, str], checks: list[Check]) -> GanConfig | None:
    size, preset = int(values["data_size"]), values["gan_preset"]
    try:
        config = configure(
            preset,
            size=size,
            channels=int(values["data_channels"]),
            # Names do not matter here, since the source is not read yet; their number does.
            labels=("negative", "positive") if _is_conditional(values) else ("one",),
            kimg=float(values["gan_kimg"]),
            mapping_layers=int(values["gan_mapping_layers"]),
        )
    except ValueError as error:
        expected = "a configuration that can be trained"
        checks.append(Check("GAN settings", f"{preset} at {size} pixels", expected, "no", str(error)))
        return None
    length = f"{config.kimg:,.10g} kimg, {config.channels} channel{'s' * (config.channels > 1)}"
    checks.append(Check("GAN settings", f"{preset} at {size} x {size}, {length}", "a known preset and size", "yes"))
    return config


def _is_conditional(values: Mapping[str, str]) -> bool:
    return values["conditional"] == "True"


def _canonical(name: str, value: str) -> str:
    """One spelling of each value: `256.0` and `1e2` are numbers that a pipeline may pass, `01.0` may be a class.

    `gs://bucket/a` and `gs://bucket/a/` are one place, so they must give one key.
    """
    kind = PARAMETERS[name].type if name in PARAMETERS else str
    if name in PARAMETERS and PARAMETERS[name].is_uri:
        return value.rstrip("/") or value
    if kind is bool:
        return value.capitalize()
    if kind is str or not _NUMBER.fullmatch(value):
        return value
    number = float(value)
    # Above 2^53 a float no longer holds every integer, and two settings could become one.
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def _hash(values: list[object]) -> str:
    # 16 digits are 64 bits: enough for all runs of a site, and short enough for names of folders.
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
