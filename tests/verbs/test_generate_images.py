import numpy as np
import pytest

import regan
from regan.data.history import last_step
from regan.data.imageset import ImageSet
from regan.data.model import weights_hash
from regan.gan.configuration import configure
from regan.gan.inputs import Stream, random_generator
from regan.gan.networks import GeneratorNetwork
from regan.gan.sampling import STYLE_MEAN, write_snapshot
from regan.verbs.generate_images import parse_seeds

INDEX = {("a" * 64, "patient 1"), ("b" * 64, "")}


def untrained(folder, labels):
    config = configure(
        "demo", size=32, channels=1, labels=labels, base_maps=64, max_maps=8, latent_size=8, style_size=8
    )
    network = GeneratorNetwork.build(config, random_generator(0, Stream.WEIGHTS))
    weights = {path: np.asarray(value) for path, value in (network.weights() | network.constants()).items()}
    weights[STYLE_MEAN] = np.zeros(8, np.float32)
    return write_snapshot(folder, 1.0, config, weights, classes=("b", "m"), training_index=INDEX)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("both"), ("b", "m"))


@pytest.fixture(scope="module")
def made(generator, tmp_path_factory):
    output = tmp_path_factory.mktemp("images") / "synthetic"
    return regan.generate_images(generator, output, seeds="1-20", truncation_psi=0.7)


def test_every_seed_gives_one_image_of_each_class(made):
    assert made.num_images == 40
    images = ImageSet.open(made.path)
    assert images.counts == {"b": 20, "m": 20}
    assert images.origin == "synthetic"
    assert [row.seed for row in images.with_label("m")] == [str(seed) for seed in range(1, 21)]


def test_every_row_carries_psi_and_the_hash_of_the_generator(made, generator):
    rows = ImageSet.open(made.path).rows
    assert {row.psi for row in rows} == {"0.7"}
    assert {row.generator for row in rows} == {weights_hash(generator)}


def test_the_images_carry_what_trained_the_generator(made):
    assert ImageSet.open(made.path).training_index() == INDEX


def test_shards_give_the_same_bytes_as_one_call(made, generator, tmp_path):
    whole = {(row.label, row.seed): row.sha256 for row in ImageSet.open(made.path).rows}
    for number, seeds in enumerate(["1-7", "8,9", "10-20"]):
        part = regan.generate_images(generator, tmp_path / str(number), seeds=seeds, truncation_psi=0.7)
        for row in ImageSet.open(part.path).rows:
            assert row.sha256 == whole.pop((row.label, row.seed))
    assert not whole


def test_one_class_can_be_asked_for(generator, tmp_path):
    made = regan.generate_images(generator, tmp_path / "m", label="m", seeds="5", truncation_psi=1.0)
    images = ImageSet.open(made.path)
    assert images.counts == {"b": 0, "m": 1}
    assert images.classes == ("b", "m")


def test_a_generator_of_one_class_makes_that_class(tmp_path):
    single = untrained(tmp_path / "single", ("m",))
    made = regan.generate_images(single, tmp_path / "images", seeds="1-2")
    assert ImageSet.open(made.path).counts == {"b": 0, "m": 2}
    with pytest.raises(ValueError, match="'all' or a class that the generator makes: m"):
        regan.generate_images(single, tmp_path / "others", label="b", seeds="1")


def test_history_shows_sixteen_images_of_each_class(made):
    step = last_step(made.path)
    assert step.verb == "generate_images"
    assert step.counts == {"num_images": 40}
    assert set(step.thumbnails) == {"b", "m"}
    assert step.settings["truncation_psi"] == 0.7


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [("1-3", [1, 2, 3]), ("7", [7]), ("1-2,20", [1, 2, 20]), (" 5 - 6 , 1 ", [5, 6, 1]), ("0", [0])],
)
def test_seeds_are_read_in_the_order_given(seeds, expected):
    assert parse_seeds(seeds) == expected


@pytest.mark.parametrize("seeds", ["", "3-1", "a", "1-", "-5", "1,,2", "1.5", "1-3,2"])
def test_seeds_that_cannot_be_meant_are_refused(seeds, generator, tmp_path):
    with pytest.raises(ValueError, match="`seeds` must"):
        regan.generate_images(generator, tmp_path / "images", seeds=seeds)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("psi", [-0.1, 11.0, float("nan")])
def test_psi_out_of_range_is_refused(psi, generator, tmp_path):
    with pytest.raises(ValueError, match="`truncation_psi` must be between 0 and 10"):
        regan.generate_images(generator, tmp_path / "images", seeds="1", truncation_psi=psi)


def test_what_is_no_generator_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="A generator is a folder"):
        regan.generate_images(tmp_path / "empty", tmp_path / "images", seeds="1")
