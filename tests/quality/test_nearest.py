import numpy as np
import pytest

from regan.common.errors import TooFewImagesError
from regan.quality import nearest as module
from regan.quality.nearest import REACH, NearestImages


def search(training, images, exclude=None, batch=None):
    batch = batch or len(training)
    parts = (training[start : start + batch] for start in range(0, len(training), batch))
    return NearestImages(parts, lambda numbers: training[numbers]).search([images], exclude)


def test_small_images_agree_with_trying_everything(oracle, phantoms):
    training, images = phantoms(12, 0), phantoms(3, 1)
    found = search(training, images, batch=5)
    for row, image in enumerate(images):
        number, distance = oracle.nearest_by_trying(image, training, REACH)
        assert found.index[row] == number
        assert found.distance[row] == pytest.approx(distance, rel=1e-4)


@pytest.mark.parametrize("size", [32, 128])
def test_copies_lie_at_no_distance(phantoms, size):
    training = phantoms(10, 0, size)
    found = search(training, training[[3, 17]])
    assert found.index.tolist() == [3, 17]
    assert found.distance == pytest.approx([0, 0], abs=0.1)
    assert found.coarse_ratio == pytest.approx([0, 0], abs=0.01)
    assert found.fine_ratio == pytest.approx([0, 0], abs=0.01)


@pytest.mark.parametrize("shift", [1, 3, 7])
@pytest.mark.parametrize("mirrored", [False, True])
def test_shifted_and_mirrored_copies_are_aligned_at_full_size(phantoms, shift, mirrored):
    training = phantoms(10, 0, 128)
    copies = np.roll(training[[2, 11]], (shift, -shift), axis=(1, 2))
    found = search(training, copies[:, :, ::-1] if mirrored else copies)
    assert found.index.tolist() == [2, 11]
    assert found.distance == pytest.approx([0, 0], abs=0.1)


def test_brightness_alone_makes_no_distance(phantoms):
    training = np.clip(phantoms(10, 0), 0, 200)
    found = search(training, training[[4]] + np.uint8(40))
    assert found.index[0] == 4
    assert found.distance[0] == pytest.approx(0, abs=0.1)


def test_new_images_have_ratios_near_one(phantoms):
    found = search(phantoms(60, 0, 64), phantoms(8, 1, 64))
    assert np.all((found.coarse_ratio > 0.6) & (found.coarse_ratio < 1.01))
    assert np.all((found.fine_ratio > 0.6) & (found.fine_ratio < 1.1))


def test_excluded_images_are_passed_over(phantoms):
    training = phantoms(10, 0, 64)
    own = np.eye(20, dtype=bool)
    own[:10, :10] = True  # the first half is one group
    found = search(training, training, exclude=own, batch=7)
    assert np.all(found.index != np.arange(20))
    assert np.all(found.index[:10] >= 10)
    assert np.all(found.distance > 1)


def test_working_in_small_pieces_changes_nothing(phantoms, monkeypatch):
    training, images = phantoms(10, 0, 64), phantoms(4, 1, 64)
    expected = search(training, images)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1)
    found = search(training, images, batch=3)
    assert np.array_equal(found.index, expected.index)
    assert found.distance == pytest.approx(expected.distance)
    assert found.coarse_ratio == pytest.approx(expected.coarse_ratio, rel=1e-4)


def test_colour_images_are_searched(phantoms):
    training = np.repeat(phantoms(5, 0, 64), 3, axis=-1)
    training[..., 0] //= 2
    found = search(training, training[[7]])
    assert found.index[0] == 7
    assert found.distance[0] == pytest.approx(0, abs=0.1)


def test_no_images_give_no_entries(phantoms):
    assert len(NearestImages([phantoms(2, 0)], lambda numbers: phantoms(2, 0)[numbers]).search([])) == 0


def test_two_training_images_are_too_few(phantoms):
    with pytest.raises(TooFewImagesError, match="at least 3"):
        search(phantoms(1, 0), phantoms(1, 1))


def test_copies_of_an_image_that_stands_often_are_copies(phantoms):
    training = np.repeat(phantoms(1, 0)[:1], 60, axis=0)
    found = search(training, training[:2])
    assert found.coarse_ratio.tolist() == found.fine_ratio.tolist() == [0, 0]
