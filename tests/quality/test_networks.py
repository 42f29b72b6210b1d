import numpy as np
import pytest

from regan.common.errors import MissingWeightsError, SettingError, WrongArtifactError
from regan.quality.extractors import feature_extractor


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of MobileNet up to its first block, saved as Keras saves its own."""
    import keras

    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(224, 224, 3))
    network = keras.Model(base.input, base.get_layer("conv_pw_1_relu").output)
    path = tmp_path_factory.mktemp("weights") / "first.weights.h5"
    network.save_weights(path)
    return path, network


def test_a_network_gives_the_mean_over_places_of_a_layer(weights):
    path, network = weights
    extractor = feature_extractor(f"MobileNet/conv_pw_1_relu:{path}")
    assert (extractor.name, extractor.dimension) == ("MobileNet/conv_pw_1_relu", 64)
    image = np.full((1, 32, 32, 1), 51, np.uint8)
    inputs = np.full((1, 224, 224, 3), 51 / 127.5 - 1, np.float32)
    expected = np.asarray(network(inputs)).mean(axis=(1, 2))
    assert extractor([image]) == pytest.approx(expected, abs=1e-4)


def test_features_do_not_depend_on_the_batch(weights):
    extractor = feature_extractor(f"MobileNet/conv_pw_1_relu:{weights[0]}")
    images = np.random.default_rng(0).integers(0, 256, (35, 32, 32, 3), dtype=np.uint8)
    together = extractor([images])
    assert together.shape == (35, 64)
    assert np.allclose(together, extractor(iter([images[:3], images[3:]])), atol=1e-4)
    assert np.array_equal(extractor.scale(together)(together), together)


def test_the_hash_is_that_of_the_weights(weights, tmp_path):
    path, network = weights
    one, same = (feature_extractor(f"MobileNet/conv_pw_1_relu:{path}").hash for _ in range(2))
    changed = network.get_weights()
    network.set_weights([values + 1e-3 for values in changed])
    network.save_weights(tmp_path / "other.weights.h5")
    network.set_weights(changed)
    other = feature_extractor(f"MobileNet/conv_pw_1_relu:{tmp_path / 'other.weights.h5'}").hash
    assert one == same != other
    assert len(one) == 64


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ("MobileNet/no_such_layer:{path}", SettingError, "no layer 'no_such_layer'"),
        ("MobileNet/conv_pw_2_relu:{path}", WrongArtifactError, "does not match the network"),
        ("MobileNet:missing.weights.h5", MissingWeightsError, "missing.weights.h5"),
    ],
)
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_what_does_not_fit_is_refused(weights, features, error, message):
    with pytest.raises(error, match=message):
        feature_extractor(features.format(path=weights[0]))


def test_pretrained_features_tell_real_ultrasound_from_noise(test_data):
    from PIL import Image

    path = test_data / "mobilenet_imagenet" / "mobilenet_v1_1.0_224_trunc12.weights.h5"
    if not path.is_file():
        pytest.skip(f"needs {path.name} in the folder of real images")
    extractor = feature_extractor(f"MobileNet/conv_pw_12_relu:{path}")
    assert extractor.dimension == 1024
    files = sorted((test_data / "busi" / "benign").glob("*.png"))[:24]
    real = np.stack([np.asarray(Image.open(file).convert("L").resize((64, 64)))[..., None] for file in files])
    noise = np.random.default_rng(0).integers(0, 256, real.shape, dtype=np.uint8)
    first, second, other = extractor([real[:12]]), extractor([real[12:]]), extractor([noise])
    assert np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) < np.linalg.norm(
        first.mean(axis=0) - other.mean(axis=0)
    )
