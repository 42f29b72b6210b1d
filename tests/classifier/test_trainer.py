from dataclasses import replace

import keras
import numpy as np
import pytest

from regan.classifier.model import from_pixels, network_weights
from regan.classifier.pixels import PixelCache
from regan.classifier.prediction import positive_probabilities
from regan.classifier.recipes import recipe_named
from regan.classifier.start import new_network
from regan.classifier.trainer import cross_entropy, train


@pytest.fixture(scope="module")
def caches(make_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    return PixelCache([make_set(0, b=64, m=64)], folder / "training"), PixelCache(
        [make_set(1, b=30, m=30)], folder / "validation"
    )


def run(caches, make_set, *, recipe="standard", epochs, seed=0):
    plan = recipe_named(recipe)
    start = new_network(make_set(b=1, m=1), plan, backbone="small", weights="none", seed=seed)
    return start, train(start, *caches, plan, epochs=epochs, batch_size=32, seed=seed)


@pytest.fixture(scope="module")
def trained(caches, make_set):
    return run(caches, make_set, epochs=6)


def test_a_difference_that_shows_is_learnt(trained):
    _, training = trained
    assert training.validation_auc[-1] > 0.95
    assert training.training_loss[-1] < training.training_loss[0]
    assert len(training.training_loss) == len(training.validation_loss) == 6


def test_the_same_seed_gives_the_same_bytes(trained, caches, make_set):
    one, other = (network_weights(start.network) for start, _ in (trained, run(caches, make_set, epochs=6)))
    assert all(np.array_equal(one[path], other[path]) for path in one)


def test_the_answers_are_those_of_the_kept_weights(trained, caches):
    start, training = trained
    again = positive_probabilities(from_pixels(start.configuration, start.network), caches[1].batches())
    assert np.array_equal(training.probabilities, again)


@pytest.fixture(scope="module")
def contrary(caches, make_set, tmp_path_factory):
    """Validation images whose labels are swapped, so that validation grows worse while training goes well."""
    cache = PixelCache([make_set(1, b=30, m=30)], tmp_path_factory.mktemp("pixels") / "contrary")
    cache.labels = 1 - cache.labels
    return caches[0], cache


def test_the_standard_recipe_keeps_the_best_epoch(contrary, make_set):
    _, training = run(contrary, make_set, epochs=8)
    kept = cross_entropy(training.probabilities, contrary[1].labels)
    assert kept == min(training.validation_loss) < training.validation_loss[-1]


def test_the_reference_keeps_the_last_epoch(contrary, make_set):
    _, training = run(contrary, make_set, recipe="reference", epochs=8)
    kept = cross_entropy(training.probabilities, contrary[1].labels)
    assert kept == training.validation_loss[-1] > min(training.validation_loss)


def test_training_stops_ten_epochs_after_the_best(contrary, make_set):
    _, training = run(contrary, make_set, epochs=50)
    assert len(training.validation_loss) == np.argmin(training.validation_loss) + 1 + 10 < 50


def test_a_loss_that_is_no_number_ends_training_with_a_reason(caches, make_set):
    plan = recipe_named("standard")
    start = new_network(make_set(b=1, m=1), plan, backbone="small", weights="none", seed=0)
    with pytest.raises(ValueError, match=r"loss must stay finite. In epoch 1"):
        train(replace(start, learning_rate=np.inf), *caches, plan, epochs=1, batch_size=32, seed=0)


def test_cross_entropy_is_that_of_keras():
    probabilities, labels = np.array([0.1, 0.8, 1.0, 0.0]), np.array([0, 1, 1, 1])
    expected = keras.losses.SparseCategoricalCrossentropy()(labels, np.stack([1 - probabilities, probabilities], 1))
    assert cross_entropy(probabilities, labels) == pytest.approx(float(expected), rel=1e-4)
