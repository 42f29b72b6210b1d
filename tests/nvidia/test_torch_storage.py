import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regan.common.errors import UnsafeFileError
from regan.nvidia.torch_storage import Storage, StorageReader, tensor
from regan.nvidia.unpickling import Source, Unpickler

VALUES = np.arange(12, dtype=np.float32)


def read(data):
    return StorageReader(10**6).read(data)


@pytest.fixture
def streams(pickles):
    """Both forms of a storage, as functions of the numbers."""

    def made(values=VALUES, **changes):
        with pickles.official_modules() as functions:
            type_ = functions[pickles.STORAGES[values.dtype.str[1:]]]
            return pickles.legacy_stream(values, type_, **changes), pickles.zip_stream(values, type_)

    return made


@pytest.mark.parametrize("form", [0, 1], ids=["legacy", "zip"])
@pytest.mark.parametrize("code", ["<f4", "<f2", "<f8", "<i8", "<u1"])
def test_numbers_come_out_as_they_went_in(form, code, streams):
    values = np.arange(12).astype(code)
    found = read(streams(values)[form]).values()
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("form", [0, 1], ids=["legacy", "zip"])
def test_brain_floats_come_out_as_float32(form, pickles):
    upper_halves = (VALUES.view("<u4") >> 16).astype("<u2")
    with pickles.official_modules() as functions:
        write = (pickles.legacy_stream, pickles.zip_stream)[form]
        stream = write(upper_halves, functions["BFloat16Storage"])
    np.testing.assert_array_equal(read(stream).values(), VALUES)  # 0 to 11 need no lower half


def test_a_tensor_is_a_view_of_its_storage(streams):
    storage = read(streams()[0])
    rows = tensor(storage, 2, (2, 3), (5, 1))
    np.testing.assert_array_equal(rows, [[2, 3, 4], [7, 8, 9]])
    turned = tensor(storage, 0, (3, 4), (1, 3), False, {})
    np.testing.assert_array_equal(turned, VALUES.reshape(4, 3).T)
    assert tensor(storage, 11, (), ()) == 11
    assert tensor(storage, 0, (0, 4), (4, 1)).shape == (0, 4)
    assert np.shares_memory(rows, turned)


@pytest.mark.parametrize(
    ("offset", "shape", "steps"),
    [(0, (13,), (1,)), (10, (3,), (1,)), (0, (2, 3), (10, 1)), (0, (10**6,), (0,)), (12, (), ()), (0, (2**39,), (1,))],
)
def test_a_tensor_beyond_its_storage_is_refused(offset, shape, steps):
    with pytest.raises(UnsafeFileError, match="exceeds the 12 elements"):
        tensor(Storage("<f4", 12, VALUES.tobytes()), offset, shape, steps)


@pytest.mark.parametrize(
    ("offset", "shape", "steps"),
    [(-1, (1,), (1,)), (0, (-1,), (1,)), (0, (2,), (-1,)), (0, [2], (1,)), (0, (2.0,), (1,)), ("0", (2,), (1,))],
)
def test_a_tensor_of_other_than_whole_numbers_is_refused(offset, shape, steps):
    with pytest.raises(UnsafeFileError, match="not small integers"):
        tensor(Storage("<f4", 12, VALUES.tobytes()), offset, shape, steps)


def test_a_tensor_without_a_storage_is_refused():
    with pytest.raises(UnsafeFileError, match="has no storage"):
        tensor(b"1234", 0, (1,), (1,))


def test_ten_gigabytes_that_are_not_there_are_refused(streams):
    with pytest.raises(UnsafeFileError, match="declares 10000000000 bytes"):
        read(streams(declared=2_500_000_000)[0])


def test_a_stream_cut_anywhere_is_refused(streams):
    for stream in streams():
        for length in range(0, len(stream), 7):
            with pytest.raises(UnsafeFileError):
                read(stream[:length])


@pytest.mark.parametrize("values", [np.zeros(10**6, np.float32), np.random.default_rng(0).random(1000, np.float32)])
def test_a_compressed_zip_is_refused_since_it_could_grow_without_end(values, pickles):
    with pickles.official_modules() as functions:
        stream = pickles.zip_stream(values, functions["FloatStorage"], compression=zipfile.ZIP_DEFLATED)
    assert len(stream) < 10_000
    with pytest.raises(UnsafeFileError, match="compressed"):
        read(stream)


def test_a_zip_of_something_else_is_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/other", b"")
    with pytest.raises(UnsafeFileError, match=r"not one of PyTorch's"):
        read(file.getvalue())


def test_storages_are_not_read_again_and_again(streams):
    stream = streams()[0]
    reader = StorageReader(len(stream))
    reader.read(stream)
    with pytest.raises(UnsafeFileError, match="more bytes than the file has"):
        reader.read(stream)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.replace(b"little_endian\x94\x88", b"").replace(b"\x88", b"\x89"), "byte order"),
        (lambda s: s.replace(b"FloatStorage", b"FlootStorage"), "not listed"),
        (lambda s: s.replace(b"storage", b"staroge"), "unknown format"),
        (lambda s: s.replace(struct.pack("<q", 12), struct.pack("<q", 11)), "declares both 12 and 11 elements"),
        (lambda s: b"\x80\x02K\x07." + s, "does not begin with the header"),
        (lambda s: s.replace(b"94021", b"94022", 1), "do not match"),
        (lambda s: pickle.dumps(1), "does not begin with the header"),
    ],
)
def test_a_changed_stream_is_refused(change, message, streams):
    with pytest.raises(UnsafeFileError, match=message):
        read(change(streams()[0]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1), st.lists(st.tuples(st.integers(0, 900), st.binary(max_size=3)), max_size=5))
def test_changed_streams_are_read_or_refused(streams, form, changes):
    data = bytearray(streams()[form])
    for place, inserted in changes:
        data[place : place + len(inserted)] = inserted
    # As a part of a file the stream is read by a call, which turns what the zip library raises into our error.
    outer = pickle.dumps(bytes(data), 4)[:-1]
    call = b"\x80\x04\x8c\x01a\x8c\x01b\x93" + outer[2:] + b"\x85R."
    try:
        Unpickler(Source(io.BytesIO(call), len(call)), {"a.b": read}).load()
    except UnsafeFileError:
        return
