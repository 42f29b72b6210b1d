"""Real trainings that are made to collapse, step by step without the compiler."""

import dataclasses
import shutil

import numpy as np
import pytest
from keras import ops

import regan
from regan import backend
from regan.cli import main
from regan.common.errors import TrainingDivergedError
from regan.gan.configuration import PRESETS, configure
from regan.gan.inputs import TrainingImages
from regan.gan.log import read_log
from regan.gan.sampling import Generator, snapshots
from regan.gan.trainer import Trainer
from regan.training.checkpoint import CHECKPOINTS, load_checkpoint

TINY = {"base_maps": 32, "max_maps": 4, "latent_size": 4, "style_size": 4, "mapping_layers": 1, "batch_size": 20}
TINY |= {"kimg": 0.1, "snapshot_kimg": 0.1, "log_kimg": 0.02}


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch):
    monkeypatch.setattr(backend, "jit", lambda function: function)


def trainer_of(folder, pixels=None, **changes):
    config = dataclasses.replace(configure("demo", size=32, channels=1, labels=("b",), **TINY), **changes)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 1), dtype=np.uint8) if pixels is None else pixels
    settings = {"classes": ("b", "m"), "configuration": "nine", "training_index": set()}
    return Trainer(config, TrainingImages(pixels, np.zeros(9, int)), folder, **settings)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Work folder of a run of five steps that went well."""
    folder = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "jit", lambda function: function)
        trainer_of(folder).run()
    return folder


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "work")


def require_last_good_state(folder, sound):
    """What the run had before it collapsed is there, and nothing of what came after."""
    assert [path.name for path in snapshots(folder)] == ["kimg-000000.1"]
    assert np.isfinite(np.stack(list(Generator.load(snapshots(folder)[0]).images(range(4), "b")))).all()
    last, before = (load_checkpoint(place / CHECKPOINTS, configuration="nine") for place in (folder, sound))
    assert last.step == before.step == 5
    assert all(np.isfinite(value).all() for value in last.state["generator"].values())


def test_an_absurd_learning_rate_ends_the_run_and_keeps_what_was_good(folder, sound):
    with pytest.raises(TrainingDivergedError, match=r"(_loss|r1|path_\w+)=(\d|nan|inf)"):
        trainer_of(folder, kimg=0.3, learning_rate=1e6).run()
    require_last_good_state(folder, sound)


@pytest.mark.slow
def test_an_exploding_path_length_ends_the_run(folder, sound):
    trainer = trainer_of(folder, kimg=0.3, learning_rate=1e-12, r1_gamma=1e-12)
    restore = trainer._restore

    def restore_with_huge_images():
        restore()
        for network, end, factor in (
            ("generator", "_image/convolution/kernel", 1e6),
            ("discriminator", "score/kernel", 0.0),
        ):
            weights = trainer._state[network]
            assert any(path.endswith(end) for path in weights)
            trainer._state[network] = {p: v * factor if p.endswith(end) else v for p, v in weights.items()}

    trainer._restore = restore_with_huge_images
    with pytest.raises(TrainingDivergedError, match="path_length="):
        trainer.run()
    require_last_good_state(folder, sound)


@pytest.mark.slow
def test_a_discriminator_that_wins_outright_ends_the_run(folder, sound):
    # A generator that no longer learns, against a discriminator that nothing holds back.
    white = np.full((9, 32, 32, 1), 255, np.uint8)
    trainer = trainer_of(
        folder, white, kimg=0.5, snapshot_kimg=0.5, learning_rate=0.05, r1_gamma=1e-12, path_weight=0.0
    )
    phase = trainer._phases.generator
    trainer._phases.generator = lambda state, batch: ({}, phase(state, batch)[1])
    with pytest.raises(TrainingDivergedError, match="The discriminator has won"):
        trainer.run()
    lines = read_log(folder)[-5:]
    assert all(line["real_sign"] == 1 and line["fake_sign"] == -1 for line in lines)
    assert all(line["generator_loss"] > 10 for line in lines)
    require_last_good_state(folder, sound)


def test_weights_that_are_not_finite_are_never_written(folder, sound):
    trainer = trainer_of(folder, kimg=0.3)
    average = trainer._phases.average

    def broken(state, decay):
        return {
            "average": {path: value * np.float32("nan") for path, value in average(state, decay)["average"].items()}
        }

    trainer._phases.average = broken
    with pytest.raises(TrainingDivergedError, match="contains NaN or infinity"):
        trainer.run()
    require_last_good_state(folder, sound)


def test_the_command_ends_with_status_one_and_says_why(tmp_path, monkeypatch, capsys):
    for name, value in (TINY | {"learning_rate": 1e6, "batch_size": 4, "log_kimg": 0.004}).items():
        monkeypatch.setitem(PRESETS["demo"], name, value)
    regan.phantom(tmp_path / "images", per_class=4, size=32)
    assert main(["train_gan", str(tmp_path / "images"), str(tmp_path / "run"), "--preset", "demo"]) == 1
    assert "regan train_gan: Training diverged: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run.checkpoint").is_dir()


def test_a_snapshot_that_cannot_be_measured_is_kept_and_training_goes_on(tmp_path, caplog):
    trainer = trainer_of(tmp_path)

    def fails(path, kimg):
        assert load_checkpoint(tmp_path / CHECKPOINTS, configuration="nine").step == 5  # the state is kept before
        raise ValueError("no features")

    trainer.on_snapshot = fails
    assert trainer.run().kimg == 0.1
    assert len(snapshots(tmp_path)) == 1
    assert "could not be measured. Training continues. no features" in caplog.text


def test_the_log_and_tensorboard_show_all_that_there_is_to_see(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = trainer_of(tmp_path, ada=True)
    trainer.on_snapshot = lambda path, kimg: {"kernel_distance": 0.25, "kimg_seen": kimg}
    trainer.run()
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    names = {"generator_loss", "discriminator_loss", "real_sign", "fake_sign", "path_length", "path_penalty", "r1"}
    names |= {"augmentation_strength", "images_per_second", "seconds_per_kimg", "seconds_left", "waited_for_inputs"}
    names |= {"host_memory_gb"}
    assert names <= set(shown.Tags()["scalars"])
    assert {name for line in read_log(tmp_path) for name in line} >= names | {"kimg"}
    assert [event.value for event in shown.Scalars("snapshot/kernel_distance")] == [0.25]
    assert shown.Scalars("snapshot/kimg_seen")[0].value == pytest.approx(0.1)
    assert shown.Images("samples")[0].step == 100
    assert read_log(tmp_path)[-1]["seconds_left"] == 0
    assert ops.convert_to_numpy(trainer._state["augmentation_strength"]) >= 0
