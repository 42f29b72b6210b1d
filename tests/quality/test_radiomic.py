import time

import numpy as np
import pytest

from regan.quality.radiomic import FEATURE_NAMES, radiomic_features


def of(image, name):
    return radiomic_features(image[None])[0, FEATURE_NAMES.index(name)]


def disc(size=64, centre=(0.5, 0.5), radii=(0.2, 0.2), dark=40, bright=200):
    """A dark ellipse, `centre` and `radii` as (down, right), in widths."""
    place = (np.arange(size) + 0.5) / size
    inside = ((place[:, None] - centre[0]) / radii[0]) ** 2 + ((place - centre[1]) / radii[1]) ** 2 < 1
    return np.where(inside, dark, bright).astype(np.uint8)[..., None]


@pytest.mark.parametrize("size", [32, 128, 1024])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_grey_or_rgb_gives_the_same_finite_features(size, channels):
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, channels), dtype=np.uint8)
    found = radiomic_features(images)
    assert found.shape == (2, len(FEATURE_NAMES))
    assert found.dtype == np.float64
    assert np.all(np.isfinite(found))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_image_has_finite_features(level):
    found = radiomic_features(np.full((1, 32, 32, 1), level, np.uint8))
    assert np.all(np.isfinite(found))


def test_names_are_unique():
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == 108


def test_an_image_has_the_same_features_in_any_company(phantoms):
    images = phantoms(40, 0)
    together = radiomic_features(images)
    alone = np.concatenate([radiomic_features(image[None]) for image in images])
    assert np.allclose(together, alone, rtol=1e-5, atol=1e-6)
    assert np.array_equal(together, radiomic_features(images))


def test_no_images_have_no_features():
    assert radiomic_features(np.empty((0, 32, 32, 1), np.uint8)).shape == (0, len(FEATURE_NAMES))


def test_brightness_statistics_are_those_of_the_pixels():
    image = np.random.default_rng(1).integers(0, 200, (32, 32, 1), dtype=np.uint8)
    values = image.astype(float).ravel() / 255
    centred = values - values.mean()
    assert of(image, "intensity.mean") == pytest.approx(values.mean())
    assert of(image, "intensity.deviation") == pytest.approx(values.std())
    assert of(image, "intensity.skewness") == pytest.approx(np.mean(centred**3) / values.std() ** 3)
    assert of(image, "intensity.log_kurtosis") == pytest.approx(np.log(np.mean(centred**4) / values.var() ** 2))
    expected = np.quantile(values, 0.25, method="inverted_cdf")
    assert of(image, "intensity.quantile_0.25") == pytest.approx(expected)


def test_grey_as_rgb_is_grey(phantoms):
    grey = phantoms(3, 0)
    assert np.array_equal(radiomic_features(grey), radiomic_features(np.repeat(grey, 3, axis=-1)))


def test_colour_is_seen():
    image = np.full((32, 32, 3), 100, np.uint8)
    image[..., 0] = 151
    assert of(image, "colour.red_green_mean") == pytest.approx(0.2)
    assert of(image, "colour.saturation_mean") == pytest.approx(0.2)
    assert of(image, "colour.saturation_deviation") == pytest.approx(0, abs=1e-6)


def test_the_dark_region_is_measured():
    image = disc(centre=(0.4, 0.6), radii=(0.15, 0.3))
    assert of(image, "shape.y") == pytest.approx(0.4, abs=0.02)
    assert of(image, "shape.x") == pytest.approx(0.6, abs=0.02)
    assert of(image, "shape.area") == pytest.approx(np.pi * 0.15 * 0.3, rel=0.15)
    assert of(image, "shape.log_height_to_width") == pytest.approx(np.log(0.5), abs=0.1)
    assert of(image, "shape.contrast") == pytest.approx(-160 / 255, abs=0.06)
    assert of(image, "shape.ellipse_fill") == pytest.approx(1, abs=0.05)
    assert of(image, "shape.log_regions") == pytest.approx(np.log(2))
    assert of(image, "shape.border") == 0


def test_a_taller_region_is_told_from_a_wider_one():
    assert of(disc(radii=(0.3, 0.15)), "shape.log_height_to_width") > 0.5
    assert of(disc(radii=(0.15, 0.3)), "shape.log_height_to_width") < -0.5


def test_a_ragged_outline_is_less_compact():
    star = disc(radii=(0.2, 0.2))
    star[30:34, 4:60] = 40
    star[4:60, 30:34] = 40
    assert of(star, "shape.compactness") < 0.6 * of(disc(radii=(0.2, 0.2)), "shape.compactness")
    assert of(star, "shape.ellipse_fill") < 0.9


def test_a_shadow_below_the_region_is_told_from_a_brighter_band():
    shadow, band = disc(), disc()
    shadow[46:, 22:42], band[46:, 22:42] = 150, 240
    assert of(shadow, "shape.posterior") < -0.05 < 0.05 < of(band, "shape.posterior")


def test_the_middle_region_counts_more_than_a_larger_one_at_the_edge():
    image = disc(radii=(0.15, 0.15))
    image[:, :6] = 40
    assert of(image, "shape.x") == pytest.approx(0.5, abs=0.03)


def test_blur_lowers_every_detail(phantoms):
    from scipy import ndimage

    sharp = phantoms(10, 0)
    blurred = ndimage.gaussian_filter(sharp, (0, 1, 1, 0))
    for name in ("gradient.steepness", "wavelet.rows_0", "cooccurrence.contrast_1"):
        column = FEATURE_NAMES.index(name)
        assert np.all(radiomic_features(blurred)[:, column] < radiomic_features(sharp)[:, column])
    column = FEATURE_NAMES.index("autocorrelation.across_1")
    assert np.all(radiomic_features(blurred)[:, column] > radiomic_features(sharp)[:, column])


def test_stripes_have_a_direction():
    stripes = np.zeros((32, 32, 1), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 200
    assert of(stripes, "gradient.horizontal") == pytest.approx(1)
    assert of(stripes, "run.down") == 1
    assert of(stripes, "run.across") < 0.6
    assert of(stripes, "autocorrelation.across_4") == pytest.approx(1, abs=0.01)
    assert of(stripes, "autocorrelation.across_2") == pytest.approx(-1, abs=0.01)


def test_cooccurrence_of_a_checkerboard():
    board = np.indices((32, 32)).sum(axis=0) % 2
    image = (board * 255).astype(np.uint8)[..., None]
    # Beside and below every pixel lies the other level, across the corners the same one.
    assert of(image, "cooccurrence.contrast_1") == pytest.approx(0.5)
    assert of(image, "cooccurrence.homogeneity_1") == pytest.approx(0.5 + 0.5 / 8)
    assert of(image, "cooccurrence.correlation_1") == pytest.approx(0, abs=0.01)
    assert of(image, "cooccurrence.correlation_2") == pytest.approx(1)


def test_local_patterns_of_a_flat_image_are_all_of_one_kind():
    assert of(np.full((32, 32, 1), 7, np.uint8), "pattern.8") == 1


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 32, 32, 1), np.float32), np.zeros((32, 32), np.uint8), np.zeros((1, 48, 48, 1), np.uint8)],
    ids=["float", "no batch", "48 pixels"],
)
def test_other_images_are_refused(images):
    with pytest.raises(ValueError, match="multiple of 32"):
        radiomic_features(images)


def test_demo_images_are_measured_fast():
    images = np.random.default_rng(0).integers(0, 256, (600, 32, 32, 1), dtype=np.uint8)
    radiomic_features(images[:10])
    started = time.monotonic()
    radiomic_features(images)
    assert 600 / (time.monotonic() - started) > 500  # 6,000 on an idle core
