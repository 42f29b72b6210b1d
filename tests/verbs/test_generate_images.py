"""Images of small untrained networks: the same seed gives the same bytes, and every row says where it comes from."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import regan
from regan.artifacts.history import last_step
from regan.artifacts.image_set import ImageSet
from regan.artifacts.model import weights_hash
from regan.verbs.generate_images import parse_seeds

CLASSES = ("b", "m")
INDEX = {("trained", "patient"), ("chosen", "")}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory) -> Callable[..., Path]:
    """Function that writes an untrained generator of `labels` with noise of this strength."""
    from keras import ops

    from regan.gan.configuration import configure
    from regan.gan.inputs import Stream, random_generator
    from regan.gan.networks import GeneratorNetwork
    from regan.gan.sampling import STYLE_MEAN, write_snapshot

    small = {"base_maps": 32, "max_maps": 8, "latent_size": 8, "style_size": 8}

    def make(labels=CLASSES, *, noise=0.0) -> Path:
        config = dataclasses.replace(configure("demo", size=32, channels=1, labels=labels), **small)
        network = GeneratorNetwork.build(config, random_generator(0, Stream.WEIGHTS))
        arrays = {path: ops.convert_to_numpy(v) for path, v in (network.weights() | network.constants()).items()}
        arrays |= {path: np.float32(noise) for path in arrays if path.endswith("noise_strength")}
        arrays[STYLE_MEAN] = np.full(config.style_size, 0.5, np.float32)
        return write_snapshot(
            tmp_path_factory.mktemp("run"), 1.0, config, arrays, classes=CLASSES, training_index=INDEX
        )

    return make


@pytest.fixture(scope="module")
def generator(snapshot) -> Path:
    return snapshot(noise=0.3)


def bytes_of(folder: Path, label: str | None = None) -> dict[tuple[str, str], bytes]:
    """The pixels of each image by label and seed."""
    images = ImageSet.open(folder)
    return {
        (row.label, row.seed): image.tobytes()
        for row, image in zip(images.rows, images.images(), strict=True)
        if label in (None, row.label)
    }


def test_a_seed_gives_the_same_bytes_in_any_range_batch_and_shard(generator, tmp_path):
    whole = regan.generate_images(generator, tmp_path / "whole", seeds="1-130")
    assert (whole.path, whole.num_images) == (tmp_path / "whole", 260)
    expected = bytes_of(whole.path)
    assert len(set(expected.values())) == 260
    # One in a batch alone, some that change places in the batch, and one range cut in two as shards would cut it.
    for seeds, number in (("77", 1), ("60-70,3", 12), ("1-65", 65), ("1-65+1", 65)):
        part = bytes_of(regan.generate_images(generator, tmp_path / seeds, seeds=seeds).path)
        assert len(part) == 2 * number
        assert part.items() <= expected.items(), seeds


def test_the_same_call_writes_the_same_files(generator, tmp_path):
    digests = []
    for name in ("one", "two"):
        regan.generate_images(generator, tmp_path / name, seeds="1-5")
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file() and "history" not in path.parts]
        digests.append({f.relative_to(tmp_path / name): hashlib.sha256(f.read_bytes()).hexdigest() for f in files})
    assert digests[0] == digests[1]
    assert len(digests[0]) >= 3


def test_a_conditional_generator_makes_each_class_for_every_seed(generator, tmp_path):
    images = ImageSet.open(regan.generate_images(generator, tmp_path / "images", seeds="1-20").path)
    assert (images.classes, images.counts) == (CLASSES, {"b": 20, "m": 20})
    assert (images.size, images.channels, images.origin) == (32, 1, "synthetic")
    for label in CLASSES:
        assert [row.seed for row in images.with_label(label)] == [str(seed) for seed in range(1, 21)]
    pixels = bytes_of(images.path)
    assert all(pixels["b", str(seed)] != pixels["m", str(seed)] for seed in range(1, 21))


def test_one_class_of_two_is_the_same_as_in_all(generator, tmp_path):
    both = regan.generate_images(generator, tmp_path / "both", seeds="1-4")
    alone = regan.generate_images(generator, tmp_path / "alone", seeds="1-4", label="m")
    assert alone.num_images == 4
    assert bytes_of(alone.path) == bytes_of(both.path, "m")
    assert ImageSet.open(alone.path).classes == CLASSES


def test_a_generator_of_one_class_makes_that_one(snapshot, tmp_path):
    generator = snapshot(("m",))
    images = ImageSet.open(regan.generate_images(generator, tmp_path / "images", seeds="1-4").path)
    assert images.classes == CLASSES
    assert {row.label for row in images.rows} == {"m"}
    with pytest.raises(ValueError, match=r"Unknown label='b': use 'all' or a class of the generator: m"):
        regan.generate_images(generator, tmp_path / "other", seeds="1-4", label="b")


def test_rows_settings_index_and_history_say_where_the_images_come_from(generator, tmp_path):
    images = ImageSet.open(regan.generate_images(generator, tmp_path / "images", seeds="7,9", truncation_psi=0.7).path)
    assert {(row.label, row.seed, row.psi, row.generator) for row in images.rows} == {
        (label, seed, "0.7", weights_hash(generator)) for label in CLASSES for seed in ("7", "9")
    }
    settings = {"seeds": "7,9", "truncation_psi": 0.7, "label": "all", "generator_hash": weights_hash(generator)}
    assert images.settings == settings
    assert images.training_index() == INDEX
    step = last_step(images.path)
    assert (step.verb, step.settings, step.counts) == ("generate_images", settings, {"num_images": 4})
    assert set(step.thumbnails) == set(CLASSES)


def test_at_psi_0_every_seed_and_class_gives_the_mean_image(snapshot, tmp_path):
    generator = snapshot()
    still = bytes_of(regan.generate_images(generator, tmp_path / "0", seeds="1-6", truncation_psi=0).path)
    assert len(still) == 12
    assert len(set(still.values())) == 1
    moved = bytes_of(regan.generate_images(generator, tmp_path / "1", seeds="1-6", truncation_psi=1).path)
    assert len(set(moved.values())) == 12


def test_more_psi_takes_images_further_from_the_mean_image(snapshot, tmp_path):
    generator = snapshot()

    def pixels(psi: float) -> np.ndarray:
        path = regan.generate_images(generator, tmp_path / f"{psi}", seeds="1-16", truncation_psi=psi).path
        return np.stack(list(ImageSet.open(path).images())).astype(float)

    mean = pixels(0)
    distances = [np.sqrt(np.mean((pixels(psi) - mean) ** 2)) for psi in (0.5, 1.0, 1.6)]
    assert distances == sorted(distances)
    assert distances[0] > 0.5


def test_at_psi_0_the_noise_of_the_seed_still_differs(generator, tmp_path):
    still = bytes_of(regan.generate_images(generator, tmp_path / "0", seeds="1-6", truncation_psi=0).path)
    assert len(set(still.values())) == 6
    assert all(still["b", str(seed)] == still["m", str(seed)] for seed in range(1, 7))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "x"}, "Unknown label='x': use 'all' or a class of the generator: b, m."),
        ({"truncation_psi": -0.1}, "truncation_psi=-0.1 is out of range: use 0 to 10"),
        ({"truncation_psi": float("nan")}, "truncation_psi=nan is out of range: use 0 to 10"),
        ({"seeds": "9-1"}, "seeds='9-1' cannot be parsed: use numbers and ascending ranges"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(changes, message, generator, tmp_path):
    with pytest.raises(ValueError, match=message):
        regan.generate_images(generator, tmp_path / "images", **{"seeds": "1-2"} | changes)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_generator_and_an_output_in_use_are_refused(generator, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"contains no `model\.json`: it is not a generator"):
        regan.generate_images(tmp_path, tmp_path / "images", seeds="1-2")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        regan.generate_images(generator, tmp_path, seeds="1-2")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("seeds", "numbers"),
    [
        ("7", [7]),
        ("0", [0]),
        ("1-4", [1, 2, 3, 4]),
        ("3-3", [3]),
        ("1-3,20", [1, 2, 3, 20]),
        ("20,1-3", [20, 1, 2, 3]),
        (" 1 - 3 , 9 ", [1, 2, 3, 9]),
        ("1-3+0", [1, 2, 3]),
        ("1-3+1", [4, 5, 6]),
        ("5-6 + 2", [9, 10]),
        ("1-2,1-2+1", [1, 2, 3, 4]),
        ("1-100+2", [*range(201, 301)]),
        ("1-10:1/3", [1, 2, 3]),
        ("1-10:2/3", [4, 5, 6]),
        ("1-10+1 : 3/3", [17, 18, 19, 20]),
        ("0-3:1/1", [0, 1, 2, 3]),
    ],
)
def test_seeds_are_numbers_ranges_and_ranges_further_on(seeds, numbers):
    assert parse_seeds(seeds) == numbers


PARTS = ("1-4:0/2", "1-4:3/2", "1-2:1/3", "1-2:1/0", "1-2:1", "7:1/1", "5-0")


@pytest.mark.parametrize(
    "seeds", ["", ",", "1,", "1,,2", "3-1", "-1", "1-", "a", "1.5", "1 2", "5+2", "1-2-3", "1-2+", *PARTS]
)
def test_seeds_that_cannot_be_read_are_refused(seeds):
    with pytest.raises(ValueError, match=r"^seeds=.* cannot be parsed"):
        parse_seeds(seeds)


@pytest.mark.parametrize("seeds", ["1,1", "1-5,5", "1-5,3-9", "1-4+1,8"])
def test_a_seed_named_twice_is_refused(seeds):
    with pytest.raises(ValueError, match="repeats a seed"):
        parse_seeds(seeds)


def test_cutoff_noise_and_mixing_reach_the_generator_and_the_settings(generator, tmp_path):
    def made(name, **settings):
        path = regan.generate_images(generator, tmp_path / name, seeds="1-3", label="b", **settings).path
        return ImageSet.open(path).settings, [image.tobytes() for image in ImageSet.open(path).images()]

    plain, expected = made("plain")
    changes = {
        "cutoff": {"truncation_cutoff": 2},
        "constant": {"noise": "constant"},
        "none": {"noise": "none"},
        "mixed": {"mixing_seeds": "7", "mixing_cut": 4},
    }
    for name, change in changes.items():
        settings, images = made(name, **change)
        assert settings == plain | change
        assert all(one != other for one, other in zip(images, expected, strict=True)), name


def test_mixed_images_name_both_seeds_and_may_be_cut_into_shards(generator, tmp_path):
    mixed = {"mixing_cut": 3, "label": "m"}
    whole = regan.generate_images(generator, tmp_path / "whole", seeds="1-6", mixing_seeds="11-16", **mixed).path
    part = regan.generate_images(generator, tmp_path / "part", seeds="1-6:2/3", mixing_seeds="11-16:2/3", **mixed).path
    assert [row.seed for row in ImageSet.open(part).rows] == ["3~13", "4~14"]
    assert bytes_of(part).items() <= bytes_of(whole).items()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixing_seeds": "1-2", "mixing_cut": 3}, "mixing_seeds has 2 seeds: use one, or 3 as in `seeds`"),
        ({"mixing_seeds": "1"}, "contradict each other: set both or neither"),
        ({"mixing_cut": 3}, "contradict each other: set both or neither"),
        ({"mixing_seeds": "1", "mixing_cut": 8}, "`mixing.cut` must be 1 to 7"),
        ({"truncation_cutoff": 9}, "`truncation_cutoff` must be 0 to 8"),
        ({"noise": "loud"}, "Received noise='loud'"),
    ],
)
def test_settings_that_make_no_image_are_refused_before_work_begins(generator, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        regan.generate_images(generator, tmp_path / "images", seeds="1-3", **settings)
    assert not (tmp_path / "images").exists()
