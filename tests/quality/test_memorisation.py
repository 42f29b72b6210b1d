import numpy as np
import pytest
from scipy import ndimage

from regan.common.errors import OverlapError, TooFewImagesError
from regan.quality.memorisation import is_memorised, memorisation_threshold
from regan.quality.nearest import Nearest, NearestImages


def ratios(values):
    values = np.asarray(values, float)
    return Nearest(np.zeros(len(values), int), values, values, values)


def test_the_cut_is_three_interquartile_ranges_under_the_lower_quartile():
    held_out = np.exp(np.linspace(-0.6, -0.2, 41))  # quartiles of the logarithm at -.5, -.4, -.3
    assert memorisation_threshold(ratios(held_out)).coarse == pytest.approx(np.exp(-0.5 - 3 * 0.2))


def test_very_even_ratios_still_leave_a_quarter():
    assert memorisation_threshold(ratios(np.full(20, 0.9))).fine == pytest.approx(0.75 * 0.9)


def test_undetected_duplicates_among_held_out_images_hardly_move_the_cut():
    held_out = np.random.default_rng(0).normal(0.9, 0.02, 60)
    clean = memorisation_threshold(ratios(held_out)).coarse
    spoilt = held_out.copy()
    spoilt[:6] = [0, 0, 0.1, 0.2, 0.1, 0.3]
    assert memorisation_threshold(ratios(spoilt)).coarse == pytest.approx(clean, abs=0.05)


def test_either_size_makes_a_copy():
    cut = memorisation_threshold(ratios(np.full(20, 0.9)))
    found = Nearest(np.zeros(3, int), np.zeros(3), np.array([0.1, 0.9, 0.9]), np.array([0.9, 0.1, 0.9]))
    assert is_memorised(found, cut).tolist() == [True, True, False]


def test_few_held_out_images_are_refused():
    with pytest.raises(TooFewImagesError, match="at least 8"):
        memorisation_threshold(ratios([0.9] * 7))


def test_a_split_that_leaks_is_refused():
    with pytest.raises(OverlapError, match=r"overlap with training data \(20 images of 20.*leaks"):
        memorisation_threshold(ratios([0.0] * 20))


@pytest.fixture(scope="module", params=[32, 64])
def judged(request, phantoms):
    """Judges images against 200 training phantoms, with 40 held-out ones."""
    training = phantoms(100, 0, request.param)
    index = NearestImages([training], lambda numbers: training[numbers])
    cut = memorisation_threshold(index.search([phantoms(20, 1, request.param)]))

    def judge(images):
        return is_memorised(index.search([np.clip(images, 0, 255).astype(np.uint8)]), cut)

    return training, judge


COPIES = {
    "plain": lambda x: x,
    "mirrored": lambda x: x[:, :, ::-1],
    "shifted": lambda x: np.roll(x, (1, 2), axis=(1, 2)),
    "shifted and mirrored": lambda x: np.roll(x[:, :, ::-1], (-2, 1), axis=(1, 2)),
    "noisy": lambda x: x + 10 * np.random.default_rng(0).normal(size=x.shape),
    "blurred": lambda x: ndimage.gaussian_filter(x.astype(float), (0, x.shape[1] / 64, x.shape[1] / 64, 0)),
    "of less contrast": lambda x: 0.8 * x + 25.0,
    "mixed with another": lambda x: 0.8 * x + 0.2 * x[::-1],
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found(judged, name):
    training, judge = judged
    assert judge(COPIES[name](training[::10])).all()


def test_plain_phantoms_of_another_seed_are_no_copies(judged, phantoms):
    training, judge = judged
    assert not judge(phantoms(60, 2, training.shape[1])).any()


def test_blur_and_noise_make_no_copies_of_new_images(judged, phantoms):
    training, judge = judged
    fresh = phantoms(20, 3, training.shape[1]).astype(float)
    assert not judge(COPIES["blurred"](fresh)).any()
    assert not judge(COPIES["noisy"](fresh)).any()


def test_copies_of_real_ultrasound_are_found_and_other_patients_are_not(test_data):
    import csv

    from PIL import Image

    with (test_data / "busi" / "duplicate_groups.csv").open() as file:
        rows = list(csv.DictReader(file))
    pictures = [Image.open(test_data / "busi" / row["class"] / row["file"]).convert("L") for row in rows]
    images = np.stack([np.asarray(picture.resize((64, 64), Image.Resampling.LANCZOS)) for picture in pictures])[
        ..., None
    ]
    groups = np.array([row["group"] for row in rows])
    held = np.isin(groups, np.random.default_rng(0).permutation(np.unique(groups))[:120])
    training, others = images[~held], images[held]
    index = NearestImages([training], lambda numbers: training[numbers])
    cut = memorisation_threshold(index.search([others[::2]]))
    assert is_memorised(index.search([others[1::2]]), cut).mean() < 0.02
    sample = training[:: len(training) // 50]
    for name in ("mirrored", "shifted", "noisy", "of less contrast"):
        copies = np.clip(COPIES[name](sample), 0, 255).astype(np.uint8)
        assert is_memorised(index.search([copies]), cut).mean() > 0.9, name
