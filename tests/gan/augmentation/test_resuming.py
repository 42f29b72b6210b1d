"""Adaptive augmentation in a real run, step by step without the compiler."""

import numpy as np
import pytest

from regan import backend
from regan.gan.augmentation.strength import SIGNS, STRENGTH
from regan.gan.configuration import configure
from regan.gan.inputs import TrainingImages
from regan.gan.log import read_log
from regan.gan.trainer import Trainer
from regan.training.checkpoint import CHECKPOINTS, load_checkpoint


class LostNodeError(Exception):
    pass


@pytest.fixture
def train(monkeypatch):
    monkeypatch.setattr(backend, "jit", lambda function: function)
    tiny = {"base_maps": 32, "max_maps": 4, "latent_size": 4, "style_size": 4, "mapping_layers": 1, "batch_size": 4}
    tiny |= {"kimg": 0.1, "snapshot_kimg": 0.1, "log_kimg": 0.004, "ada_kimg": 0.08, "ada_target": -2.0}
    config = configure("demo", size=32, channels=3, labels=("b",), augment="ada", **tiny)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)

    def start(folder, stop_after=None):
        folder.mkdir(exist_ok=True)
        trainer = Trainer(
            config,
            TrainingImages(pixels, np.zeros(9, int)),
            folder,
            classes=("b", "m"),
            configuration="nine",
            training_index=set(),
            checkpoint_seconds=0.0,
            on_step=lambda: stop(trainer),
        )

        def stop(trainer):
            if stop_after is not None and trainer.kimg >= stop_after:
                raise LostNodeError

        trainer.run()
        return load_checkpoint(folder / CHECKPOINTS, configuration="nine").state

    return start


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_the_same_strength_to_the_last_bit(train, tmp_path):
    whole = train(tmp_path / "whole")
    for stop_after in (0.024, 0.056):  # in the middle of four steps, whose signs are in the state too
        with pytest.raises(LostNodeError):
            train(tmp_path / "lost", stop_after)
    resumed = train(tmp_path / "lost")
    assert whole[STRENGTH] == pytest.approx(min(1, 6 * 4 * 4 / 80))
    assert whole[STRENGTH].tobytes() == resumed[STRENGTH].tobytes()
    assert whole[SIGNS].tobytes() == resumed[SIGNS].tobytes()
    for network in ("generator", "discriminator", "average"):
        assert all(value.tobytes() == resumed[network][path].tobytes() for path, value in whole[network].items())
    told = [line[STRENGTH] for line in read_log(tmp_path / "whole")]
    assert told == pytest.approx(np.repeat([0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0], 4)[1:26], abs=1e-6)
    assert [line[STRENGTH] for line in read_log(tmp_path / "lost")] == told
