"""`import_nvidia` from a file to images and to training."""

import json
import logging
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import regan
from regan.artifacts.history import last_step
from regan.artifacts.image_set import ImageSet, file_hash
from regan.artifacts.model import read_model, read_training_index, read_weights
from regan.cli import main
from regan.common.errors import CorruptFileError, SettingError
from regan.gan.configuration import PRESETS
from regan.gan.generator_folder import DISCRIMINATOR, read_discriminator
from regan.gan.sampling import Generator
from regan.nvidia import LICENCE


@pytest.fixture
def file(rgb, pickles, write):
    return write(pickles.torch_pickle(rgb))


@pytest.fixture
def conditional(grey, pickles, write):
    return write(pickles.torch_pickle(grey), "conditional.pkl")


def test_the_folder_is_that_of_a_snapshot_with_its_terms(file, rgb, official, tmp_path):
    made = regan.import_nvidia(file, tmp_path / "generator", classes="benign,malignant", label="malignant")
    assert (made.size, made.channels, made.labels, made.release) == (32, 3, ("malignant",), "PyTorch")
    model = read_model(made.path, "generator")
    assert (model["kimg"], model["classes"], model["labels"]) == (0.0, ["benign", "malignant"], ["malignant"])
    assert model["licence"] == LICENCE
    assert "non-commercial" in model["licence"]
    assert model["origin"] == {"sha256": file_hash(file), "release": "PyTorch", "network": "G_ema"}
    assert read_training_index(made.path) == set()
    found, expected = read_weights(made.path), official.official_weights(rgb, "G")
    assert set(found) == set(expected)
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value)
    discriminator = read_discriminator(made.path, model)
    expected = official.official_weights(rgb, "D")
    assert set(discriminator) == set(expected)
    for path, value in expected.items():
        np.testing.assert_array_equal(discriminator[path], value)
    assert model["discriminator"] == file_hash(made.path / DISCRIMINATOR)
    step = last_step(made.path)
    assert (step.verb, step.settings["licence"]) == ("import_nvidia", LICENCE)


def changed(golden, **arrays):
    """The arrays without those that are None, and with the others in place of theirs."""
    named = {name.replace("__", "."): value for name, value in arrays.items()}
    return {name: named.get(name, value) for name, value in golden.items() if named.get(name, value) is not None}


def test_a_file_without_a_discriminator_gives_a_generator_alone(rgb, pickles, write, tmp_path):
    alone = {name: value for name, value in rgb.items() if not name.startswith("D.")}
    data = pickles.torch_pickle(alone, discriminator=False)
    folder = regan.import_nvidia(write(data), tmp_path / "generator").path
    assert not (folder / DISCRIMINATOR).exists()
    assert read_discriminator(folder, read_model(folder, "generator")) is None


@pytest.mark.parametrize("arrays", [{"D__b16__skip__weight": None}, {"D__b4__out__bias": np.zeros(2)}], ids=list)
def test_a_discriminator_unlike_ours_is_left_out_and_that_is_said(arrays, rgb, pickles, write, tmp_path, caplog):
    folder = regan.import_nvidia(write(pickles.torch_pickle(changed(rgb, **arrays))), tmp_path / "generator").path
    assert not (folder / DISCRIMINATOR).exists()
    model = read_model(folder, "generator")
    assert "discriminator" not in model
    assert "The discriminator in the file is not imported; training starts with a new one." in model["notes"][0]
    assert model["notes"][0] in caplog.text


def test_a_discriminator_whose_label_layers_learn_otherwise_is_left_out(grey, pickles, write, tmp_path):
    # The writer lets every `fc` learn at 0.01; here the discriminator's say another rate.
    data = pickles.torch_pickle(grey, discriminator={"bias_gain": 0.5})
    folder = regan.import_nvidia(write(data), tmp_path / "generator").path
    assert "the relative learning rate 0.5 instead of 0.01" in read_model(folder, "generator")["notes"][0]


def test_a_discriminator_of_broken_numbers_is_refused(rgb, pickles, write, tmp_path):
    broken = write(pickles.torch_pickle(changed(rgb, D__b4__out__bias=np.full(1, np.nan))))
    with pytest.raises(CorruptFileError, match="discriminator/score/bias and 0 more"):
        regan.import_nvidia(broken, tmp_path / "generator")
    assert not (tmp_path / "generator").exists()


def test_images_are_those_of_the_official_network(file, rgb, tmp_path):
    generator = Generator.load(regan.import_nvidia(file, tmp_path / "generator").path)
    assert generator.labels == ("class_0",)
    network, weights = generator._network, generator._weights
    styles = np.asarray(network.styles(weights, rgb["z"]))[:, None].repeat(generator.config.num_styles, axis=1)
    mean = read_weights(tmp_path / "generator")["style_mean"]
    found = np.asarray(network.images(weights, mean + rgb["psi"] * (styles - mean))).transpose(0, 3, 1, 2)
    assert np.abs(found - rgb["img"]).max() < 1e-4 * np.abs(rgb["img"]).max()


def test_images_can_be_made_of_both_classes_of_a_conditional_network(conditional, tmp_path):
    made = regan.import_nvidia(conditional, tmp_path / "generator", classes="benign, malignant")
    assert made.labels == ("benign", "malignant")
    regan.generate_images(made.path, tmp_path / "images", seeds="1-2")
    assert ImageSet.open(tmp_path / "images").counts == {"benign": 2, "malignant": 2}
    assert regan.import_nvidia(conditional, tmp_path / "unnamed").labels == ("class_0", "class_1")


def test_grey_training_starts_from_a_network_of_another_number_of_channels(file, tmp_path, monkeypatch):
    from regan import backend

    tiny = PRESETS["demo"] | {"base_maps": 256, "max_maps": 32}  # of two mapping layers; the file has eight
    tiny |= {"kimg": 0.1, "snapshot_kimg": 0.1, "log_kimg": 0.1, "batch_size": 100, "path_weight": 0.0}
    monkeypatch.setitem(PRESETS, "tiny", tiny)
    monkeypatch.setattr(backend, "jit", lambda function: function)
    generator = regan.import_nvidia(file, tmp_path / "generator").path
    regan.phantom(tmp_path / "phantoms", per_class=4, size=32)
    settings = {"label": "benign", "preset": "tiny", "start_uri": str(generator)}
    with pytest.raises(ValueError, match="Train with `mapping_layers=8`"):
        regan.train_gan(tmp_path / "phantoms", tmp_path / "run", **settings)
    run = regan.train_gan(tmp_path / "phantoms", tmp_path / "run", mapping_layers=8, **settings).path
    model = read_model(run, "run")
    assert model["configuration"]["mapping_layers"] == 8
    assert model["start_discriminator"] == file_hash(generator / DISCRIMINATOR)
    assert read_model(run / "snapshots" / "kimg-000000.1", "generator")["start"] == model["start"]
    assert (model["channels"], model["licence"]) == (1, LICENCE)


def test_a_bound_of_activations_is_said(rgb, pickles, write, tmp_path, caplog):
    caplog.set_level(logging.INFO, "regan")
    path = write(pickles.torch_pickle(rgb, conv_clamp=256))
    folder = regan.import_nvidia(path, tmp_path / "generator").path
    assert "clamps activations at 256" in caplog.text
    assert "clamps activations at 256" in read_model(folder, "generator")["notes"][0]
    assert LICENCE in caplog.text


def test_a_tensorflow_file_is_imported_too(rgb, pickles, write, official, tmp_path):
    made = regan.import_nvidia(write(pickles.tensorflow_pickle(rgb)), tmp_path / "generator")
    assert made.release == "TensorFlow 1"
    for path, value in official.official_weights(rgb, "G").items():
        np.testing.assert_allclose(read_weights(made.path)[path], value, rtol=1e-6, atol=1e-6)
    discriminator = read_discriminator(made.path, read_model(made.path, "generator"))
    for path, value in official.official_weights(rgb, "D").items():
        np.testing.assert_allclose(discriminator[path], value, rtol=1e-6, atol=1e-6)


def test_the_source_that_a_file_carries_is_never_executed(rgb, pickles, write, tmp_path):
    marker = tmp_path / "executed"
    data = pickles.torch_pickle(rgb, marker=marker)
    assert str(marker).encode() in data
    regan.import_nvidia(write(data), tmp_path / "generator")
    assert not marker.exists()


def test_a_hostile_file_is_one_message_and_leaves_nothing(write, tmp_path, capsys):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    path = write(pickle.dumps({"G_ema": Hostile()}))
    assert main(["import-nvidia", str(path), str(tmp_path / "generator")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("regan import_nvidia: The pickle was refused: ")
    assert "system`, which is not listed" in error
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "D"}, "`network` must be 'G_ema' or 'G'"),
        ({"classes": "a"}, "`classes` must be two names"),
        ({"classes": "a,a"}, "`classes` must be two names"),
        ({"classes": "a,b", "label": "c"}, "`label` must be one of the classes a, b"),
    ],
)
def test_wrong_settings_are_refused_before_the_file_is_read(settings, message, tmp_path):
    with pytest.raises(SettingError, match=message):
        regan.import_nvidia(tmp_path / "nothing.pkl", tmp_path / "generator", **settings)


def test_an_output_that_holds_something_is_refused_before_the_file_is_read(tmp_path):
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator" / "mine").write_text("mine")
    with pytest.raises(FileExistsError):
        regan.import_nvidia(tmp_path / "nothing.pkl", tmp_path / "generator")


def test_importing_needs_no_framework(file, tmp_path):
    code = (
        "import json, sys, regan; regan.import_nvidia(*sys.argv[1:]); "
        "print(json.dumps([n for n in ('torch', 'tensorflow', 'jax', 'keras', 'pickle5') if n in sys.modules]))"
    )
    command = [sys.executable, "-c", code, str(file), str(tmp_path / "generator")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == []
