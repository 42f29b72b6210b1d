import pickle

import numpy as np
import pytest

from regan.common.errors import UnsafeFileError
from regan.nvidia.official import read_official


@pytest.mark.parametrize("form", [{}, {"zipped": True}, {"protocol": 3}, {"protocol": 5}], ids=str)
def test_every_array_of_a_pytorch_file_comes_out_exactly(form, rgb, pickles, write, tmp_path):
    marker = tmp_path / "executed"
    found = read_official(write(pickles.torch_pickle(rgb, marker=marker, **form)))
    expected = pickles.parts(rgb, "G")
    filters = {name for name in found.arrays if name.endswith("resample_filter")}
    assert set(found.arrays) - filters == set(expected)
    assert len(filters) == 7
    for name, value in expected.items():
        np.testing.assert_array_equal(found.arrays[name], value)
    assert found.release == "PyTorch"
    assert found.settings["synthesis.b8.architecture"] == "skip"
    assert found.settings["mapping.fc0.bias_gain"] == 0.01
    assert not marker.exists()


def test_half_precision_is_read_as_it_was_rounded(grey, pickles, write):
    found = read_official(write(pickles.torch_pickle(grey, half=True)))
    for name, value in pickles.parts(grey, "G").items():
        np.testing.assert_array_equal(found.arrays[name], value.astype(np.float16))


def test_each_network_of_the_file_can_be_asked_for(rgb, pickles, write):
    path = write(pickles.torch_pickle(rgb))
    name = "synthesis.b4.const"
    np.testing.assert_array_equal(read_official(path, "G").arrays[name], rgb[f"G.{name}"] + 1)
    assert "b32.fromrgb.weight" in read_official(path, "D").arrays
    with pytest.raises(ValueError, match="`network` must be one of G_ema, G, D"):
        read_official(path, "H")


def test_tied_tensors_are_views_of_one_storage(pickles, write):
    with pickles.official_modules() as functions:
        writer = pickles.TorchWriter(functions)
        tensor = writer.tensor(np.arange(6.0).reshape(2, 3))
        both = pickles.Called(functions["tensor"], tensor.arguments[0], 4, (2,), (2,), False, {})
        module = writer.module("Linear")
        module.arguments[0]["state"]["_buffers"] = {"whole": tensor, "part": both}
        data = pickle.dumps({"G_ema": module}, 4)
    found = read_official(write(data)).arrays
    np.testing.assert_array_equal(found["whole"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["part"], [3, 4])  # stored by columns: 7 7 7 0 3 1 4 2 5
    assert np.shares_memory(found["whole"], found["part"])


@pytest.mark.parametrize("content", [{}, {"G_ema": 1}, (1, 2), [1], 3, {"G_ema": {"state": {}}}], ids=str)
def test_other_pickles_are_refused(content, write):
    with pytest.raises(UnsafeFileError, match="contains no network G_ema"):
        read_official(write(pickle.dumps(content)))


def test_a_module_within_itself_is_refused(pickles, write):
    with pickles.official_modules() as functions:
        writer = pickles.TorchWriter(functions)
        inner = writer.module("Linear")
        data = pickle.dumps({"G_ema": writer.module("Outer", modules={"a": inner, "b": inner})}, 4)
    with pytest.raises(UnsafeFileError, match="occurs twice"):
        read_official(write(data))


@pytest.mark.parametrize("part", ["_modules", "_parameters", "_buffers"])
def test_parts_that_are_no_dictionary_are_refused(part, pickles, write):
    with pickles.official_modules() as functions:
        module = pickles.TorchWriter(functions).module("Linear")
        module.arguments[0]["state"][part] = [1]
        data = pickle.dumps({"G_ema": module}, 4)
    with pytest.raises(UnsafeFileError, match="not a dictionary by name"):
        read_official(write(data))


def test_a_truncated_file_is_refused_wherever_it_ends(grey, pickles, write):
    data = pickles.torch_pickle(grey)
    for length in range(0, len(data), len(data) // 20):
        with pytest.raises(UnsafeFileError):
            read_official(write(data[:length]))


def test_arrays_of_a_tensorflow_file_come_out_by_their_names(rgb, pickles, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = read_official(write(pickles.tensorflow_pickle(rgb, architecture="skip")))
    assert found.release == "TensorFlow 1"
    assert found.settings == {"architecture": "skip"}
    np.testing.assert_array_equal(found.arrays["dlatent_avg"], rgb["G.mapping.w_avg"])
    np.testing.assert_array_equal(found.arrays["Dense0/weight"], rgb["G.mapping.fc0.weight"].T)
    assert found.arrays["4x4/Conv/noise_strength"] == rgb["G.synthesis.b4.conv1.noise_strength"]
    assert not (tmp_path / "marker").exists()


def test_a_tensorflow_file_of_something_else_is_refused(write):
    with pytest.raises(UnsafeFileError, match="not a network of the TensorFlow 1 releases"):
        read_official(write(pickle.dumps((1, 2, 3))))
