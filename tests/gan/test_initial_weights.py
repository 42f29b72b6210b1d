"""Training that starts from another generator."""

import json
import logging
import shutil

import numpy as np
import pytest
from keras import ops

from regan.artifacts.model import read_model, read_training_index, read_weights, weights_hash
from regan.common.errors import CorruptFileError, WrongArtifactError
from regan.gan.configuration import configure
from regan.gan.generator_folder import DISCRIMINATOR, read_discriminator, write_generator
from regan.gan.initial_weights import adapt_discriminator, adapt_generator, load_initial_weights
from regan.gan.inputs import TrainingImages
from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork
from regan.gan.sampling import STYLE_MEAN, write_snapshot
from regan.gan.trainer import Trainer
from regan.storage import latest, push_latest
from regan.training.checkpoint import CHECKPOINTS, save_checkpoint


def tiny_config(**changes):
    tiny = {"size": 32, "channels": 1, "labels": ("benign", "malignant"), "max_maps": 8, "latent_size": 8}
    return configure("demo", **{**tiny, "base_maps": 64, "style_size": 8, **changes})


def weights_of(config) -> dict[str, np.ndarray]:
    network = GeneratorNetwork.build(config, np.random.default_rng(5))
    return arrays({**network.weights(), **network.constants(), STYLE_MEAN: np.ones(config.style_size, np.float32)})


def discriminator_of(config, seed=5) -> tuple[DiscriminatorNetwork, dict[str, np.ndarray]]:
    network = DiscriminatorNetwork.build(config, np.random.default_rng(seed))
    # Biases start at 0: of other values, each is seen to be taken.
    random = np.random.default_rng(seed)
    return network, {
        path: value + random.normal(0, 0.1, value.shape).astype(np.float32)
        for path, value in arrays(network.weights()).items()
    }


def arrays(weights) -> dict[str, np.ndarray]:
    return {path: np.asarray(ops.convert_to_numpy(value)) for path, value in weights.items()}


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
    first = load_initial_weights(str(folder), "all", work, begun=False)
    digest = weights_hash(folder)
    shutil.rmtree(folder)
    again = load_initial_weights(str(folder), "all", work, begun=True)
    assert first.hash == again.hash == digest
    assert again.training_index == {("a" * 64, "patient")}


def test_the_newest_version_below_the_label_is_taken(generator, work, tmp_path):
    push_latest(generator(), f"{tmp_path}/kept/all", latest(f"{tmp_path}/kept/all"))
    assert load_initial_weights(f"{tmp_path}/kept", "all", work, begun=False).channels == 1
    other = tmp_path / "other"
    other.mkdir()
    assert load_initial_weights(f"{tmp_path}/kept", "malignant", other, begun=False) is None


def test_nothing_there_yet_is_said_and_training_starts_from_random_weights(work, tmp_path, caplog):
    caplog.set_level(logging.INFO, "regan")
    assert load_initial_weights(f"{tmp_path}/kept", "all", work, begun=False) is None
    assert "starts from random weights" in caplog.text


def test_training_that_began_without_a_start_goes_on_without_one(generator, work):
    assert load_initial_weights(str(generator()), "all", work, begun=True) is None


def test_no_start_is_no_start(work):
    assert load_initial_weights("", "all", work, begun=False) is None


def test_another_kind_of_model_is_refused_and_nothing_stays(generator, work):
    folder = generator()
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, "kind": "classifier"}))
    with pytest.raises(ValueError, match="is not a generator"):
        load_initial_weights(str(folder), "all", work, begun=False)
    assert list(work.iterdir()) == []


def test_terms_of_the_weights_are_told_on(generator, work):
    folder = generator()
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, "licence": "research only"}))
    start = load_initial_weights(str(folder), "all", work, begun=False)
    assert start.provenance() == {"start": weights_hash(folder), "licence": "research only"}


def test_the_same_network_takes_the_weights_as_they_are(generator, work):
    folder = generator()
    expected = GeneratorNetwork.build(tiny_config(), np.random.default_rng(0)).weights()
    weights = adapt_generator(load_initial_weights(str(folder), "all", work, begun=False), expected, 1)
    assert weights.keys() == expected.keys()
    assert all(np.array_equal(weights[path], value) for path, value in read_weights(folder).items() if path in weights)


def test_grey_from_rgb_draws_the_luma_of_the_colours(generator, work):
    start = load_initial_weights(str(generator(channels=3)), "all", work, begun=False)
    grey = tiny_config()
    network = GeneratorNetwork.build(grey, np.random.default_rng(0))
    weights = adapt_generator(start, network.weights(), 1)
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
    start = load_initial_weights(str(generator()), "all", work, begun=False)
    expected = GeneratorNetwork.build(tiny_config(channels=3), np.random.default_rng(0)).weights()
    kernel = adapt_generator(start, expected, 3)["synthesis/size_4_image/convolution/kernel"]
    assert kernel.shape[-1] == 3
    assert np.array_equal(kernel[..., 0], kernel[..., 2])


def test_another_network_is_refused_with_what_may_differ(generator, work):
    start = load_initial_weights(str(generator()), "all", work, begun=False)
    expected = GeneratorNetwork.build(tiny_config(labels=("b",)), np.random.default_rng(0)).weights()
    with pytest.raises(
        WrongArtifactError, match=r"only the channels may differ\. \d+ of \d+ arrays do not match, such"
    ):
        adapt_generator(start, expected, 1)


@pytest.mark.parametrize(("theirs", "ours"), [(2, 8), (8, 2)])
def test_another_number_of_mapping_layers_is_refused_with_the_one_that_fits(theirs, ours, generator, work):
    start = load_initial_weights(str(generator(mapping_layers=theirs)), "all", work, begun=False)
    expected = GeneratorNetwork.build(tiny_config(mapping_layers=ours), np.random.default_rng(0)).weights()
    with pytest.raises(
        WrongArtifactError, match=rf"has {theirs} mapping.* has {ours}\. Train with `mapping_layers={theirs}`"
    ):
        adapt_generator(start, expected, 1)
    same = GeneratorNetwork.build(tiny_config(mapping_layers=theirs), np.random.default_rng(0)).weights()
    assert adapt_generator(start, same, 1).keys() == same.keys()


@pytest.mark.parametrize("other", [{"size": 64}, {"latent_size": 12}], ids=str)
def test_a_network_that_differs_in_more_is_not_cut_down_and_no_mapping_layers_are_advised(other, generator, work):
    made = {"base_maps": 128, "mapping_layers": 3, "labels": ("b",), **other}
    start = load_initial_weights(str(generator(**made)), "all", work, begun=False)
    expected = GeneratorNetwork.build(tiny_config(base_maps=128, labels=("b",)), np.random.default_rng(0)).weights()
    with pytest.raises(WrongArtifactError, match="arrays do not match") as refused:
        adapt_generator(start, expected, 1)
    assert "mapping_layers" not in str(refused.value)


def test_the_index_of_what_trained_it_is_read_from_its_folder(generator):
    assert read_training_index(generator()) == {("a" * 64, "patient")}


@pytest.fixture
def pair(tmp_path):
    """A generator with the discriminator beside it."""

    def make(**settings):
        config, folder = tiny_config(**settings), tmp_path / "pair"
        folder.mkdir()
        write_generator(
            folder,
            1.0,
            config,
            weights_of(config),
            classes=("b", "m"),
            training_index=(),
            discriminator=discriminator_of(config)[1],
        )
        return folder

    return make


def scores(config, weights, images):
    network, _ = discriminator_of(config)
    labels = np.eye(2, dtype="float32")[np.arange(len(images)) % 2]
    return ops.convert_to_numpy(
        network.scores(
            {path: ops.convert_to_tensor(value) for path, value in weights.items()},
            ops.convert_to_tensor(images),
            ops.convert_to_tensor(labels),
        )
    )


@pytest.mark.parametrize(("theirs", "ours"), [(3, 1), (1, 3), (3, 3)])
def test_grey_images_are_scored_as_they_were_in_three_equal_colours(theirs, ours, pair, work):
    start = load_initial_weights(str(pair(channels=theirs)), "all", work, begun=False)
    _, expected = discriminator_of(tiny_config(channels=ours), seed=0)
    weights = adapt_discriminator(start.discriminator, expected, ours)
    grey = np.random.default_rng(1).uniform(-1, 1, (4, 32, 32, 1)).astype("float32")
    shown = {channels: np.repeat(grey, channels, axis=-1) for channels in (1, 3)}
    found = scores(tiny_config(channels=ours), weights, shown[ours])
    np.testing.assert_allclose(
        found, scores(tiny_config(channels=theirs), start.discriminator, shown[theirs]), rtol=1e-4
    )
    assert np.abs(np.diff(found)).min() > 1e-3


def test_what_training_starts_from_is_said(pair, generator, work, tmp_path, caplog):
    caplog.set_level(logging.INFO, "regan")
    start = load_initial_weights(str(pair()), "all", work, begun=False)
    digest = read_model(tmp_path / "pair", "generator")["discriminator"]
    assert start.provenance() == {"start": start.hash, "start_discriminator": digest}
    assert f"(1 kimg) and discriminator {digest[:12]}." in caplog.text
    shutil.rmtree(work / "start")
    assert load_initial_weights(str(generator()), "all", work, begun=False).discriminator is None
    assert "(1 kimg) and a new discriminator." in caplog.text


@pytest.mark.parametrize("damage", ["flipped", "truncated", "removed", "another"])
def test_a_damaged_discriminator_is_refused_and_nothing_stays(damage, pair, work):
    folder = pair()
    path = folder / DISCRIMINATOR
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        another = (folder / "weights.safetensors").read_bytes()
        path.write_bytes(
            {"flipped": data[:-1] + bytes([data[-1] ^ 1]), "truncated": data[:-4], "another": another}[damage]
        )
    with pytest.raises(CorruptFileError, match=r"`discriminator\.safetensors` in .* is (corrupt|missing)"):
        load_initial_weights(str(folder), "all", work, begun=False)
    assert list(work.iterdir()) == []


def test_a_discriminator_of_another_network_is_refused(pair, work):
    start = load_initial_weights(str(pair()), "all", work, begun=False)
    _, expected = discriminator_of(tiny_config(labels=("b",)))
    with pytest.raises(WrongArtifactError, match="arrays do not match, such as discriminator/dense_0/bias"):
        adapt_discriminator(start.discriminator, expected, 1)


def trainer(start, work) -> Trainer:
    images = TrainingImages(np.zeros((4, 32, 32, 1), np.uint8), np.zeros(4, int))
    settings = {"classes": ("b", "m"), "configuration": "c", "training_index": set(), "start": start}
    return Trainer(tiny_config(), images, work, **settings)


def test_training_starts_from_both_networks_and_goes_on_from_its_checkpoint(pair, work):
    folder = pair()
    begun = trainer(load_initial_weights(str(folder), "all", work, begun=False), work)._state
    kept = read_discriminator(folder, read_model(folder, "generator"))
    assert begun["discriminator"].keys() == kept.keys()
    assert all(np.array_equal(begun["discriminator"][path], value) for path, value in kept.items())
    weights = read_weights(folder)
    assert all(np.array_equal(value, weights[path]) for path, value in begun["average"].items())

    later = {name: arrays(v) if isinstance(v, dict) else ops.convert_to_numpy(v) for name, v in begun.items()}
    later["discriminator"] = {path: value + 1 for path, value in later["discriminator"].items()}
    save_checkpoint(work / CHECKPOINTS, configuration="c", step=3, seconds=1.0, state=later)
    again = trainer(load_initial_weights(str(folder), "all", work, begun=True), work)
    again._restore()
    assert all(np.array_equal(again._state["discriminator"][path], value + 1) for path, value in kept.items())
