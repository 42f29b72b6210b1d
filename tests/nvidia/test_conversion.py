import dataclasses

import numpy as np
import pytest

from regan.common.errors import CorruptFileError, WrongArtifactError
from regan.gan.configuration import configure
from regan.gan.generator_folder import STYLE_MEAN
from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork
from regan.nvidia.conversion import (
    activation_clamp,
    discriminator_shapes,
    discriminator_weights,
    generator_config,
    generator_shapes,
    generator_weights,
    require_finite,
    require_fit,
)
from regan.nvidia.official import OfficialNetwork, read_official


def read_all(data, write):
    path = write(data)
    return read_official(path), read_official(path, "D")


@pytest.fixture
def ours(rgb, pickles):
    """The RGB generator as it is read, with other arrays or settings."""

    def made(arrays=None, settings=None):
        return OfficialNetwork("PyTorch", pickles.parts(rgb, "G") | (arrays or {}), settings or {})

    return made


@pytest.mark.parametrize("name", ["rgb", "grey"])
def test_images_scores_and_penalties_equal_those_of_the_official_networks(name, request, official, pickles, write):
    golden = request.getfixturevalue(name)
    generator, discriminator = read_all(pickles.torch_pickle(golden), write)
    config = generator_config(generator, ("a", "b") if name == "grey" else ("a",))
    expected = official.official_config(golden)
    for field in ("size", "channels", "latent_size", "style_size", "mapping_layers", "mapping_rate", "num_labels"):
        assert getattr(config, field) == getattr(expected, field)
    assert [config.maps(size) for size in config.sizes] == [32, 32, 32, 16]
    differences = official.compared(golden, config, generator_weights(generator), discriminator_weights(discriminator))
    assert set(differences) >= {"ws", "ws_psi", "img", "img_nonoise_psi1", "score", "r1_per_image", "path_lengths"}
    assert max(differences.values()) < 1e-4, differences


def test_a_tensorflow_file_gives_the_same_weights(rgb, pickles, write):
    # By description: the file is made by the rules that it is read by, turned round. No real one was at hand.
    generator, discriminator = read_all(pickles.tensorflow_pickle(rgb, resample_kernel=[1, 3, 3, 1]), write)
    through_torch = (
        OfficialNetwork("PyTorch", pickles.parts(rgb, "G")),
        OfficialNetwork("PyTorch", pickles.parts(rgb, "D")),
    )
    for found, expected in (
        (generator_weights(generator), generator_weights(through_torch[0])),
        (discriminator_weights(discriminator), discriminator_weights(through_torch[1])),
    ):
        assert set(found) == set(expected)
        for path, value in expected.items():
            np.testing.assert_allclose(found[path], value, rtol=1e-6, atol=1e-6, err_msg=path)
    assert generator_config(generator, ("a",)) == generator_config(through_torch[0], ("a",))


def test_enlarging_kernels_of_tensorflow_are_turned_by_half_a_circle():
    kernel = np.arange(9.0).reshape(3, 3, 1, 1)
    arrays = {"8x8/Conv0_up/weight": kernel, "8x8/Conv1/weight": kernel, "8x8/Conv1/mod_bias": np.zeros(1)}
    found = generator_weights(OfficialNetwork("TensorFlow 1", arrays))
    np.testing.assert_array_equal(found["synthesis/size_8_up/convolution/kernel"][..., 0, 0], kernel[::-1, ::-1, 0, 0])
    np.testing.assert_array_equal(found["synthesis/size_8_same/convolution/kernel"], kernel)
    np.testing.assert_array_equal(found["synthesis/size_8_same/convolution/affine/bias"], [1])


def test_noise_of_tensorflow_is_counted_from_coarse_to_fine():
    sizes = [4, 8, 8, 16, 16]
    arrays = {f"noise{number}": np.full((1, 1, size, size), number) for number, size in enumerate(sizes)}
    found = generator_weights(OfficialNetwork("TensorFlow 1", arrays))
    assert {path: int(value.mean()) for path, value in found.items()} == {
        "synthesis/size_4_same/noise": 0,
        "synthesis/size_8_up/noise": 1,
        "synthesis/size_8_same/noise": 2,
        "synthesis/size_16_up/noise": 3,
        "synthesis/size_16_same/noise": 4,
    }


@pytest.mark.parametrize("labels", [("a",), ("a", "b")])
@pytest.mark.parametrize("preset", ["demo", "config-e"])
def test_shapes_are_told_without_making_the_network(labels, preset):
    config = configure(preset, size=32, channels=3, labels=labels)
    network = GeneratorNetwork.build(config, np.random.default_rng(0))
    made = {path: tuple(value.shape) for path, value in {**network.weights(), **network.constants()}.items()}
    assert generator_shapes(config) == made | {STYLE_MEAN: (config.style_size,)}
    discriminator = DiscriminatorNetwork.build(config, np.random.default_rng(0))
    assert discriminator_shapes(config) == {path: tuple(value.shape) for path, value in discriminator.weights().items()}


@pytest.mark.parametrize(
    ("maps", "base", "most"),
    [({4: 512, 8: 512, 16: 512, 32: 512}, 8192, 512), ({4: 32, 8: 32, 16: 16, 32: 8}, 128, 32)],
)
def test_feature_maps_are_told_from_the_biases(maps, base, most, ours):
    changed = ours({f"synthesis.b{size}.conv1.bias": np.zeros(num) for size, num in maps.items()})
    config = generator_config(changed, ("a",))
    assert (config.base_maps, config.max_maps) == (base, most)
    assert {size: config.maps(size) for size in config.sizes} == maps


def test_the_rate_of_the_mapping_network_is_told_by_its_layers(ours):
    assert generator_config(ours(), ("a",)).mapping_rate == 0.01
    told = {"mapping.fc0.bias_gain": 0.1, "mapping.fc1.bias_gain": 0.1, "mapping.embed.bias_gain": 1}
    assert generator_config(ours(settings=told), ("a",)).mapping_rate == 0.1
    with pytest.raises(WrongArtifactError, match="different learning rates"):
        generator_config(ours(settings=told | {"mapping.fc1.bias_gain": 0.2}), ("a",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"synthesis.b8.architecture": "orig"}, "architecture is 'orig' instead of 'skip'"),
        ({"synthesis.b8.architecture": "resnet"}, "architecture is 'resnet'"),
        ({"synthesis.b8.conv0.activation": "relu"}, "activation is 'relu'"),
        ({"resample_kernel": [1, 2, 1]}, r"filter is \[1, 2, 1\]"),
    ],
)
def test_networks_that_ours_cannot_express_are_refused(settings, message, ours):
    with pytest.raises(WrongArtifactError, match=message):
        generator_config(ours(settings=settings), ("a",))


def test_another_filter_is_refused(ours):
    bilinear = np.outer([1, 2, 1], [1, 2, 1]) / 16
    with pytest.raises(WrongArtifactError, match=r"synthesis.b8.resample_filter is not the filter \[1, 3, 3, 1\]"):
        generator_config(ours({"synthesis.b8.resample_filter": bilinear}), ("a",))


@pytest.mark.parametrize("names", [("synthesis.L0_36_512.weight",), ("synthesis.b4.torgb.bias",), ()])
def test_arrays_of_another_network_are_refused(names):
    arrays = {name: np.zeros(3) for name in names}
    with pytest.raises(
        WrongArtifactError,
        match=r"not supported: an array is missing or has another shape.*StyleGAN2 with skip outputs",
    ):
        generator_config(OfficialNetwork("PyTorch", arrays), ("a",))


def test_labels_that_are_joined_before_scaling_are_refused():
    with pytest.raises(WrongArtifactError, match="concatenated with z before"):
        generator_config(OfficialNetwork("TensorFlow 1", {"LabelConcat/weight": np.zeros((2, 8))}), ("a", "b"))


def test_the_number_of_names_must_be_that_of_the_labels(ours, grey, pickles):
    with pytest.raises(WrongArtifactError, match=r"has 0 labels.*Received 2 names in `classes`: a, b"):
        generator_config(ours(), ("a", "b"))
    ten = pickles.parts(grey, "G") | {"mapping.embed.weight": np.zeros((64, 10))}
    with pytest.raises(WrongArtifactError, match="has 10 labels"):
        generator_config(OfficialNetwork("PyTorch", ten), ("a", "b"))


def test_other_shapes_names_and_broken_numbers_are_refused(ours):
    shapes = generator_shapes(generator_config(ours(), ("a",)))
    weights = generator_weights(ours())
    require_fit(weights, shapes)
    require_finite(weights)
    with pytest.raises(WrongArtifactError, match="1 arrays differ in name or shape, such as synthesis/other"):
        require_fit(weights | {"synthesis/other": np.zeros(1)}, shapes)
    with pytest.raises(WrongArtifactError, match="such as synthesis/start"):
        require_fit(weights | {"synthesis/start": np.zeros((4, 4, 31))}, shapes)
    with pytest.raises(CorruptFileError, match="NaN or infinity: style_mean and 0 more"):
        require_finite(weights | {STYLE_MEAN: np.full(64, np.nan)})


def test_a_bound_of_activations_is_told(ours):
    assert activation_clamp(ours()) == 0
    assert (
        activation_clamp(ours(settings={"synthesis.b8.conv_clamp": 256, "synthesis.b32.conv1.conv_clamp": 256})) == 256
    )


def test_what_the_arrays_do_not_tell_is_that_of_config_e(ours):
    config, preset = generator_config(ours(), ("a",)), configure("config-e", size=32, channels=3, labels=("a",))
    told = ("base_maps", "max_maps", "latent_size", "style_size")
    assert dataclasses.replace(config, **{name: getattr(preset, name) for name in told}) == preset
