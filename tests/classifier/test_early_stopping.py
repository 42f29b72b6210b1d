import keras
import numpy as np
import pytest

from regan.classifier.early_stopping import EarlyStopping


class Model:
    """What Keras' callbacks need of a model."""

    def __init__(self):
        self.stop_training = False
        self.optimizer = keras.optimizers.Adam(1.0)

    def get_weights(self):
        return []

    def set_weights(self, weights):
        pass


def keras_decisions(losses):
    """Best epoch so far and learning rate after each epoch, until training ends, as Keras' callbacks decide."""
    stopping = keras.callbacks.EarlyStopping("val_loss", mode="min", patience=10, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", mode="min", factor=0.1, patience=3)
    model = Model()
    for callback in (stopping, plateau):
        callback.set_model(model)
        callback.on_train_begin()
    decisions = []
    for epoch, loss in enumerate(losses):
        for callback in (stopping, plateau):
            callback.on_epoch_end(epoch, {"val_loss": float(loss)})
        decisions.append((stopping.best_epoch, float(model.optimizer.learning_rate)))
        if model.stop_training:
            break
    return decisions


def our_decisions(losses):
    watch, best, rate, decisions = EarlyStopping(), 0, 1.0, []
    for epoch, loss in enumerate(losses):
        is_best, falls = watch.update(float(loss))
        best, rate = (epoch if is_best else best), (rate * 0.1 if falls else rate)
        decisions.append((best, rate))
        if watch.should_stop:
            break
    return decisions


@pytest.mark.parametrize("seed", range(8))
def test_best_epoch_learning_rate_and_end_are_those_of_keras(seed):
    random = np.random.default_rng(seed)
    # Steps of the size of the plateau's threshold, falling at first and rising in the end; float32, as Keras compares.
    losses = np.float32(1 + np.cumsum(random.normal(np.linspace(-1e-3, 1e-3, 40), 1e-4 * 10 ** (seed % 3))))
    ours, theirs = our_decisions(losses), keras_decisions(losses)
    assert [best for best, _ in ours] == [best for best, _ in theirs]
    assert [rate for _, rate in ours] == pytest.approx([rate for _, rate in theirs])


def test_training_ends_ten_epochs_after_the_best():
    assert len(our_decisions([1.0, 0.5] + [0.6] * 30)) == 12
