import numpy as np
import pytest

from regan.common.errors import SettingError
from regan.quality.extractors import feature_extractor
from regan.quality.features import Scale, batch_size
from regan.quality.frechet import Moments, frechet_distance
from regan.quality.kernel import kernel_distance
from regan.quality.radiomic import FEATURE_NAMES, radiomic_features


def test_radiomic_features_carry_a_name_a_hash_and_their_dimension(phantoms):
    extractor = feature_extractor("radiomic")
    images = phantoms(20, 0)
    assert (extractor.name, extractor.dimension, len(extractor.hash)) == ("radiomic", len(FEATURE_NAMES), 64)
    found = extractor(iter([images[:7], images[7:7], images[7:]]))
    assert np.allclose(found, radiomic_features(images), rtol=1e-5, atol=1e-6)


def test_no_images_have_no_features():
    assert feature_extractor("radiomic")([]).shape == (0, len(FEATURE_NAMES))


def test_real_features_are_put_on_one_scale():
    real = np.random.default_rng(0).normal(5, [0.1, 100.0], size=(400, 2))
    scaled = Scale.from_features(real)(real)
    assert scaled.mean(axis=0) == pytest.approx([0, 0], abs=0.02)
    assert scaled.std(axis=0, ddof=1) == pytest.approx([1, 1], abs=0.02)


def test_no_feature_and_no_image_counts_more_than_three_deviations():
    scale = Scale.from_features([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]])
    found = scale(np.array([[1e9, 5.0], [1.0, 6.0], [1.0, 5.0005]]))
    assert found == pytest.approx(np.array([[3.0, 0.0], [0.0, 3.0], [0.0, 0.5]]))


def test_distances_grow_with_damage_and_stay_at_their_floor_without(phantoms):
    extractor = feature_extractor("radiomic")
    real, fresh = phantoms(150, 0), phantoms(100, 1)
    noise = np.random.default_rng(0).normal(size=fresh.shape)
    scale = extractor.scale(extractor([real]))
    found = []
    for strength in (0, 3, 6, 12):
        images = np.clip(fresh + strength * noise, 0, 255).astype(np.uint8)
        features = scale(extractor([images]))
        moments = Moments.from_features(scale(extractor([real]))), Moments.from_features(features)
        found.append((kernel_distance(scale(extractor([real])), features), frechet_distance(*moments)))
    kernel, frechet = [one.value for one, _ in found], [one for _, one in found]
    assert abs(kernel[0]) < 3 * found[0][0].standard_error
    assert kernel == sorted(kernel)
    assert frechet == sorted(frechet)


def test_batches_hold_at_most_16_mebibytes():
    assert [batch_size(*kind) for kind in ((32, 1), (256, 1), (1024, 3))] == [256, 256, 5]


def test_an_unknown_extractor_is_refused_with_the_known_ones():
    with pytest.raises(SettingError, match="a network of keras"):
        feature_extractor("inception-of-2015")


def test_a_folder_that_holds_no_classifier_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="classifier"):
        feature_extractor(str(tmp_path))
