"""PyTorch tensors from their bytes, without PyTorch.

A tensor in a pickle is a view (offset, shape, strides) of a storage, and a storage is a nested stream: five pickles and
raw bytes ("legacy" format), or a zip file.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from regan.nvidia.numpy_arrays import require_shape
from regan.nvidia.unpickling import Name, Source, Unpickler, refuse

_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of PyTorch's legacy format
_PROTOCOL = 1001  # its second pickle
_BRAIN_FLOAT = "bfloat16"  # the upper half of a float32; NumPy has no such dtype

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BRAIN_FLOAT,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
    "UntypedStorage": "<u1",
}
_STORAGE_NAMES: dict[str, Callable[..., Any] | None] = {
    f"{module}.{name}": None for module in ("torch", "torch.cuda", "torch.storage") for name in _STORAGES
}


@dataclass(eq=False)
class Storage:
    """A flat array of numbers that tensors are views of.

    Attributes:
        type: NumPy dtype, or `bfloat16`.
        num: Number of elements.
        data: Their bytes, once they are read.
    """

    type: str
    num: int
    data: bytes | None = None

    @property
    def num_bytes(self) -> int:
        """Size of the elements, bytes."""
        return self.num * (2 if self.type == _BRAIN_FLOAT else np.dtype(self.type).itemsize)

    def values(self) -> np.ndarray:
        """Return the elements `(num,)`, float32 for bfloat16."""
        if self.data is None or len(self.data) != self.num_bytes:
            refuse("a storage has another number of bytes than it declares")
        if self.type != _BRAIN_FLOAT:
            return np.frombuffer(self.data, self.type)
        return (np.frombuffer(self.data, "<u2").astype("<u4") << 16).view("<f4")


class StorageReader:
    """Reads the storages of a file. Together they may not be longer than the file, so that none is read many times.

    Args:
        max_bytes: Size of the file.
    """

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def read(self, data: Any) -> Storage:
        """Read the storage in one stream."""
        if not isinstance(data, bytes | bytearray):
            refuse("a storage is not a byte string")
        # A pickle may pass the same bytes to many calls.
        self._left -= len(data)
        if self._left < 0:
            refuse("its storages take more bytes than the file has")
        found = _from_zip(data) if data[:4] == b"PK\x03\x04" else _from_legacy(data)
        if not isinstance(found, Storage):
            refuse("a storage stream contains something else")
        found.values()  # checks the size
        return found


def tensor(storage: Any, offset: Any, shape: Any, steps: Any, *_: Any) -> np.ndarray:
    """Make the view of a storage that a tensor is.

    Args:
        storage: Its `Storage`.
        offset: Number of its first element.
        shape: Its shape.
        steps: Its strides, in elements.

    Returns:
        Read-only array of `shape`, such as `(filters, maps, k, k)`, in the dtype of the storage.
    """
    if not isinstance(storage, Storage):
        refuse("a tensor has no storage")
    values = storage.values()
    for numbers in (shape, steps, (offset,)):
        require_shape(numbers)
    # `as_strided` checks nothing: the last element must be within the storage, and no larger array may be made of few
    # elements by strides of 0.
    num = math.prod(shape)
    last = offset + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    if num > len(values) or (num and last >= len(values)):
        refuse(f"a tensor of shape {shape} exceeds the {len(values)} elements of its storage")
    if not num:
        return np.zeros(shape, values.dtype)
    strides = tuple(step * values.itemsize for step in steps)
    return np.lib.stride_tricks.as_strided(values[offset:], shape, strides, writeable=False)


def _storage_type(name: Any) -> str:
    if not isinstance(name, Name) or name.dotted not in _STORAGE_NAMES:
        refuse("a storage has an unknown dtype")
    return _STORAGES[name.dotted.rpartition(".")[2]]


def _from_legacy(data: bytes | bytearray) -> Any:
    source = Source(io.BytesIO(data), len(data))
    if Unpickler(source, {}).load() != _MAGIC or Unpickler(source, {}).load() != _PROTOCOL:
        refuse("a storage does not begin with the header of PyTorch")
    system = Unpickler(source, {}).load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        refuse("a storage has another byte order")
    # Third the object with its storages by key, fourth the keys in the order in which their bytes follow.
    known: dict[str, Storage] = {}
    found = Unpickler(source, _STORAGE_NAMES, lambda given: _declare_storage(given, known)).load()
    keys = Unpickler(source, {}).load()
    if not isinstance(keys, list) or len(keys) != len(set(map(str, keys))) or {str(key) for key in keys} != set(known):
        refuse("the parts of a storage do not match")
    for key in keys:
        storage = known[str(key)]
        (num,) = struct.unpack("<q", source.read(8))
        if num != storage.num:
            refuse(f"a storage declares both {storage.num} and {num} elements")
        storage.data = source.read(storage.num_bytes)
    return found


def _declare_storage(given: Any, known: dict[str, Storage]) -> Storage:
    """Make the storage of a persistent id: "storage", dtype, key, device, size, and for a view its place in another."""
    if not isinstance(given, tuple) or not 5 <= len(given) <= 6 or given[0] != "storage":
        refuse("the description of a storage has an unknown format")
    _, name, key, _, num = given[:5]
    if type(num) is not int or not 0 <= num < 2**40 or given[5:] not in ((), (None,)):
        refuse("a storage declares no number of elements, or is a view of another one")
    return known.setdefault(str(key)[:100], Storage(_storage_type(name), num))


def _from_zip(data: bytes | bytearray) -> Any:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _require_stored(entries, len(data))
            parts = {entry.filename.partition("/")[2]: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        refuse(f"a storage is a corrupt zip file ({type(error).__name__})")
    if parts.get("byteorder", b"little") != b"little" or "data.pkl" not in parts:
        refuse("a storage is a zip file, but not one of PyTorch's")
    known: dict[str, Storage] = {}
    source = Source(io.BytesIO(parts["data.pkl"]), len(parts["data.pkl"]))
    found = Unpickler(source, _STORAGE_NAMES, lambda given: _declare_storage(given, known)).load()
    for key, storage in known.items():
        storage.data = parts.get(f"data/{key}")
    return found


def _require_stored(entries: list[zipfile.ZipInfo], max_bytes: int) -> None:
    # PyTorch does not compress. Compressed entries, or many entries that share their bytes, could be a zip bomb.
    plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if not plain or sum(entry.file_size for entry in entries) > max_bytes:
        refuse("a storage is a compressed zip file")
