import signal
from dataclasses import replace

import keras
import numpy as np
import pytest

from regan.classifier.initial_network import new_network
from regan.classifier.model import from_pixels, network_weights
from regan.classifier.pixels import PixelCache
from regan.classifier.prediction import positive_probabilities
from regan.classifier.recipes import find_recipe
from regan.classifier.trainer import Checkpointing, cross_entropy, train
from regan.common.errors import SettingError, TrainingDivergedError, TrainingStoppedError
from regan.training.checkpoint import newest_step


@pytest.fixture(scope="module")
def caches(make_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    return PixelCache([make_set(0, b=64, m=64)], folder / "training"), PixelCache(
        [make_set(1, b=30, m=30)], folder / "validation"
    )


def run(caches, make_set, *, recipe="standard", epochs, seed=0, checkpointing=None):
    plan = find_recipe(recipe)
    start = new_network(make_set(b=1, m=1), plan, backbone="small", weights="none", seed=seed)
    return start, train(start, *caches, plan, epochs=epochs, batch_size=32, seed=seed, checkpointing=checkpointing)


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
    plan = find_recipe("standard")
    start = new_network(make_set(b=1, m=1), plan, backbone="small", weights="none", seed=0)
    with pytest.raises(TrainingDivergedError, match=r"loss of the classifier is not finite: in epoch 1"):
        train(replace(start, learning_rate=np.inf), *caches, plan, epochs=1, batch_size=32, seed=0)


def test_cross_entropy_is_that_of_keras():
    probabilities, labels = np.array([0.1, 0.8, 1.0, 0.0]), np.array([0, 1, 1, 1])
    expected = keras.losses.SparseCategoricalCrossentropy()(labels, np.stack([1 - probabilities, probabilities], 1))
    assert cross_entropy(probabilities, labels) == pytest.approx(float(expected), rel=1e-4)


class KilledError(Exception):
    pass


def killed_after(steps):
    """A function that ends the training after so many steps, as a kill does."""
    left = iter(range(steps, -1, -1))

    def step():
        if next(left) == 0:
            raise KilledError

    return step


@pytest.mark.parametrize("recipe", ["standard", "reference"])
def test_a_training_killed_anywhere_in_an_epoch_goes_on_to_the_same_bits(contrary, make_set, tmp_path, recipe):
    # Contrary labels: the best epoch lies behind, the learning rate falls, and training ends early.
    whole, expected = run(contrary, make_set, recipe=recipe, epochs=14)
    for steps in (1, 3, 4, 14, 0):  # four steps an epoch
        settings = Checkpointing(tmp_path, "a", seconds=0.0, on_step=killed_after(steps) if steps else lambda: None)
        if steps:
            with pytest.raises(KilledError):
                run(contrary, make_set, recipe=recipe, epochs=14, checkpointing=settings)
        else:
            start, training = run(contrary, make_set, recipe=recipe, epochs=14, checkpointing=settings)
    assert_same(network_weights(start.network), network_weights(whole.network))
    assert_same(vars(training), vars(expected))


def test_a_complete_training_is_not_trained_again(contrary, make_set, tmp_path):
    first, expected = run(contrary, make_set, epochs=3, checkpointing=Checkpointing(tmp_path, "a"))
    settings = Checkpointing(tmp_path, "a", on_step=killed_after(0))
    start, training = run(contrary, make_set, epochs=3, checkpointing=settings)
    assert_same(network_weights(start.network), network_weights(first.network))
    assert_same(vars(training), vars(expected))


def test_a_training_may_be_made_longer_but_not_shorter(contrary, make_set, tmp_path):
    whole, _ = run(contrary, make_set, epochs=4)
    run(contrary, make_set, epochs=2, checkpointing=Checkpointing(tmp_path, "a"))
    start, _ = run(contrary, make_set, epochs=4, checkpointing=Checkpointing(tmp_path, "a"))
    assert_same(network_weights(start.network), network_weights(whole.network))
    with pytest.raises(SettingError, match=r"`epochs` is less than the checkpoint in .* has already: 4"):
        run(contrary, make_set, epochs=3, checkpointing=Checkpointing(tmp_path, "a"))


def test_sigterm_keeps_the_step_in_hand_also_in_validation(contrary, make_set, tmp_path):
    whole, _ = run(contrary, make_set, epochs=2)
    # Told after step 2 it stops after step 3; going on, told after step 4, the last of the epoch, before validation.
    for calls, stopped_after in ((2, 3), (1, 4)):
        left = iter(range(calls - 1, -10, -1))

        def told(left=left):
            if next(left) == 0:
                signal.raise_signal(signal.SIGTERM)

        with pytest.raises(TrainingStoppedError, match="Run the same command again"):
            run(contrary, make_set, epochs=2, checkpointing=Checkpointing(tmp_path, "a", on_step=told))
        assert newest_step(tmp_path) == stopped_after
    start, _ = run(contrary, make_set, epochs=2, checkpointing=Checkpointing(tmp_path, "a"))
    assert_same(network_weights(start.network), network_weights(whole.network))


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not np.array_equal(one[name], other[name])] == []
