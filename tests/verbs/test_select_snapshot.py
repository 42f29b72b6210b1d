import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

import regan
from regan.artifacts.history import last_step
from regan.artifacts.image_set import ImageSetWriter
from regan.artifacts.model import read_model, read_training_index, read_weights, weights_hash, write_model

CLASSES = ("b", "m")


def network_weights(config, seed):
    from keras import ops

    from regan.gan.inputs import Stream, random_generator
    from regan.gan.networks import GeneratorNetwork
    from regan.gan.sampling import STYLE_MEAN

    network = GeneratorNetwork.build(config, random_generator(seed, Stream.WEIGHTS))
    arrays = {path: ops.convert_to_numpy(value) for path, value in (network.weights() | network.constants()).items()}
    return arrays | {STYLE_MEAN: np.zeros(config.style_size, np.float32)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose three snapshots are untrained networks; the real images come from the second one."""
    from regan.gan.configuration import configure
    from regan.gan.sampling import write_snapshot

    small = {"base_maps": 16, "max_maps": 8, "latent_size": 8, "style_size": 8}
    config = dataclasses.replace(configure("demo", size=32, channels=1, labels=CLASSES, seed=0), **small)
    folder = tmp_path_factory.mktemp("run")
    index = [("trained", "patient")]
    for kimg in (1, 2, 3):
        weights = network_weights(config, seed=kimg)
        write_snapshot(folder, kimg, config, weights, classes=CLASSES, training_index=index)
    about = {"labels": list(CLASSES), "classes": list(CLASSES), "size": 32, "channels": 1, "kimg": 3}
    write_model(folder, kind="run", weights=None, metadata=about, training_index=index)
    return folder


@pytest.fixture(scope="module")
def real(run, tmp_path_factory):
    """Function that writes images of a snapshot, from other seeds, as the real ones; classes may be mixed up."""
    from regan.gan.sampling import Generator, snapshots

    def make(kimg=2, *, labels=CLASSES, number=60, size=32):
        folder = tmp_path_factory.mktemp("real")
        generator = Generator.load(snapshots(run)[kimg - 1])
        kind = {"size": size, "channels": 1, "classes": CLASSES, "origin": "real", "settings": {}}
        with ImageSetWriter(folder, **kind) as writer:
            for label, source in zip(CLASSES, labels):
                for batch in generator.images(range(1000, 1000 + number), source):
                    for image in batch:
                        writer.add(np.repeat(np.repeat(image, size // 32, 0), size // 32, 1), label, group=f"g{label}")
        return folder

    return make


def test_the_snapshot_that_is_closest_to_the_real_images_is_kept(run, real, tmp_path):
    images = real()
    found = regan.select_snapshot(run, images, tmp_path / "generator", num_images=120, truncation_psi=1.0)
    assert (found.path, found.kimg) == (tmp_path / "generator", 2)
    assert found.kernel_distance == pytest.approx(0, abs=0.1)

    with (found.path / "distances.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["kimg"]) for row in rows] == [1, 2, 3]
    assert [row["kept"] for row in rows] == ["False", "True", "False"]
    assert all(float(row["kernel_distance"]) > 1 for row in (rows[0], rows[2]))
    assert [int(row["num_images"]) for row in rows] == [120] * 3

    step = last_step(found.path)
    assert [row["kimg"] for row in step.tables["distances"]] == [1, 2, 3]
    assert step.figures["floor_num_images"] == 60
    assert step.figures["frechet_distance_at_floor"] == pytest.approx(step.figures["floor_frechet_distance"], rel=0.5)
    assert step.settings["extractor"] == "radiomic"
    assert len(step.settings["extractor_hash"]) == 64


def test_the_kept_generator_is_the_snapshot_and_knows_what_chose_it(run, real, tmp_path):
    from regan.artifacts.image_set import ImageSet
    from regan.gan.sampling import Generator, snapshots

    images, run = real(), shutil.copytree(run, tmp_path / "run")
    snapshot = snapshots(run)[1]
    original = read_model(snapshot, "generator") | {"discriminator": "0" * 64}  # which is not copied
    (snapshot / "model.json").write_text(json.dumps(original))
    found = regan.select_snapshot(run, images, tmp_path / "generator", num_images=40, truncation_psi=1.0)
    kept, original = read_weights(found.path), read_weights(snapshot)
    assert kept.keys() == original.keys()
    assert all(np.array_equal(kept[name], original[name]) for name in kept)
    assert weights_hash(found.path) == weights_hash(snapshot)
    model = read_model(found.path, "generator")
    assert model["selected"]["kernel_distance"] == found.kernel_distance
    assert model["selected"]["truncation_psi"] == 1.0
    assert "discriminator" not in model
    used = {(row.sha256, row.group) for row in ImageSet.open(images).rows}
    assert read_training_index(found.path) == used | {("trained", "patient")}
    one, other = (next(iter(Generator.load(path).images([5], "b"))) for path in (found.path, snapshot))
    assert np.array_equal(one, other)


def test_mixed_up_classes_are_far_apart(run, real, tmp_path):
    straight = regan.select_snapshot(run, real(), tmp_path / "a", num_images=120, truncation_psi=1.0)
    mixed = regan.select_snapshot(run, real(labels=("m", "b")), tmp_path / "b", num_images=120, truncation_psi=1.0)
    assert mixed.kernel_distance > straight.kernel_distance + 0.3


def test_same_seed_same_distances(run, real, tmp_path):
    images = real()
    one, same, other = (
        regan.select_snapshot(run, images, tmp_path / name, num_images=40, truncation_psi=1.0, seed=seed)
        for name, seed in (("a", 0), ("b", 0), ("c", 7))
    )
    assert one.kernel_distance == same.kernel_distance != other.kernel_distance
    assert (one.path / "distances.csv").read_bytes() == (same.path / "distances.csv").read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_images": 4}, "num_images=[0-9]+ is too small: use 16 or more"),
        ({"truncation_psi": -1}, "truncation_psi=-1 is out of range: use 0 to 10"),
        ({"seed": -1}, "seed=-1 is negative"),
        ({"features": "no such thing"}, "`features` must be"),
    ],
)
def test_impossible_settings_are_refused_and_leave_nothing(run, real, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        regan.select_snapshot(run, real(number=10), tmp_path / "generator", **settings)
    assert not list(tmp_path.iterdir())


def test_real_images_of_another_size_are_refused(run, real, tmp_path):
    with pytest.raises(ValueError, match="64 pixels and 1 channels, the run 32"):
        regan.select_snapshot(run, real(number=10, size=64), tmp_path / "generator")


def test_too_few_real_images_of_a_class_are_refused(run, real, tmp_path):
    with pytest.raises(ValueError, match="too few real images of class"):
        regan.select_snapshot(run, real(number=5), tmp_path / "generator")


def test_a_run_without_snapshots_is_refused(real, tmp_path):
    (tmp_path / "run").mkdir()
    about = {"labels": list(CLASSES), "classes": list(CLASSES), "size": 32, "channels": 1}
    write_model(tmp_path / "run", kind="run", weights=None, metadata=about)
    with pytest.raises(FileNotFoundError, match=r"^No snapshots in"):
        regan.select_snapshot(tmp_path / "run", real(number=10), tmp_path / "generator")
