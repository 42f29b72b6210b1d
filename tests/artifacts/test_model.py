import json

import numpy as np
import pytest

from regan.artifacts.model import read_model, read_training_index, read_weights, weights_hash, write_model
from regan.common.errors import CorruptFileError, NoFilesError, WrongArtifactError


@pytest.fixture
def model(tmp_path):
    weights = {"g/w": np.arange(6, dtype=np.float32).reshape(2, 3), "g/b": np.float32(0.5)}
    write_model(
        tmp_path, kind="generator", weights=weights, metadata={"kimg": 1.5}, training_index=[("b", "2"), ("a", "1")]
    )
    return tmp_path


def test_a_model_comes_back_as_it_was_written(model):
    assert read_model(model, "generator")["kimg"] == 1.5
    assert np.array_equal(read_weights(model)["g/w"], np.arange(6, dtype=np.float32).reshape(2, 3))
    assert read_weights(model)["g/b"].shape == ()
    assert read_training_index(model) == {("a", "1"), ("b", "2")}


def test_the_same_model_gives_the_same_bytes(model, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_model(
        other,
        kind="generator",
        weights=read_weights(model),
        metadata={"kimg": 1.5},
        training_index=read_training_index(model),
    )
    assert weights_hash(other) == weights_hash(model)
    assert all(p.read_bytes() == (other / p.name).read_bytes() for p in model.iterdir())


def test_whoever_may_read_one_file_of_a_model_may_read_all(model):
    assert {path.stat().st_mode & 0o777 for path in model.iterdir()} == {(model / "model.json").stat().st_mode & 0o777}


def test_a_folder_without_model_json_is_no_model(model):
    (model / "model.json").unlink()
    with pytest.raises(NoFilesError, match=r"contains no `model\.json`: it is not a generator, or it is incomplete"):
        read_model(model, "generator")


def test_a_model_of_another_kind_is_refused(model):
    with pytest.raises(WrongArtifactError, match=r"is not a run or classifier.*Received kind='generator'"):
        read_model(model, ("run", "classifier"))


def test_torn_weights_are_refused(model):
    data = (model / "weights.safetensors").read_bytes()
    (model / "weights.safetensors").write_bytes(data[:-3])
    with pytest.raises(CorruptFileError, match=r"`weights\.safetensors` in .* is corrupt"):
        read_weights(model)


def test_versions_are_kept(model):
    assert {"regan", "numpy"} <= set(json.loads((model / "model.json").read_text())["versions"])
