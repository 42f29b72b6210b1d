"""NumPy arrays, numbers and dtypes in pickles, rebuilt from their bytes without any objects."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from regan.nvidia.unpickling import Buildable, Inert, refuse

_TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class NumberType(Buildable):
    """A dtype, such as `f4` for float32; its byte order follows in the state."""

    def __init__(self, code: str) -> None:
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        """Set the state as NumPy writes it; only the byte order is used."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            refuse("the state of a dtype has an unknown format")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class PickledArray(Buildable):
    """An array whose values follow in the state."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None

    def build(self, state: Any) -> None:
        """Set shape, dtype and bytes, once."""
        if self.values is not None or not isinstance(state, tuple) or len(state) != 5:
            refuse("the state of an array has an unknown format")
        _, shape, number_type, by_columns, data = state
        self.values = _array(data, number_type, shape, "F" if by_columns else "C")


def _number_type(code: Any, align: Any = False, copy: Any = True) -> NumberType:
    if code not in _TYPES:
        refuse(f"an array has the dtype {ascii(code)[:40]}, which is not a plain number")
    return NumberType(code)


def _empty_array(kind: Any, shape: Any, code: Any) -> PickledArray:
    return PickledArray()


def _scalar(number_type: Any, data: Any) -> float:
    return _array(data, number_type, (), "C").item()


def _from_buffer(data: Any, number_type: Any, shape: Any, order: Any) -> PickledArray:
    found = PickledArray()
    found.values = _array(data, number_type, shape, "F" if order == "F" else "C")
    return found


def _array(data: Any, number_type: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(number_type, NumberType) or not isinstance(data, bytes | bytearray):
        refuse("an array contains objects instead of numbers")
    require_shape(shape)
    # Before NumPy allocates anything: the bytes must be there.
    if math.prod(shape) * number_type.dtype.itemsize != len(data):
        refuse(f"an array of shape {shape} has {len(data)} bytes, which is another size")
    return np.frombuffer(data, number_type.dtype).reshape(shape, order=order)


def require_shape(shape: Any) -> None:
    """Refuse anything but a tuple of up to 8 integers, 0 or more: more axes, or 2^40 elements, no release has."""
    if (
        not isinstance(shape, tuple)
        or len(shape) > 8
        or not all(type(length) is int and 0 <= length < 2**40 for length in shape)
    ):
        refuse("the shape or strides of an array are not small integers")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    # Before protocol 3, pickles wrote bytes as text. Releases are newer; only short texts are needed.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1") or len(text) > 1000:
        refuse("it writes bytes as text")
    return text.encode("latin1")


def _set(values: Any = ()) -> set[Any]:
    if not isinstance(values, list) or len(values) > 1000 or not all(isinstance(v, str | int) for v in values):
        refuse("it makes a set of anything but a few names")
    return set(values)


def _empty_dict() -> dict[str, Any]:
    return {}


# `numpy.core` became `numpy._core` in NumPy 2; files have either.
NUMPY_NAMES: dict[str, Callable[..., Any] | None] = {
    "numpy.ndarray": None,
    "numpy.dtype": _number_type,
    "_codecs.encode": _encode,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "collections.OrderedDict": _empty_dict,
    "dnnlib.util.EasyDict": _empty_dict,
    "dnnlib.tflib.network.Network": lambda: Inert("dnnlib.tflib.network.Network"),
} | {
    f"{module}.{name}": function
    for module in ("numpy.core", "numpy._core")
    for name, function in (
        ("multiarray._reconstruct", _empty_array),
        ("multiarray.scalar", _scalar),
        ("numeric._frombuffer", _from_buffer),
    )
}
