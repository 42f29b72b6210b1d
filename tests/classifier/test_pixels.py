import numpy as np
import pytest

from regan.classifier.pixels import PixelCache, TrainingBatches, augment


@pytest.fixture
def cache(make_set, tmp_path):
    return PixelCache([make_set(b=13, m=8), make_set(1, b=4, m=5)], tmp_path / "pixels")


def test_the_cache_holds_the_pixels_of_all_sets_in_order(make_set, tmp_path):
    sets = [make_set(b=13, m=8), make_set(1, b=4, m=5)]
    cache = PixelCache(sets, tmp_path / "pixels")
    assert np.array_equal(cache.pixels, np.stack([image for s in sets for image in s.images()]))
    assert cache.labels.tolist() == [0] * 13 + [1] * 8 + [0] * 4 + [1] * 5
    assert np.array_equal(np.concatenate(list(cache.batches(7))), cache.pixels)


def test_the_cache_lies_on_disk(cache, tmp_path):
    assert (tmp_path / "pixels").stat().st_size == 30 * 32 * 32


@pytest.fixture
def plain(cache):
    """Images of one grey level each, which augmentation leaves as they are."""
    cache.pixels[:] = np.arange(30, dtype=np.uint8)[:, None, None, None]
    return cache


def test_an_epoch_meets_no_image_twice_and_leaves_out_less_than_a_batch(plain):
    batches = TrainingBatches(plain, 8, seed=0)
    met = np.concatenate([batches.draw(i)[0][:, 0, 0, 0] for i in range(len(batches))])
    assert len(set(met.tolist())) == len(met) == 24


def test_images_keep_their_labels(plain):
    images, labels = TrainingBatches(plain, 30, seed=0).draw(0)
    assert plain.labels[images[:, 0, 0, 0]].tolist() == labels.tolist()


def epochs(cache, seed):
    batches = TrainingBatches(cache, 30, seed)
    for epoch in range(2):
        yield batches.draw(epoch)[0]


def test_epochs_are_shuffled_anew_and_the_seed_decides(plain):
    first, second, again, _, other, _ = (images for seed in (0, 0, 1) for images in epochs(plain, seed))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_epochs_are_augmented_anew_and_the_seed_decides(cache):
    ramp = np.arange(32, dtype=np.uint8)
    cache.pixels[:] = ramp[None, None, :, None]  # all alike: no shuffle shows
    first, second, again, _, other, _ = (images for seed in (0, 0, 1) for images in epochs(cache, seed))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_batch_is_never_larger_than_the_set(cache):
    batches = TrainingBatches(cache, 1000, seed=0)
    assert (len(batches), len(batches.draw(0)[1])) == (1, 30)


def test_augmentation_shifts_whole_pixels_by_up_to_a_tenth_and_repeats_the_border():
    ramp = np.arange(40, dtype=np.uint8)
    columns = np.broadcast_to(ramp[None, None, :, None], (500, 40, 40, 1))
    rows = columns.swapaxes(1, 2)
    down = augment(rows, np.random.default_rng(0))[:, :, 0, 0].astype(int)
    across = augment(columns, np.random.default_rng(0))[:, 0, :, 0].astype(int)
    expected = {tuple(np.clip(np.arange(40) + shift, 0, 39)) for shift in range(-4, 5)}
    assert {tuple(line) for line in down} == expected
    assert {tuple(line) for line in across} == expected | {line[::-1] for line in expected}


def test_half_of_the_images_are_mirrored():
    ramp = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, None, :, None], (2000, 40, 40, 1))
    out = augment(ramp, np.random.default_rng(0)).astype(int)
    assert 0.45 < (out[:, 0, 0, 0] > out[:, 0, -1, 0]).mean() < 0.55


def test_channels_stay_together():
    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 1), dtype=np.uint8)
    grey, rgb = (augment(np.repeat(images, n, axis=-1), np.random.default_rng(1)) for n in (1, 3))
    assert np.array_equal(rgb, np.repeat(grey, 3, axis=-1))
