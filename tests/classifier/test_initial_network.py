from dataclasses import asdict

import keras
import numpy as np
import pytest

from regan.artifacts.model import write_model
from regan.classifier.initial_network import (
    Origin,
    load_backbone,
    network_from_classifier,
    new_network,
    require_weights,
)
from regan.classifier.model import Configuration, build_backbone, build_network, network_weights
from regan.classifier.recipes import find_recipe
from regan.common.errors import CorruptFileError, MissingWeightsError, SettingError, WrongArtifactError

CUT_FILE = "mobilenet_imagenet/mobilenet_v1_1.0_224_trunc12.weights.h5"
MOBILE = Configuration("MobileNet", 32, 1)


def test_the_imagenet_file_that_ends_after_block_12_cuts_the_network_there(test_data):
    h5py = pytest.importorskip("h5py")
    configuration, backbone, origin = load_backbone(Configuration("MobileNet", 128, 1), str(test_data / CUT_FILE))
    assert configuration.last_layer == "conv_pw_12_relu"
    assert backbone.output_shape == (None, 4, 4, 1024)
    assert origin.sha256 == "797079166eda37baa38ce0782a4527b4d2c95ddcd4fac8f7983f602457e040ad"
    with h5py.File(test_data / CUT_FILE) as file:
        for layer, stored in (("conv1", "conv2d"), ("conv_pw_12", "conv2d_12"), ("conv_dw_12", "depthwise_conv2d_11")):
            (kernel,) = backbone.get_layer(layer).get_weights()
            assert np.array_equal(kernel, file[f"layers/{stored}/vars/0"])


def test_a_cut_network_is_built_again_from_its_configuration(test_data):
    configuration, backbone, _ = load_backbone(Configuration("MobileNet", 128, 1), str(test_data / CUT_FILE))
    loaded, again = build_network(configuration, backbone), build_network(configuration)
    assert list(network_weights(loaded)) == list(network_weights(again))


def test_a_file_of_the_whole_network_cuts_nothing(tmp_path):
    saved = build_backbone(MOBILE)
    saved.save_weights(tmp_path / "whole.weights.h5")
    configuration, backbone, _ = load_backbone(MOBILE, str(tmp_path / "whole.weights.h5"))
    assert configuration == MOBILE
    assert all(np.array_equal(a, b) for a, b in zip(saved.get_weights(), backbone.get_weights()))


@pytest.mark.parametrize("backbone", ["VGG16", "MobileNetV2", "ResNet50"])
def test_a_file_of_another_network_is_refused(tmp_path, backbone):
    build_backbone(MOBILE).save_weights(tmp_path / "mobile.weights.h5")
    with pytest.raises(WrongArtifactError, match=f"does not contain the layers of {backbone.lower()}"):
        load_backbone(Configuration(backbone, 32, 1), str(tmp_path / "mobile.weights.h5"))


def test_arrays_of_another_shape_are_refused(tmp_path):
    keras.applications.MobileNet(include_top=False, weights=None, alpha=0.5, input_shape=(32, 32, 3)).save_weights(
        tmp_path / "half.weights.h5"
    )
    with pytest.raises(WrongArtifactError, match=r"do not have the shapes of mobilenet_1.00_32"):
        load_backbone(MOBILE, str(tmp_path / "half.weights.h5"))


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "x.weights.h5"
    path.write_bytes(b"no weights")
    with pytest.raises(CorruptFileError, match="that Keras 3 saved"):
        load_backbone(MOBILE, str(path))


def test_settings_of_weights_are_checked_before_work():
    with pytest.raises(SettingError, match="`imagenet`, `none` or a file"):
        require_weights("radimagenet", "MobileNet")
    with pytest.raises(SettingError, match=r"no pretrained weights. Received weights='imagenet'. Pass `weights="):
        require_weights("imagenet", "small")
    with pytest.raises(MissingWeightsError, match="does not exist"):
        require_weights("nowhere.weights.h5", "MobileNet")


def test_imported_weights_learn_slower_than_random_ones(make_set, tmp_path):
    build_backbone(MOBILE).save_weights(tmp_path / "x.weights.h5")
    images, recipe = make_set(b=1, m=1), find_recipe("standard")
    rates = [
        new_network(images, recipe, backbone="MobileNet", weights=weights, seed=0).learning_rate
        for weights in ("none", str(tmp_path / "x.weights.h5"))
    ]
    assert rates == [1e-3, 1e-4]


def test_the_seed_decides_the_random_weights(make_set):
    images, recipe = make_set(b=1, m=1), find_recipe("standard")
    weights = [
        network_weights(new_network(images, recipe, backbone="small", weights="none", seed=seed).network)
        for seed in (0, 0, 1)
    ]
    assert all(np.array_equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert not np.array_equal(weights[0]["conv2d_0/kernel"], weights[2]["conv2d_0/kernel"])


@pytest.fixture
def trained(tmp_path):
    configuration = Configuration("small", 32, 1)
    write_model(
        tmp_path,
        kind="classifier",
        weights=network_weights(build_network(configuration)),
        metadata={
            "configuration": asdict(configuration),
            "classes": ["b", "m"],
            "threshold": 0.5,
            "first_weights": asdict(Origin("none")),
        },
    )
    return tmp_path


def test_training_goes_on_from_a_classifier(trained, make_set):
    start = network_from_classifier(trained, make_set(b=1, m=1), find_recipe("standard"), backbone="small", seed=0)
    assert start.learning_rate == find_recipe("standard").tuning_rate
    assert start.origin["source"] == "none"


@pytest.mark.parametrize(
    ("recipe", "backbone", "kind", "message"),
    [
        ("standard", "MobileNet", {}, r"another backbone, 'small'\. Received backbone='MobileNet'.*`backbone='small'`"),
        ("reference", "small", {}, "another scaling, 'backbone'"),
        ("standard", "small", {"size": 64}, "Received 64 x 64"),
        ("standard", "small", {"classes": ("m", "b")}, "classes b, m. Received .*classes m, b"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(trained, make_set, recipe, backbone, kind, message):
    with pytest.raises(WrongArtifactError, match=message):
        network_from_classifier(trained, make_set(b=1, m=1, **kind), find_recipe(recipe), backbone=backbone, seed=0)
