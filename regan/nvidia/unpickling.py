"""A safe reader of pickles: it builds plain values and arrays, and accepts only names on an allow-list.

Python's own unpickler imports and calls whatever a file names. This one interprets the opcodes itself. A name is looked
up in a table of our own functions, never in a module; every other name is refused. Objects are read as `Inert`, which
stores their class name and attributes and does nothing.
"""

import pickletools
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from regan.common.errors import UnsafeFileError

# Limits far above what releases need, against files that are made to exhaust time, memory or the recursion limit.
MAX_STEPS = 2_000_000  # opcodes; a release has some hundred thousand
MAX_STACK = 20_000  # values
MAX_DEPTH = 200  # nested containers
_MAX_LINE = 1_000  # characters of a name

_INTEGERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4")
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_LITERALS = frozenset((*_INTEGERS, *_TEXTS, *_BYTES, "BINFLOAT"))
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}
_SCALARS = (str, int, float, bytes, bool, type(None))


def refuse(why: str) -> NoReturn:
    """Refuse the file.

    Raises:
        UnsafeFileError: Always, with the reason.
    """
    raise UnsafeFileError(
        f"The pickle was refused: {why}. A pickle can run any program, so only arrays and listed names are read. "
        "Nothing in the file was executed. Download the file from the official release again."
    )


@dataclass(frozen=True)
class Name:
    """A name in a pickle, such as `torch.FloatStorage`. It is never looked up in a module."""

    dotted: str


class Buildable(ABC):
    """An object of ours whose state a pickle may set after it was made (opcode BUILD)."""

    @abstractmethod
    def build(self, state: Any) -> None:
        """Set the state."""


@dataclass(eq=False)
class Inert(Buildable):
    """Description of an object in a pickle: the name of its class, and its attributes."""

    of: str
    state: dict[str, Any] | None = None

    def build(self, state: Any) -> None:
        """Set the attributes, once."""
        if self.state is not None or not isinstance(state, dict):
            refuse(f"the attributes of `{self.of}` are not a dictionary, or are set twice")
        self.state = state


class Source:
    """The bytes of a pickle. It never reads, or allocates, more than the file has.

    Args:
        file: Open file, at its beginning.
        size: Size of the file, bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._place = file, size, 0

    def read(self, num: int) -> bytes:
        """Read exactly `num` bytes; a size beyond the end of the file is refused before memory is allocated."""
        if not 0 <= num <= self._size - self._place:
            refuse(f"it declares {num} bytes at byte {self._place}, beyond its end")
        self._place += num
        return self._file.read(num)

    def readline(self) -> bytes:
        """Read one line with a name."""
        line = self._file.readline(_MAX_LINE)
        self._place += len(line)
        if not line.endswith(b"\n"):
            refuse(f"a name before byte {self._place} has no end")
        return line

    def tell(self) -> int:
        """Return the number of bytes read so far."""
        return self._place


class Unpickler:
    """Reads one pickle.

    Args:
        source: Its bytes; afterwards at the end of the pickle.
        names: Function of ours for each dotted name that the pickle may call; None = the name may occur, but not be
            called.
        persistent: Function from a persistent id to a value; None = persistent ids are refused.
    """

    def __init__(
        self,
        source: Source,
        names: Mapping[str, Callable[..., Any] | None],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._source, self._names, self._persistent = source, names, persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Read the value of the pickle.

        Raises:
            UnsafeFileError: The pickle is corrupt, too large, or contains a name that is not listed.
        """
        try:
            value = self._run()
        except UnsafeFileError:
            raise
        except (ValueError, TypeError, LookupError, OverflowError, MemoryError, struct.error) as error:
            refuse(f"it is corrupt before byte {self._source.tell()} ({type(error).__name__})")
        _require_shallow(value)
        return value

    def _run(self) -> Any:
        # `genops` of the standard library splits the bytes into opcodes and executes none.
        for step, (opcode, argument, _) in enumerate(pickletools.genops(self._source)):  # type: ignore[arg-type]
            if step > MAX_STEPS or len(self._stack) > MAX_STACK or len(self._marks) > MAX_DEPTH:
                refuse(f"it has more than {MAX_STEPS} opcodes or is nested deeper than {MAX_DEPTH}")
            name = opcode.name
            if name == "STOP":
                break
            if name in _LITERALS:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                self._stack.append(_EMPTY[name]())
            elif (method := _METHODS.get(name)) is None:
                refuse(f"it uses the opcode {name} at byte {self._source.tell()}")
            else:
                method(self, argument)
        if len(self._stack) != 1 or self._marks:
            refuse("it does not end with exactly one value")
        return self._stack.pop()

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            refuse(f"an opcode before byte {self._source.tell()} finds no value")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        value = self._pop()
        if type(value) is not kind:
            refuse(
                f"it adds to a {type(value).__name__} at byte {self._source.tell()}, where it needs a {kind.__name__}"
            )
        self._stack.append(value)
        return value

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            refuse(f"an opcode before byte {self._source.tell()} finds no mark")
        place = self._marks.pop()
        values = self._stack[place:]
        del self._stack[place:]
        return values

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _pop_any(self, _: Any) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def _nothing(self, _: Any) -> None:
        """Ignore frames and the protocol number, which do not affect the value."""

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._pop_mark()))

    def _short_tuple(self, num: int) -> None:
        values = [self._pop() for _ in range(num)]
        self._stack.append(tuple(reversed(values)))

    def _append(self, _: Any) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _appends(self, _: Any) -> None:
        values = self._pop_mark()
        self._top(list).extend(values)

    def _set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._fill([key, value])

    def _set_items(self, _: Any) -> None:
        self._fill(self._pop_mark())

    def _fill(self, values: list[Any]) -> None:
        # Keys and values alternate; `strict` refuses a key without a value.
        keys = _scalars(values[::2])
        self._top(dict).update(zip(keys, values[1::2], strict=True))

    def _add_items(self, _: Any) -> None:
        values = self._pop_mark()
        self._top(set).update(_scalars(values))

    def _frozen_set(self, _: Any) -> None:
        self._stack.append(frozenset(_scalars(self._pop_mark())))

    def _memoise(self, _: Any) -> None:
        # Protocol 4 numbers the entries of the memo by itself.
        self._put(len(self._memo))

    def _put(self, place: int) -> None:
        value = self._pop()
        self._stack.append(value)
        self._memo[place] = value

    def _get(self, place: int) -> None:
        if place not in self._memo:
            refuse(f"it reads entry {place} of its memo, which was never written")
        self._stack.append(self._memo[place])

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_name(module, name)

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            refuse(f"a name before byte {self._source.tell()} is not text")
        self._push_name(module, name)

    def _push_name(self, module: str, name: str) -> None:
        # A dot in the name would access attributes: `os` and `path.join`, or `builtins` and `x.__class__`.
        dotted = f"{module}.{name}"
        if "." in name or dotted not in self._names:
            refuse(f"it names `{ascii(dotted[:200])[1:-1]}`, which is not listed")
        self._stack.append(Name(dotted))

    def _reduce(self, _: Any) -> None:
        # Only a listed name can be called, never a value that the pickle built.
        arguments, function = self._pop(), self._pop()
        made_by = self._names.get(function.dotted) if isinstance(function, Name) else None
        if made_by is None or not isinstance(arguments, tuple):
            refuse(f"it calls {_describe(function)} before byte {self._source.tell()}")
        self._stack.append(made_by(*arguments))

    def _build(self, _: Any) -> None:
        state = self._pop()
        target = self._pop()
        if isinstance(target, Buildable):
            target.build(state)
        elif not isinstance(target, dict) or not isinstance(state, dict | None):
            refuse(f"it sets attributes of {_describe(target)} before byte {self._source.tell()}")
        self._stack.append(target)

    def _persistent_id(self, _: Any) -> None:
        if self._persistent is None:
            refuse(f"it has a persistent id before byte {self._source.tell()}, which is not allowed here")
        self._stack.append(self._persistent(self._pop()))


_METHODS: dict[str, Callable[[Unpickler, Any], None]] = {
    "PROTO": Unpickler._nothing,
    "FRAME": Unpickler._nothing,
    "MARK": Unpickler._mark,
    "POP": Unpickler._pop_any,
    "TUPLE": Unpickler._tuple,
    "TUPLE1": lambda reader, _: reader._short_tuple(1),
    "TUPLE2": lambda reader, _: reader._short_tuple(2),
    "TUPLE3": lambda reader, _: reader._short_tuple(3),
    "APPEND": Unpickler._append,
    "APPENDS": Unpickler._appends,
    "SETITEM": Unpickler._set_item,
    "SETITEMS": Unpickler._set_items,
    "ADDITEMS": Unpickler._add_items,
    "FROZENSET": Unpickler._frozen_set,
    "MEMOIZE": Unpickler._memoise,
    "BINPUT": Unpickler._put,
    "LONG_BINPUT": Unpickler._put,
    "BINGET": Unpickler._get,
    "LONG_BINGET": Unpickler._get,
    "GLOBAL": Unpickler._global,
    "STACK_GLOBAL": Unpickler._stack_global,
    "REDUCE": Unpickler._reduce,
    "NEWOBJ": Unpickler._reduce,  # a call of `cls.__new__`, which here is the same function of ours
    "BUILD": Unpickler._build,
    "BINPERSID": Unpickler._persistent_id,
}


def _scalars(values: list[Any]) -> list[Any]:
    """Check keys and members of sets: none of them can be nested, so that hashing always terminates."""
    for value in values:
        if not isinstance(value, _SCALARS):
            refuse(f"it uses a {type(value).__name__} as a key")
    return values


def _describe(value: Any) -> str:
    return f"`{value.dotted}`" if isinstance(value, Name) else f"a {type(value).__name__}"


def _require_shallow(value: Any) -> None:
    # Level by level instead of a recursion, which a deep value would overflow, and each container once, so that a cycle
    # or a shared one ends.
    seen: set[int] = set()
    level = [value]
    for _ in range(MAX_DEPTH):
        if not level:
            return
        parts = {id(part): part for whole in level for part in _parts(whole) if id(part) not in seen}
        seen |= parts.keys()
        level = list(parts.values())
    refuse(f"it is nested deeper than {MAX_DEPTH}")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Inert):
        value = value.state
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [part for part in value if isinstance(part, dict | list | tuple | Inert)]
