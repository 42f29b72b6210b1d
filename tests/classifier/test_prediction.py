from dataclasses import asdict

import keras
import numpy as np
import pytest

from regan.artifacts.model import write_model
from regan.classifier.model import Configuration, build_network, from_pixels, network_weights
from regan.classifier.prediction import Classifier

CONFIGURATION = Configuration("small", 32, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 1), dtype=np.uint8)


def write(folder, network):
    metadata = {"configuration": asdict(CONFIGURATION), "classes": ["b", "m"], "threshold": 0.25}
    write_model(folder, kind="classifier", weights=network_weights(network), metadata=metadata)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return build_network(CONFIGURATION)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory, network):
    folder = tmp_path_factory.mktemp("classifier")
    write(folder, network)
    return Classifier.load(folder)


def test_a_loaded_classifier_answers_as_the_network_that_was_stored(classifier, network):
    expected = from_pixels(CONFIGURATION, network).predict_on_batch(IMAGES)[:, 1]
    np.testing.assert_allclose(classifier.probabilities([IMAGES]), expected, rtol=1e-5)
    assert (classifier.classes, classifier.positive_class, classifier.threshold) == (("b", "m"), "m", 0.25)
    assert (classifier.size, classifier.channels) == (32, 1)


def test_loading_twice_gives_the_same_bytes(classifier, network, tmp_path):
    write(tmp_path, network)
    other = Classifier.load(tmp_path)
    assert other.hash == classifier.hash
    assert np.array_equal(other.probabilities([IMAGES]), classifier.probabilities([IMAGES]))


@pytest.mark.parametrize("batch_size", [1, 7, 64, 299])
def test_the_answers_do_not_depend_on_the_batch_size(classifier, batch_size):
    batches = [IMAGES[start : start + batch_size] for start in range(0, len(IMAGES), batch_size)]
    assert np.array_equal(classifier.probabilities(batches), classifier.probabilities([IMAGES]))


def test_batches_are_taken_as_a_stream(classifier):
    taken = []

    def stream():
        for start in range(0, 300, 100):
            taken.append(start)
            yield IMAGES[start : start + 100]

    assert classifier.probabilities(stream()).dtype == np.float64
    assert taken == [0, 100, 200]


def test_no_image_gives_no_answer(classifier):
    assert classifier.probabilities([]).shape == (0,)


def test_features_are_those_that_the_last_layer_sees(classifier):
    features = classifier.features([IMAGES])
    kernel, bias = classifier.network.layers[-1].get_weights()
    logits = features @ kernel + bias
    assert features.shape == (300, kernel.shape[0])
    np.testing.assert_allclose(
        classifier.probabilities([IMAGES]), 1 / (1 + np.exp(logits[:, 0] - logits[:, 1])), rtol=1e-4
    )


def test_a_model_of_another_kind_is_refused(tmp_path):
    write_model(tmp_path, kind="generator", weights={}, metadata={})
    with pytest.raises(ValueError, match="is not a classifier"):
        Classifier.load(tmp_path)
