"""Hostile pickles: each is refused, and the file that it would have made is not there."""

import io
import os
import pickle
import pickletools
import re
import struct
import subprocess
import sys
import time
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regan.common.errors import UnsafeFileError
from regan.nvidia.numpy_arrays import NUMPY_NAMES
from regan.nvidia.official import read_official
from regan.nvidia.unpickling import Source, Unpickler


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class GetsState:
    """Pickles as an object made by a call and given a state afterwards."""

    def __init__(self, function, arguments, state):
        self.parts = function, arguments, state

    def __reduce__(self):
        return self.parts


def load(data, names=NUMPY_NAMES):
    return Unpickler(Source(io.BytesIO(data), len(data)), names).load()


def text(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()


def called(module, name, *arguments):
    """Instructions for `module.name(*arguments)` in protocol 4; the name may hold dots."""
    return b"\x80\x04" + text(module) + text(name) + b"\x93(" + b"".join(text(value) for value in arguments) + b"tR."


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


def hostile(marker):
    """Pickles that make the file `marker` when Python's own unpickler reads them."""
    command, program = f"touch {marker}", f"open({str(marker)!r}, 'w').write('x')"
    return {
        "os.system in text": f"cos\nsystem\n(S'{command}'\ntR.".encode(),
        "os.system in protocol 2": pickle.dumps(Calls(os.system, command), 2),
        "os.system in protocol 4": pickle.dumps(Calls(os.system, command), 4),
        "eval": pickle.dumps(Calls(eval, program), 4),
        "exec": pickle.dumps(Calls(exec, program), 4),
        "subprocess": pickle.dumps(Calls(subprocess.check_call, ["touch", str(marker)]), 4),
        "dotted name": called("os", "path.os.system", command),
        "dotted name of a listed module": called("numpy", "dtype.__class__", command),
        "getattr chain": called("builtins", "getattr", "os", "system")[:-1] + text(command) + b"\x85R.",
        "instance of a class": b"(" + text(command) + b"ios\nsystem\n.",
        "object of a class": b"(cos\nsystem\n" + text(command) + b"o.",
        "new object": b"\x80\x02csubprocess\nPopen\n" + text(command) + b"\x85\x81.",
        "new object with keywords": b"\x80\x04csubprocess\nPopen\n" + text(command) + b"\x85}\x92.",
        "in a listed call": pickle.dumps(Calls(set, [Calls(os.system, command)]), 4),
        "in a state": pickle.dumps(GetsState(OrderedDict, (), {"a": Calls(os.system, command)}), 4),
        "extension": b"\x80\x02\x82\x01.",
        "persistent id": b"\x80\x02" + text("os.system") + b"Q.",
    }


NAMES = list(hostile("x"))


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_that_would_run_something_is_refused(name, marker, write):
    data = hostile(marker)[name]
    with pytest.raises(
        UnsafeFileError,
        match=r"pickle was refused: .*only arrays and listed names are read.*Nothing in the file was executed",
    ):
        load(data)
    with pytest.raises(UnsafeFileError):
        read_official(write(data))


def test_those_pickles_are_dangerous_to_others(tmp_path):
    # The proof that the files above are real: Python's own unpickler runs them.
    for name in ("os.system in text", "os.system in protocol 4", "eval", "dotted name", "instance of a class"):
        marker = tmp_path / name.replace(" ", "-")
        data = hostile(marker)[name]
        subprocess.run([sys.executable, "-c", "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"], input=data)
        assert marker.exists(), name


def test_the_message_names_what_the_file_asked_for(write):
    with pytest.raises(UnsafeFileError, match=r"it names `posix\.system`"):
        read_official(write(pickle.dumps(Calls(os.system, "true"))))
    with pytest.raises(UnsafeFileError, match=r"it names `a\\nb\\u20ac\.c`"):
        load(b"\x80\x04" + b"\x8c\x06a\nb\xe2\x82\xac" + text("c") + b"\x93.")


def objects():
    return np.array([{}, os.system], dtype=object)


BROKEN = {
    "numpy objects": (pickle.dumps(objects(), 4), "an array has the dtype 'O8', which is not a plain number"),
    "a numpy type with fields": (
        pickle.dumps(np.zeros(2, [("a", "f4")]), 4),
        "an array has the dtype 'V4', which is not a plain number",
    ),
    "a state of a name": (
        b"\x80\x02cnumpy\nndarray\n}" + text("__reduce__") + b"K\x01sb.",
        "it sets attributes of `numpy.ndarray` before byte 34",
    ),
    "a state of a list": (b"\x80\x02]}b.", "it sets attributes of a list before byte 5"),
    "a call of a name that is no function": (
        b"\x80\x02cnumpy\nndarray\n)R.",
        "it calls `numpy.ndarray` before byte 19",
    ),
    "a call of a text": (b"\x80\x02" + text("os.system") + b")R.", "it calls a str before byte 15"),
    "a tuple as a key": (b"\x80\x02})K\x01s.", "it uses a tuple as a key"),
    "a list in a set": (b"\x80\x04\x8f(]\x90.", "it uses a list as a key"),
    "more marks than any nesting": (b"\x80\x02" + b"(" * 100_000 + b".", "nested deeper than 200"),
    "deep lists": (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "nested deeper than 200"),
    "deep tuples": (b"\x80\x02)" + b"\x85" * 100_000 + b".", "it is nested deeper than 200"),
    "deep dictionaries": (
        b"\x80\x04}\x94K\x01}" + b"\x94K\x01}" * 300 + b"s" * 301 + b".",
        "it is nested deeper than 200",
    ),
    "more instructions than any release": (b"\x80\x02" + b"N0" * 1_000_001 + b"N.", "more than 2000000 opcodes"),
    "no value": (b"\x80\x02.", "it does not end with exactly one value"),
    "two values": (b"\x80\x02]].", "it does not end with exactly one value"),
    "an end too soon": (b"\x80\x02]", "it declares 1 bytes at byte 3, beyond its end"),
    "nothing": (b"", "it declares 1 bytes at byte 0, beyond its end"),
    "a name without an end": (b"\x80\x02c" + b"a" * 5000, "a name before byte 1003 has no end"),
    "ten gigabytes of bytes": (
        b"\x80\x04\x8e" + struct.pack("<Q", 10**10) + b"abc.",
        "it declares 10000000000 bytes at byte 11, beyond its end",
    ),
    "ten gigabytes of text": (
        b"\x80\x04\x8d" + struct.pack("<Q", 10**10) + b"abc.",
        "it declares 10000000000 bytes at byte 11, beyond its end",
    ),
    "a number of two gigabytes": (
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01.",
        "it declares 2147483647 bytes at byte 7, beyond its end",
    ),
    "a huge shape": (
        pickle.dumps(np.zeros(4, np.float32), 4).replace(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"),
        "an array of shape (2147483647,) has 16 bytes, which is another size",
    ),
    "a recalled value that was never kept": (
        b"\x80\x02h\x07.",
        "it reads entry 7 of its memo, which was never written",
    ),
    "a pop from an empty stack": (b"\x80\x020.", "an opcode before byte 3 finds no value"),
    "an append to a tuple": (b"\x80\x02)K\x01a.", "it adds to a tuple at byte 6, where it needs a list"),
    "an append across a mark": (b"\x80\x02](K\x01a.", "an opcode before byte 7 finds no value"),
    "other bytes": (b"\x89PNG\r\n\x1a\n", "it uses the opcode PERSID at byte 6"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_pickle_is_refused_at_once(name, write):
    data, reason = BROKEN[name]
    started = time.perf_counter()
    with pytest.raises(UnsafeFileError, match="The pickle was refused: .*" + re.escape(reason)):
        load(data)
    with pytest.raises(UnsafeFileError, match=re.escape(reason)):
        read_official(write(data))
    assert time.perf_counter() - started < 10


def test_lists_of_the_same_list_are_not_unfolded():
    # Thirty lists, each of a hundred times the one before: 10^60 values if they were written out.
    data = b"\x80\x02]q\x00" + b"".join(b"](" + (b"h" + bytes([n])) * 100 + b"eq" + bytes([n + 1]) for n in range(30))
    assert len(load(data + b"0" * 30 + b".")) == 0


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_come_out_as_they_went_in(protocol):
    value = {
        "a": [1, 2.5, None, True, 10**30, "ü", ("x", 1)],
        "b": OrderedDict(c={1: 2}),
        "d": {"e", "f"},
        "g": list(range(3000)),
        "h": {n: n for n in range(3000)},
        "i": [[]] * 3,
    }
    assert load(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(4, dtype=">i4"),
        np.float16([1, 2]),
        np.array(3.0),
        np.zeros((0, 3)),
    ],
    ids=str,
)
def test_arrays_come_out_as_they_went_in(array, protocol):
    found = load(pickle.dumps(array, protocol)).values
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_a_number_of_numpy_comes_out_as_a_number():
    assert load(pickle.dumps(np.sqrt(2.0))) == np.sqrt(2.0)


def survives(data):
    """Whatever the bytes are, there is a value or our error."""
    try:
        load(data)
    except UnsafeFileError:
        return
    except Exception as error:  # says which
        raise AssertionError(f"{type(error).__name__}: {error} of {data!r}") from error


def sample():
    value = {"a": np.arange(3, dtype=np.float32), "b": [1, 2.0, ("x", None)], "c": {1, 2}, "d": np.sqrt(2)}
    return [pickle.dumps(value, protocol) for protocol in range(6)]


OPCODES = bytes(ord(opcode.code) for opcode in pickletools.opcodes)
mutations = st.tuples(
    st.integers(0, 5), st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4), st.integers(0, 4)), max_size=8)
)


def mutated(original, changes):
    data = bytearray(original)
    for place, inserted, removed in changes:
        data[place : place + removed] = inserted
    return bytes(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.lists(st.sampled_from(OPCODES), max_size=60).map(bytes))
def test_random_bytes_are_read_or_refused(data):
    survives(data)


@settings(max_examples=300, deadline=None)
@given(mutations)
def test_changed_pickles_are_read_or_refused(change):
    survives(mutated(sample()[change[0]], change[1]))


@pytest.mark.slow
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(OPCODES) | st.integers(0, 255), max_size=80).map(bytes), mutations)
def test_many_random_bytes_and_changed_pickles_are_read_or_refused(data, change):
    survives(data)
    survives(mutated(sample()[change[0]], change[1]))
