import keras
import numpy as np
import pytest

from regan.classifier.model import (
    Configuration,
    PixelScaling,
    build_backbone,
    build_network,
    container_names,
    feature_model,
    freeze_like_reference,
    from_pixels,
    network_weights,
    set_network_weights,
)
from regan.common.errors import CorruptFileError, SettingError

SMALL = Configuration("small", 32, 1)
MOBILE = Configuration("MobileNet", 32, 1)


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def test_inception_resnet_v2_has_the_golden_counts_of_the_reference():
    # REFERENCE.md, verified in Keras 3.15.
    network = build_network(Configuration("InceptionResNetV2", 256, 1, scaling="unit"))
    freeze_like_reference(network)
    assert len(network.layers) == 783
    assert network.layers[775].name == "block8_10_conv"
    assert network.layers[779].output.shape == (None, 6, 6, 1536)
    assert count(network.trainable_variables) == 5_735_010
    assert count(network.non_trainable_variables) == 50_177_664
    assert count(network.layers[-2].weights) == 1_573_888
    assert count(network.layers[-1].weights) == 2_050


def test_the_reference_freezes_convolutions_and_no_batch_normalisation():
    network = build_network(MOBILE)
    freeze_like_reference(network)
    trainable = {type(layer).__name__ for layer in network.layers if layer.trainable and layer.weights}
    assert trainable == {"BatchNormalization", "Conv2D", "Dense"}
    assert [layer.name for layer in network.layers if layer.trainable and isinstance(layer, keras.layers.Conv2D)] == [
        "conv_pw_13"
    ]


def test_paths_do_not_depend_on_what_the_process_built_before():
    first = network_weights(build_network(Configuration("Xception", 96, 1)))
    second = network_weights(build_network(Configuration("Xception", 96, 1)))
    assert list(first) == list(second)
    assert "conv2d_0/kernel" in first


@pytest.mark.parametrize("configuration", [SMALL, MOBILE])
def test_weights_that_are_put_back_give_the_same_features(configuration):
    def features(network):
        return feature_model(from_pixels(configuration, network)).predict_on_batch(images)

    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1), dtype=np.uint8)
    one, other = build_network(configuration), build_network(configuration)
    before = features(other)
    set_network_weights(other, network_weights(one))
    assert not np.array_equal(before, features(one))
    assert np.array_equal(features(other), features(one))


def test_weights_of_another_network_are_refused():
    weights = network_weights(build_network(SMALL))
    del weights["features/bias"]
    with pytest.raises(CorruptFileError, match=r"1 entries differ, first \[\('features/bias', \(64,\)\)\]"):
        set_network_weights(build_network(SMALL), weights)


@pytest.mark.parametrize("backbone", ["MobileNet", "ResNet50", "DenseNet121", "EfficientNetV2B0"])
def test_a_backbone_sees_what_its_own_preprocessing_gives(backbone):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    module = {
        "MobileNet": keras.applications.mobilenet,
        "ResNet50": keras.applications.resnet50,
        "DenseNet121": keras.applications.densenet,
        "EfficientNetV2B0": keras.applications.efficientnet_v2,
    }[backbone]
    expected = module.preprocess_input(images.astype(np.float32))
    seen = PixelScaling(Configuration(backbone, 32, 3))(images)
    np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=1e-5)


def test_grey_becomes_rgb_for_a_backbone_and_stays_grey_for_the_small_network():
    images = np.array([0, 255], np.uint8).reshape(1, 2, 1, 1)
    assert np.asarray(PixelScaling(MOBILE)(images)).tolist() == [[[[-1] * 3], [[1] * 3]]]
    assert np.asarray(PixelScaling(SMALL)(images)).tolist() == [[[[-1]], [[1]]]]


def test_the_reference_feeds_zero_to_one():
    images = np.array([0, 255], np.uint8).reshape(1, 2, 1, 1)
    seen = PixelScaling(Configuration("InceptionResNetV2", 96, 1, scaling="unit"))(images)
    assert np.asarray(seen).tolist() == [[[[0] * 3], [[1] * 3]]]


@pytest.mark.parametrize("size", [32, 64, 256])
def test_the_small_network_answers_with_two_probabilities_at_any_size(size):
    configuration = Configuration("small", size, 3)
    model = from_pixels(configuration, build_network(configuration))
    answer = model.predict_on_batch(np.zeros((2, size, size, 3), np.uint8))
    assert answer.shape == (2, 2)
    np.testing.assert_allclose(answer.sum(1), 1, rtol=1e-6)


def test_the_penultimate_layer_feeds_the_last_one():
    network = build_network(SMALL)
    model = from_pixels(SMALL, network)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1), dtype=np.uint8)
    features = feature_model(model).predict_on_batch(images)
    np.testing.assert_allclose(network.layers[-1](features), model.predict_on_batch(images), rtol=1e-5)


def test_a_network_can_end_early():
    cut = Configuration("MobileNet", 64, 1, last_layer="conv_pw_12_relu")
    assert build_backbone(cut).layers[-1].name == "conv_pw_12_relu"
    assert build_backbone(MOBILE).layers[-1].name == "conv_pw_13_relu"


def test_container_names_are_those_of_keras_weight_files(tmp_path):
    h5py = pytest.importorskip("h5py")
    network = build_backbone(MOBILE)
    network.save_weights(tmp_path / "x.weights.h5")
    with h5py.File(tmp_path / "x.weights.h5") as file:
        assert set(file["layers"]) == set(container_names(network.layers))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("Inception", 64, 1),
            "must be `small` or one of keras.applications: .*InceptionResNetV2.*Received backbone='I",
        ),
        (("small", 64, 1, "zero"), "must be one of backbone, unit. Received scaling='zero'"),
    ],
)
def test_an_unknown_setting_is_refused(arguments, message):
    with pytest.raises(SettingError, match=message):
        Configuration(*arguments)


def test_images_too_small_for_a_backbone_are_refused():
    with pytest.raises(SettingError, match=r'InceptionResNetV2 cannot take images of 64 x 64.*`backbone="small"`'):
        build_backbone(Configuration("InceptionResNetV2", 64, 1))
