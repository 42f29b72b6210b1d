"""How an entry of the history, a frozen dataclass of one verb, is written to a step and read from one.

The fields of the dataclass are the keys of the file, so that writer and report cannot disagree about a name. The type
of a field says in which part of the step it stands (`Setting[str]`, `Figure[float]` ...) and whether it may be missing
(`Figure[float | None]`). Keys that no field has are ignored: later versions of regan may write more.
"""

import logging
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from regan.artifacts.history import Step, write_step
from regan.common.errors import CorruptFileError
from regan.common.text import is_number

_LOG = logging.getLogger("regan")
# Where fields may stand in a step; pictures and time are arguments of `write_entry` instead.
_PARTS = ("settings", "counts", "figures", "curves", "tables", "private_tables")


@dataclass(frozen=True)
class Place:
    """Where a field stands in a step.

    Attributes:
        part: Attribute of `Step`.
        key: Key in it; the name of the field where empty.
        rest: Whether the field takes all keys of the part that no other field has.
    """

    part: str
    key: str = ""
    rest: bool = False


T = TypeVar("T")
Setting = Annotated[T, Place("settings")]
Count = Annotated[T, Place("counts")]
Figure = Annotated[T, Place("figures")]
Table = Annotated[tuple[T, ...], Place("tables")]
PrivateTable = Annotated[tuple[T, ...] | None, Place("private_tables")]  # None in a release, which leaves it out
OtherSettings = Annotated[Mapping[str, Any], Place("settings", rest=True)]
OtherFigures = Annotated[Mapping[str, Any], Place("figures", rest=True)]


@dataclass(frozen=True)
class Curve:
    """Points of a curve and what its axes show; `write_step` thins it to 200 points."""

    x: Sequence[Any]
    y: Sequence[Any]
    x_label: str
    y_label: str


Plot = Annotated[Curve | None, Place("curves")]


@dataclass(frozen=True)
class Entry:
    """Base of the entries of all verbs. Fields that are None are not written.

    Attributes:
        verb: Name of the verb.
        headline: The figures that say most where only a few are shown.
    """

    verb: ClassVar[str]
    headline: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, step: Step) -> Self:
        """Read the entry of a step.

        Raises:
            ValueError: The step is another verb's.
            CorruptFileError: A field that every version of regan writes is missing, or has another type.
        """
        return cls(**{name: cls.field(step, name) for name in _places(cls)})

    @classmethod
    def of_or_none(cls, step: Step) -> Self | None:
        """Read the entry of a step; None with a warning in the log if it cannot be read.

        For what only illustrates: the report is written last, and an odd figure must not end a run of days.

        Raises:
            ValueError: The step is another verb's.
        """
        try:
            return cls.of(step)
        except CorruptFileError as error:
            _LOG.warning("The report leaves out what cannot be read. %s", error)
            return None

    @classmethod
    def field(cls, step: Step, name: str) -> Any:
        """Read one field of the entry of a step, whatever the others are.

        Args:
            step: The step.
            name: Name of the field.

        Raises:
            ValueError: The step is another verb's.
            CorruptFileError: The field is missing, or has another type.
        """
        if step.verb != cls.verb:
            raise ValueError(f"{cls.__name__} reads steps of {cls.verb}. Received {step.id}.")
        hint, place = _places(cls)[name]
        part = getattr(step, place.part)
        if place.rest:
            own = keys_of(cls, place.part).values()
            return {key: value for key, value in part.items() if key not in own}
        return _value(part.get(place.key), hint, f"Step {step.id} of the history", f"{place.part}.{place.key}")


def write_entry(
    folder: str | Path,
    entry: Entry,
    inputs: Mapping[str, str | Path | Sequence[str | Path]],
    *,
    thumbnails: Mapping[str, np.ndarray] | None = None,
    private_thumbnails: Mapping[str, np.ndarray] | None = None,
    seconds: float,
) -> Step:
    """Copy the history of the inputs into `folder` and add the step of `entry` to it; arguments as of `write_step`."""
    parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
    for name, (_, place) in _places(type(entry)).items():
        value = getattr(entry, name)
        if place.rest:
            parts[place.part] |= value
        # Not written at all: a reader cannot confuse what was not measured with a null.
        elif value is not None:
            parts[place.part][place.key] = _as_json(value)
    pictures: Any = {"thumbnails": thumbnails, "private_thumbnails": private_thumbnails}
    return write_step(folder, entry.verb, inputs, seconds=seconds, **pictures, **parts)


def read_record(kind: type[T], found: Mapping[str, Any], subject: str) -> T:
    """Read a dataclass of plain values from a JSON object.

    Args:
        kind: The dataclass.
        found: The object.
        subject: Subject of the error's sentence, such as "verdict.json"; "has no lower." follows it.

    Raises:
        CorruptFileError: A field is missing or has another type.
    """
    return _record(kind, found, subject, "")


def keys_of(kind: type[Entry], part: str) -> dict[str, str]:
    """Field -> key of an entry in one part of a step, without a field that takes the rest."""
    return {name: place.key for name, (_, place) in _places(kind).items() if place.part == part and not place.rest}


def as_record(record: Any) -> dict[str, Any]:
    """A dataclass of plain values as `read_record` reads it, None included."""
    return {_key(one.name): _as_json(getattr(record, one.name)) for one in fields(record)}


def _read_places(kind: Any) -> dict[str, tuple[Any, Place]]:
    """Field -> its type and its place."""
    found = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if get_origin(hint) is Annotated:
            plain, place = get_args(hint)
            found[name] = (plain, Place(place.part, place.key or _key(name), place.rest))
    return found


# The annotation is for mypy, which takes the type of a dataclass for not hashable.
_places: Callable[[Any], dict[str, tuple[Any, Place]]] = cache(_read_places)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is not ClassVar}


def _key(name: str) -> str:
    return name.removesuffix("_")  # `class_`, since `class` is a word of Python


def _as_json(value: Any) -> Any:
    if is_dataclass(value):
        return as_record(value)
    return [_as_json(item) for item in value] if isinstance(value, tuple) else value


def _record(kind: Any, found: Any, subject: str, where: str) -> Any:
    if not isinstance(found, Mapping):
        raise _unreadable(subject, where, found)
    return kind(
        **{
            field: _value(found.get(_key(field)), hint, subject, f"{where}.{_key(field)}".lstrip("."))
            for field, hint in _hints(kind).items()
        }
    )


def _value(found: Any, hint: Any, subject: str, where: str) -> Any:
    """The value as the type of the field says; numbers stay as they are, since the report shows `3` and `3.0` apart."""
    if get_origin(hint) in (Union, types.UnionType):
        if found is None and type(None) in get_args(hint):
            return None
        # Unions here are all `X | None`.
        hint = next(one for one in get_args(hint) if one is not type(None))
    if is_dataclass(hint):
        return _record(hint, found, subject, where)
    if get_origin(hint) is tuple and isinstance(found, list | tuple):
        return tuple(_value(item, get_args(hint)[0], subject, f"{where}[{place}]") for place, item in enumerate(found))
    if not _fits(found, get_origin(hint) or hint):
        raise _unreadable(subject, where, found)
    return found


def _fits(found: Any, kind: Any) -> bool:
    if kind is Any:
        return found is not None
    # JSON does not tell 3 from 3.0, and NaN cannot be shown or compared.
    if kind is float:
        return is_number(found)
    # `isinstance(True, int)` holds in Python, and no count is `True`.
    return isinstance(found, kind) and (kind is not int or is_number(found))


def _unreadable(subject: str, where: str, found: Any) -> CorruptFileError:
    if not where:
        what = f"is of another type: {str(found)[:80]!r}"
    else:
        what = f"has no {where}" if found is None else f"has {where} of another type: {str(found)[:80]!r}"
    return CorruptFileError(
        f"{subject} {what}. It was changed, or written by another version of regan: run the step that wrote it again."
    )
