import fcntl
import json

import numpy as np
import pytest

import regan
from regan.data.history import last_step
from regan.data.imageset import ImageSetWriter
from regan.data.model import read_model, read_training_index
from regan.gan import configuration
from regan.gan.sampling import snapshots

TINY = {"base_maps": 64, "max_maps": 8, "latent_size": 8, "style_size": 8, "batch_size": 4, "snapshot_kimg": 0.1}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "train"
    folder.mkdir()
    random = np.random.default_rng(0)
    with ImageSetWriter(folder, size=32, channels=1, classes=("b", "m"), origin="real", settings={}) as writer:
        for number in range(12):
            writer.add(random.integers(0, 256, (32, 32, 1), dtype=np.uint8), "bm"[number % 2], group=f"g{number}")
    return folder


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    """A run of fifty steps of a tiny network in place of the demo's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configuration.PRESETS, "demo", configuration.PRESETS["demo"] | TINY)
        return regan.train_gan(images, tmp_path_factory.mktemp("gan") / "run", preset="demo", kimg=0.2, seed=3)


def test_a_run_holds_snapshots_log_and_what_trained_it(run, images):
    assert (run.kimg, run.num_snapshots) == (0.2, 2)
    assert len(snapshots(run.path)) == 2
    assert len((run.path / "log.jsonl").read_text().splitlines()) == 1
    assert any((run.path / "tensorboard").iterdir())
    model = read_model(run.path, "run")
    assert model["classes"] == ["b", "m"]
    assert model["configuration"]["seed"] == 3
    assert {group for _, group in read_training_index(run.path)} == {f"g{n}" for n in range(12)}


def test_history_tells_settings_figures_curves_and_samples(run):
    step = last_step(run.path)
    assert step.verb == "train_gan"
    assert step.settings["label"] == "all"
    assert step.figures["kimg"] == 0.2
    assert step.figures["num_parameters_generator"] > 0
    assert set(step.curves) == {"generator_loss", "discriminator_loss", "r1", "path_length", "real_sign", "fake_sign"}
    assert step.curves["r1"]["x_label"] == "kimg"
    assert set(step.thumbnails) == {"samples"}
    assert not step.private_thumbnails


def test_nothing_is_left_beside_a_complete_run(run):
    assert [path.name for path in run.path.parent.iterdir()] == ["run"]


def test_an_existing_run_is_not_overwritten(run, images):
    with pytest.raises(FileExistsError, match="must be new or empty"):
        regan.train_gan(images, run.path, preset="demo")


def test_images_come_from_the_generator_with_seed_psi_and_origin(run, images, tmp_path):
    made = regan.generate_images(snapshots(run.path)[-1], tmp_path / "synthetic", seeds="1-3", truncation_psi=0.7)
    assert made.num_images == 6
    index = json.loads((made.path / "imageset.json").read_text())
    assert index["counts"] == {"b": 3, "m": 3}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "cyst"}, "b, m"),
        ({"preset": "config-x"}, "demo, config-e, config-f"),
        ({"kimg": -1.0}, "`kimg` must be"),
        ({"keep_snapshots": 1}, "at least 2"),
        ({"checkpoint_uri": "gs://bucket/run"}, "local or mounted folder"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(images, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        regan.train_gan(images, tmp_path / "run", **{"preset": "demo"} | settings)
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_in_the_same_work_folder_is_refused(images, tmp_path):
    work = tmp_path / "run.checkpoint"
    work.mkdir()
    with (work / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match="Only one process"):
            regan.train_gan(images, tmp_path / "run", preset="demo")


def test_a_shorter_run_than_the_checkpoint_is_refused(images, tmp_path, monkeypatch):
    monkeypatch.setitem(configuration.PRESETS, "demo", configuration.PRESETS["demo"] | TINY)
    settings = {"preset": "demo", "checkpoint_uri": str(tmp_path / "work")}
    regan.train_gan(images, tmp_path / "run", kimg=0.2, **settings)
    with pytest.raises(ValueError, match=r"must not be less than the checkpoint has: 0\.2 kimg"):
        regan.train_gan(images, tmp_path / "shorter", kimg=0.1, **settings)
    assert not (tmp_path / "shorter").exists()
