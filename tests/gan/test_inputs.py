import tracemalloc

import numpy as np
import pytest
from keras import tree

from regan.artifacts.image_set import ImageSet, ImageSetWriter
from regan.gan.augmentation.draws import mirror
from regan.gan.inputs import Inputs, Stream, TrainingImages, decode, random_generator
from regan.training.checkpoint import contents_hash


@pytest.fixture
def images(random):
    return TrainingImages(random.integers(0, 256, (10, 32, 32, 1), dtype=np.uint8), np.arange(10) % 2)


@pytest.fixture
def image_set(tmp_path, random):
    folder = tmp_path / "set"
    folder.mkdir()
    with ImageSetWriter(folder, size=32, channels=1, classes=("b", "m"), origin="real", settings={}) as writer:
        for number in range(6):
            writer.add(random.integers(0, 256, (32, 32, 1), dtype=np.uint8), "bm"[number % 2])
    return ImageSet.open(folder)


def test_a_step_draws_the_same_whenever_and_in_whatever_order_it_is_asked(config, images):
    straight = Inputs(config, images)
    draws = [straight.draw(step) for step in range(9)]
    resumed = Inputs(config, images).draw(8)
    tree.map_structure(np.testing.assert_array_equal, draws[8], resumed)


def test_steps_phases_and_seeds_draw_different_numbers():
    numbers = {
        random_generator(seed, stream, step).random()
        for seed in (0, 1)
        for stream in (Stream.GENERATOR, Stream.DISCRIMINATOR)
        for step in (0, 1)
    }
    assert len(numbers) == 8


def test_every_epoch_shows_every_image_once_in_an_order_of_its_own(config, images):
    inputs = Inputs(config, images)
    shown = np.concatenate([inputs._real(step) for step in range(5)])  # twenty images, two epochs
    assert sorted(shown[:10]) == sorted(shown[10:]) == list(range(10))
    assert not np.array_equal(shown[:10], shown[10:])


def test_labels_of_real_images_go_with_their_pixels(config, images):
    batch = Inputs(config, images).draw(0)["discriminator"]
    for pixels, label in zip(batch["images"], batch["real_labels"], strict=True):
        matches = [
            number
            for number, image in enumerate(images.pixels)
            if np.array_equal(pixels, image) or np.array_equal(pixels, image[:, ::-1])
        ]
        assert label.argmax() == images.classes[matches[0]]


def test_path_length_is_due_every_fourth_step(config, images):
    inputs = Inputs(config, images)
    assert ["path_length" in inputs.draw(step) for step in range(9)] == [step % 4 == 0 for step in range(9)]


def test_mirror_flips_about_half_of_the_images(random):
    images = random.integers(0, 256, (400, 4, 4, 1), dtype=np.uint8)
    mirrored = mirror(images, random)
    flipped = np.array([np.array_equal(after, before[:, ::-1]) for after, before in zip(mirrored, images, strict=True)])
    kept = np.array([np.array_equal(after, before) for after, before in zip(mirrored, images, strict=True)])
    assert np.all(flipped | kept)
    assert 150 < flipped.sum() < 250


def test_images_are_decoded_once_into_an_array_on_disk(image_set, tmp_path):
    first = decode(image_set, image_set.rows, image_set.classes, tmp_path)
    changed = (tmp_path / "images.npy").stat().st_mtime_ns
    second = decode(image_set, image_set.rows, image_set.classes, tmp_path)
    assert isinstance(second.pixels, np.memmap)
    assert np.array_equal(first.pixels, np.stack(list(image_set.images())))
    assert second.classes.tolist() == [0, 1, 0, 1, 0, 1]
    assert (tmp_path / "images.npy").stat().st_mtime_ns == changed


def test_other_images_are_decoded_anew(image_set, tmp_path):
    decode(image_set, image_set.rows, image_set.classes, tmp_path)
    rows = image_set.with_label("m")
    assert np.array_equal(decode(image_set, rows, ("m",), tmp_path).pixels, np.stack(list(image_set.images(rows))))
    assert contents_hash(rows) != contents_hash(image_set.rows)


def test_memory_does_not_grow_with_the_number_of_images(config, tmp_path, random):
    def peak(num):
        path = tmp_path / f"{num}.npy"
        pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (num, 32, 32, 1))
        pixels[:] = random.integers(0, 256, (32, 32, 1), dtype=np.uint8)
        del pixels
        inputs = Inputs(config, TrainingImages(np.load(path, mmap_mode="r"), np.zeros(num, np.int64)))
        tracemalloc.start()
        for step in range(3):
            inputs.draw(step)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(500), peak(8_000)
    # The order of an epoch is 8 bytes an image; an image is 1,024.
    assert many - few < 20 * 7_500
