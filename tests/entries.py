"""Entries of the history with plausible values, for tests that care about some fields only."""

import types
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_VALUES: dict[Any, Any] = {int: 3, float: 0.5, str: "text", bool: True}


def sample(kind: type[T], *, full: bool = False, **changes: Any) -> T:
    """An entry or a row; `changes` are its other fields, and `full` fills fields that may be missing, too."""
    hints = get_type_hints(kind)
    unknown = set(changes) - set(hints)
    if unknown:
        raise TypeError(f"{kind.__name__} has no {', '.join(sorted(unknown))}.")
    return kind(**{one.name: _value(hints[one.name], full) for one in fields(kind)} | changes)


def _value(hint: Any, full: bool) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return _value(next(one for one in get_args(hint) if one is not type(None)), full) if full else None
    if is_dataclass(hint):
        return sample(hint, full=full)
    if get_origin(hint) is tuple:
        return (_value(get_args(hint)[0], full),)
    if (get_origin(hint) or hint).__name__ in ("Mapping", "dict"):
        return {}
    if (get_origin(hint) or hint).__name__ == "Sequence":
        return [0.0, 1.0]
    return _VALUES[hint]
