"""Training that starts from another generator."""

import json
import logging
import shutil

import numpy as np
import pytest
from keras import ops

from regan.data.model import read_training_index, read_weights, weights_hash
from regan.gan.configuration import configure
from regan.gan.networks import GeneratorNetwork
from regan.gan.sampling import STYLE_MEAN, write_snapshot
from regan.gan.start import bring_start, fitted
from regan.storage import latest, push_latest


def tiny_config(**changes):
    tiny = {"size": 32, "channels": 1, "labels": ("benign", "malignant"), "max_maps": 8, "latent_size": 8}
    return configure("demo", **{**tiny, "base_maps": 64, "style_size": 8, **changes})


def weights_of(config) -> dict[str, np.ndarray]:
    network = GeneratorNetwork.build(config, np.random.default_rng(5))
    values = {**network.weights(), **network.constants(), STYLE_MEAN: np.ones(config.style_size, np.float32)}
    return {path: np.asarray(ops.convert_to_numpy(value)) for path, value in values.items()}


@pytest.fixture
def generator(tmp_path):
    def make(**settings):
        config = tiny_config(**settings)
        index = {("a" * 64, "patient")}
        weights = weights_of(config)
        return write_snapshot(tmp_path / "run", 1.0, config, weights, classes=("b", "m"), training_index=index)

    return make


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_the_generator_of_a_folder_is_copied_once_and_used_again_when_the_folder_is_gone(generator, work):
    folder = generator()
    first = bring_start(str(folder), "all", work, begun=False)
    digest = weights_hash(folder)
    shutil.rmtree(folder)
    again = bring_start(str(folder), "all", work, begun=True)
    assert first.hash == again.hash == digest
    assert again.training_index == {("a" * 64, "patient")}


def test_the_newest_version_below_the_label_is_taken(generator, work, tmp_path):
    push_latest(generator(), f"{tmp_path}/kept/all", latest(f"{tmp_path}/kept/all"))
    assert bring_start(f"{tmp_path}/kept", "all", work, begun=False).channels == 1
    other = tmp_path / "other"
    other.mkdir()
    assert bring_start(f"{tmp_path}/kept", "malignant", other, begun=False) is None


def test_nothing_there_yet_is_said_and_training_starts_from_random_weights(work, tmp_path, caplog):
    caplog.set_level(logging.INFO, "regan")
    assert bring_start(f"{tmp_path}/kept", "all", work, begun=False) is None
    assert "starts from random weights" in caplog.text


def test_training_that_began_without_a_start_goes_on_without_one(generator, work):
    assert bring_start(str(generator()), "all", work, begun=True) is None


def test_no_start_is_no_start(work):
    assert bring_start("", "all", work, begun=False) is None


def test_another_kind_of_model_is_refused_and_nothing_stays(generator, work):
    folder = generator()
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, "kind": "classifier"}))
    with pytest.raises(ValueError, match="kind generator"):
        bring_start(str(folder), "all", work, begun=False)
    assert list(work.iterdir()) == []


def test_terms_of_the_weights_are_told_on(generator, work):
    folder = generator()
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, "licence": "research only"}))
    start = bring_start(str(folder), "all", work, begun=False)
    assert start.about() == {"start": weights_hash(folder), "licence": "research only"}


def test_the_same_network_takes_the_weights_as_they_are(generator, work):
    folder = generator()
    expected = GeneratorNetwork.build(tiny_config(), np.random.default_rng(0)).weights()
    weights = fitted(bring_start(str(folder), "all", work, begun=False), expected, 1)
    assert weights.keys() == expected.keys()
    assert all(np.array_equal(weights[path], value) for path, value in read_weights(folder).items() if path in weights)


def test_grey_from_rgb_draws_the_luma_of_the_colours(generator, work):
    start = bring_start(str(generator(channels=3)), "all", work, begun=False)
    grey = tiny_config()
    network = GeneratorNetwork.build(grey, np.random.default_rng(0))
    weights = fitted(start, network.weights(), 1)
    colour = GeneratorNetwork.build(tiny_config(channels=3), np.random.default_rng(0))
    noise = [ops.zeros((2, size, size, 1)) for size in grey.noise_sizes]
    latents = np.random.default_rng(1).standard_normal((2, grey.latent_size)).astype("float32")
    labels = np.eye(2, dtype="float32")

    def images(of, values):
        styles = of.styles(values, ops.convert_to_tensor(latents), ops.convert_to_tensor(labels))
        return ops.convert_to_numpy(of.images(values, ops.repeat(styles[:, None], grey.num_styles, axis=1), noise))

    expected = images(colour, {path: start.weights[path] for path in colour.weights()}) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(images(network, weights)[..., 0], expected, atol=1e-5)


def test_rgb_from_grey_gives_each_colour_the_same(generator, work):
    start = bring_start(str(generator()), "all", work, begun=False)
    expected = GeneratorNetwork.build(tiny_config(channels=3), np.random.default_rng(0)).weights()
    kernel = fitted(start, expected, 3)["synthesis/size_4_image/convolution/kernel"]
    assert kernel.shape[-1] == 3
    assert np.array_equal(kernel[..., 0], kernel[..., 2])


def test_another_network_is_refused_with_what_may_differ(generator, work):
    start = bring_start(str(generator()), "all", work, begun=False)
    expected = GeneratorNetwork.build(tiny_config(labels=("b",)), np.random.default_rng(0)).weights()
    with pytest.raises(ValueError, match=r"only the channels may differ\. \d+ of \d+ arrays do not fit, such as "):
        fitted(start, expected, 1)


@pytest.mark.parametrize(("theirs", "ours"), [(2, 8), (8, 2)])
def test_another_number_of_mapping_layers_is_refused_with_the_one_that_fits(theirs, ours, generator, work):
    start = bring_start(str(generator(mapping_layers=theirs)), "all", work, begun=False)
    expected = GeneratorNetwork.build(tiny_config(mapping_layers=ours), np.random.default_rng(0)).weights()
    with pytest.raises(ValueError, match=rf"one with {theirs} .* with {ours}\. Train with `mapping_layers={theirs}`"):
        fitted(start, expected, 1)
    same = GeneratorNetwork.build(tiny_config(mapping_layers=theirs), np.random.default_rng(0)).weights()
    assert fitted(start, same, 1).keys() == same.keys()


@pytest.mark.parametrize("other", [{"size": 64}, {"latent_size": 12}], ids=str)
def test_a_network_that_differs_in_more_is_not_cut_down_and_no_mapping_layers_are_advised(other, generator, work):
    start = bring_start(str(generator(**{"base_maps": 128, "mapping_layers": 3, **other})), "all", work, begun=False)
    expected = GeneratorNetwork.build(tiny_config(base_maps=128), np.random.default_rng(0)).weights()
    with pytest.raises(ValueError, match="arrays do not fit") as refused:
        fitted(start, expected, 1)
    assert "mapping_layers" not in str(refused.value)


def test_the_index_of_what_trained_it_is_read_from_its_folder(generator):
    assert read_training_index(generator()) == {("a" * 64, "patient")}
