"""Runs of a tiny network, most of them uncompiled: outputs, refusals and interruptions."""

import json
import logging
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import regan
from regan.artifacts.history import last_step
from regan.artifacts.image_set import ImageSet
from regan.artifacts.model import read_model, read_training_index, weights_hash
from regan.verbs.train_gan import TrainedGan
from tests.verbs.tiny_training import process, tiny_preset, wait_until

NUM_STEPS = 6
NAMES = ["kimg-000000.1", "kimg-000000.2", "kimg-000000.3"]
LOSSES = ("generator_loss", "discriminator_loss", "r1", "path_length", "real_sign", "fake_sign")


@pytest.fixture(scope="module", autouse=True)
def uncompiled() -> Iterator[None]:
    with tiny_preset():
        yield


@dataclass
class Finished:
    """An uninterrupted run, and the work folder that it left in `checkpoint_uri`."""

    trained: TrainedGan
    images: Path
    work: Path
    copied: Path | None = None

    def copy_work(self, folder: Path) -> str:
        """A `checkpoint_uri` with a copy of the work folder."""
        self.copied = folder / "all" / self.work.name
        shutil.copytree(self.work, self.copied)
        return str(folder)


@pytest.fixture(scope="module")
def finished(labelled_set, tmp_path_factory) -> Finished:
    folder, images = tmp_path_factory.mktemp("finished"), labelled_set(0, b=7, m=5)
    trained = regan.train_gan(images, folder / "run", preset="tiny", checkpoint_uri=str(folder / "work"))
    (work,) = (folder / "work" / "all").iterdir()
    return Finished(trained, images, work)


@contextmanager
def one_place_for_all(name: str) -> Iterator[None]:
    """Every training looks where one of them is at home, as if its folder had been renamed each time."""
    from regan.training import workspace

    checkpoint_location = workspace.checkpoint_location
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            workspace,
            "checkpoint_location",
            lambda uri, label, identity: checkpoint_location(uri, label, identity and name),
        )
        yield


def hashes(run: Path) -> dict[str, str]:
    return {path.name: weights_hash(path) for path in sorted((run / "snapshots").iterdir())}


OF_THE_MACHINE = ("images_per_second", "waited_for_inputs", "seconds_per_kimg", "seconds_left", "host_memory_gb")


def log_lines(run: Path, *, timed: bool = True) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    times = () if timed else OF_THE_MACHINE
    return [{name: value for name, value in line.items() if name not in times} for line in lines]


def checkpoints(work: Path) -> list[Path]:
    return sorted((work / "checkpoints").glob("step-*"))


def steps_done(path: Path) -> int:
    return int(path.name.split("-")[1])


@pytest.fixture
def resumed_at(caplog) -> Callable[[], float]:
    """Function that tells at what kimg the last training went on, as it said in its first line."""
    caplog.set_level(logging.INFO, "regan")
    return lambda: float(re.findall(r"([\d.]+) of [\d.]+ kimg done", caplog.text)[-1])


def test_a_run_tells_what_it_is_and_holds_every_snapshot(finished):
    trained = finished.trained
    assert (trained.kimg, trained.num_snapshots) == (0.312, 3)
    assert trained.seconds > 0

    model = read_model(trained.path, "run")
    assert model["labels"] == model["classes"] == ["b", "m"]
    assert (model["size"], model["channels"], model["kimg"], model["preset"]) == (32, 1, 0.312, "tiny")
    assert model["configuration"]["batch_size"] == 52

    from regan.gan.sampling import Generator, snapshots

    found = snapshots(trained.path)
    assert [path.name for path in found] == NAMES
    assert [Generator.load(path).kimg for path in found] == [0.104, 0.208, 0.312]
    assert len(set(hashes(trained.path).values())) == 3
    last = Generator.load(found[-1])
    assert (last.labels, last.classes, last.conditional) == (("b", "m"), ("b", "m"), True)
    assert {path.name for path in trained.path.iterdir()} == {
        "model.json",
        "snapshots",
        "log.jsonl",
        "tensorboard",
        "training_index.csv.gz",
        "history",
    }
    assert list((trained.path / "tensorboard").glob("events*"))


def test_the_log_has_a_line_of_means_for_every_interval(finished):
    lines = log_lines(finished.trained.path)
    assert [line["kimg"] for line in lines] == [0.104, 0.208, 0.312]
    for line in lines:
        assert np.isfinite([line[name] for name in ("generator_loss", "discriminator_loss", "r1")]).all()
        assert -1 <= line["fake_sign"] <= 1
        assert line["images_per_second"] > 0
    # Path lengths are computed at steps 0 and 3 of six.
    assert ["path_length" in line for line in lines] == [True, True, False]


def test_run_and_snapshots_carry_the_index_of_the_images(finished):
    expected = {(row.sha256, row.group) for row in ImageSet.open(finished.images).rows}
    assert len(expected) == 12
    assert read_training_index(finished.trained.path) == expected
    assert all(read_training_index(finished.trained.path / "snapshots" / name) == expected for name in NAMES)


def test_the_history_tells_settings_figures_curves_and_samples(finished):
    step = last_step(finished.trained.path)
    assert (step.verb, step.settings["label"], step.settings["preset"]) == ("train_gan", "all", "tiny")
    assert (step.settings["seed"], step.settings["batch_size"], step.settings["kimg"]) == (0, 52, 0.3)
    assert step.figures["kimg"] == 0.312
    assert step.figures["images_per_second"] == pytest.approx(312 / finished.trained.seconds)
    assert step.figures["num_parameters_generator"] > 100
    assert step.figures["num_parameters_discriminator"] > 100
    assert set(step.curves) == set(LOSSES)
    lines = log_lines(finished.trained.path)
    for name in LOSSES:
        points = [(line["kimg"], line[name]) for line in lines if name in line]
        assert np.column_stack([step.curves[name]["x"], step.curves[name]["y"]]) == pytest.approx(np.array(points))
    assert step.thumbnails["samples"].startswith(b"\x89PNG")


def test_a_given_work_folder_is_named_by_label_configuration_and_images_and_kept(finished):
    assert finished.work == finished.work.parents[2] / "work" / "all" / finished.work.name
    assert re.fullmatch("[0-9a-f]{16}", finished.work.name)
    assert [steps_done(path) for path in checkpoints(finished.work)] == [4, 6]
    assert not finished.trained.path.with_name("run.checkpoint").exists()


def test_one_class_is_learnt_alone_and_the_output_appears_when_all_is_done(labelled_set, tmp_path, monkeypatch):
    from regan.gan.log import TrainingLog

    images = labelled_set(0, b=3, m=5, origin="synthetic", training_index=[("real", "patient")])
    run, work, seen = tmp_path / "run", tmp_path / "run.checkpoint", []
    flush = TrainingLog.flush

    def note(self, *arguments, **more):
        seen.append((run.exists(), work.is_dir()))
        return flush(self, *arguments, **more)

    monkeypatch.setattr(TrainingLog, "flush", note)
    trained = regan.train_gan(images, run, label="m", preset="tiny", kimg=0.1)

    assert set(seen) == {(False, True)}
    assert list(tmp_path.iterdir()) == [run]
    assert (trained.kimg, trained.num_snapshots) == (0.104, 1)
    model = read_model(run, "run")
    assert (model["labels"], model["classes"]) == (["m"], ["b", "m"])
    assert last_step(run).settings["label"] == "m"
    rows = ImageSet.open(images).with_label("m")
    assert read_training_index(run) == {(row.sha256, row.group) for row in rows} | {("real", "patient")}
    assert read_model(run / "snapshots" / NAMES[0], "generator")["labels"] == ["m"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "x"}, "no class 'x'. Set `label` to one of its classes: b, m"),
        ({"keep_snapshots": 1}, "keep_snapshots=1 is too small: use 2 or more"),
        ({"checkpoint_uri": "ftp://host/work"}, "Unsupported URI ftp://host/work: use"),
        ({"checkpoint_minutes": 0.0}, "`checkpoint_minutes` must be more than 0"),
        ({"preset": "huge"}, "one of demo, config-e, config-f.*'huge'"),
        ({"kimg": -1.0}, "`kimg` must be.*-1"),
        ({"mapping_layers": -1}, "`mapping_layers` must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(changes, message, finished, tmp_path):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        regan.train_gan(finished.images, tmp_path / "run", **{"preset": "tiny"} | changes)
    assert list(tmp_path.iterdir()) == []


def test_a_class_without_images_is_refused(labelled_set, tmp_path):
    with pytest.raises(ValueError, match=r"^No images of class 'm'"):
        regan.train_gan(labelled_set(0, b=3, m=0), tmp_path / "run", label="m", preset="tiny")


def test_an_output_that_holds_something_is_refused_and_left_alone(finished, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        regan.train_gan(finished.images, tmp_path / "run", preset="tiny")
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "notes.txt"]


def test_a_checkpoint_of_another_seed_or_of_other_images_is_refused(finished, labelled_set, tmp_path, resumed_at):
    uri = finished.copy_work(tmp_path / "work")
    before = [path.name for path in checkpoints(finished.copied)]
    for images, seed in ((finished.images, 1), (labelled_set(1, b=7, m=5), 0)):
        with (
            one_place_for_all(finished.work.name),
            pytest.raises(ValueError, match="belongs to another configuration or other images"),
        ):
            regan.train_gan(images, tmp_path / "run", preset="tiny", checkpoint_uri=uri, seed=seed)
    assert not (tmp_path / "run").exists()
    assert [path.name for path in checkpoints(finished.copied)] == before

    # The right ones still find what they wrote, and have nothing left to do.
    again = regan.train_gan(finished.images, tmp_path / "run", preset="tiny", checkpoint_uri=uri)
    assert resumed_at() == 0.312
    assert hashes(again.path) == hashes(finished.trained.path)


def test_a_torn_checkpoint_is_left_aside_for_the_one_before(finished, tmp_path, resumed_at, caplog):
    uri = finished.copy_work(tmp_path / "work")
    newest = checkpoints(finished.copied)[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    again = regan.train_gan(finished.images, tmp_path / "run", preset="tiny", checkpoint_uri=uri)
    assert f"{newest.name} is corrupt" in caplog.text
    assert resumed_at() == 0.208
    assert hashes(again.path) == hashes(finished.trained.path)
    assert log_lines(again.path, timed=False) == log_lines(finished.trained.path, timed=False)


def test_a_longer_run_goes_on_from_a_finished_one_and_keeps_so_many_snapshots(finished, tmp_path, resumed_at):
    uri = finished.copy_work(tmp_path / "work")
    longer = regan.train_gan(
        finished.images, tmp_path / "run", preset="tiny", kimg=0.4, keep_snapshots=2, checkpoint_uri=uri
    )
    assert resumed_at() == 0.312
    assert (longer.kimg, longer.num_snapshots) == (0.416, 2)
    assert list(hashes(longer.path)) == [NAMES[0], "kimg-000000.4"]
    assert hashes(longer.path)[NAMES[0]] == hashes(finished.trained.path)[NAMES[0]]


def test_a_shorter_run_than_the_checkpoint_is_refused(finished, tmp_path):
    with pytest.raises(ValueError, match=r"`kimg` is less than the checkpoint in .* has already"):
        regan.train_gan(
            finished.images,
            tmp_path / "run",
            preset="tiny",
            kimg=0.1,
            checkpoint_uri=finished.copy_work(tmp_path / "work"),
        )
    assert not (tmp_path / "run").exists()


def test_a_second_process_in_one_work_folder_is_refused(finished, tmp_path):
    run, held, messages = tmp_path / "run", tmp_path / "run.checkpoint" / "images.npy", tmp_path / "messages"
    # Compiled: the process holds the folder before it loads the framework, and is ended before it trains.
    with process("train_gan", finished.images, run, messages=messages, compiled=True, preset="tiny") as started:
        wait_until(held.exists, started, messages)
        with pytest.raises(RuntimeError, match=r"Another process is training in .*run.checkpoint"):
            regan.train_gan(finished.images, run, preset="tiny")
        assert started.poll() is None


def test_a_killed_run_goes_on_to_the_same_bits(finished, tmp_path, resumed_at):
    run, work, messages = tmp_path / "run", tmp_path / "run.checkpoint", tmp_path / "messages"
    with process("train_gan", finished.images, run, messages=messages, preset="tiny") as started:
        wait_until(lambda: checkpoints(work), started, messages)
        started.send_signal(signal.SIGKILL)
        assert started.wait() == -signal.SIGKILL
    assert not run.exists()

    again = regan.train_gan(finished.images, run, preset="tiny")
    assert 0.1 < resumed_at() < 0.3
    assert hashes(run) == hashes(finished.trained.path)
    assert log_lines(run, timed=False) == log_lines(finished.trained.path, timed=False)
    assert (again.kimg, again.num_snapshots) == (0.312, 3)
    assert not work.exists()


def test_sigterm_keeps_the_step_in_hand_and_the_same_command_goes_on(finished, tmp_path, resumed_at):
    run, work, messages = tmp_path / "run", tmp_path / "run.checkpoint", tmp_path / "messages"
    with process("train_gan", finished.images, run, messages=messages, preset="tiny") as started:
        # The first files of the loop, in its first step: no snapshot brings a checkpoint yet.
        wait_until((work / "tensorboard").exists, started, messages)
        started.send_signal(signal.SIGTERM)
        assert started.wait(timeout=120) == 1
    assert "Run the same command again to resume" in messages.read_text()
    assert not run.exists()
    kept = checkpoints(work)[-1]
    assert 1 <= steps_done(kept) < NUM_STEPS

    regan.train_gan(finished.images, run, preset="tiny")
    assert resumed_at() == steps_done(kept) * 0.052
    assert hashes(run) == hashes(finished.trained.path)


def test_tensorboard_shows_the_distances_of_each_snapshot_that_select_snapshot_finds(labelled_set, tmp_path, caplog):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    images = labelled_set(0, b=9, m=8)
    with caplog.at_level(logging.INFO, "regan"):
        run = regan.train_gan(images, tmp_path / "run", preset="tiny", kimg=0.2, features="radiomic").path
    settings = {"features": "radiomic", "num_images": 2000, "truncation_psi": 1.0, "seed": 0}
    regan.select_snapshot(run, images, tmp_path / "generator", **settings)
    rows = last_step(tmp_path / "generator").tables["distances"]
    assert len(rows) == 2
    shown = EventAccumulator(str(run / "tensorboard")).Reload()
    for name in ("kernel_distance", "frechet_distance"):
        values = [event.value for event in shown.Scalars(f"snapshot/{name}")]
        assert values == pytest.approx([row[name] for row in rows], rel=1e-5)
        assert values[0] != values[1]
    assert caplog.text.count("Snapshot of 0.") == 2


def test_another_batch_size_and_r1_gamma_make_another_training(labelled_set, tmp_path):
    settings = {"batch_size": 48, "r1_gamma": 3.5, "kimg": 0.1}
    run = regan.train_gan(labelled_set(0, b=7, m=5), tmp_path / "run", preset="tiny", **settings)
    written = read_model(run.path, "run")["configuration"]
    assert (written["batch_size"], written["r1_gamma"]) == (48, 3.5)
    assert run.kimg == 0.144


def test_a_start_from_elsewhere_is_another_training(finished, tmp_path):
    uri = finished.copy_work(tmp_path / "work")
    start = str(finished.trained.path / "snapshots" / NAMES[0])
    again = regan.train_gan(finished.images, tmp_path / "run", preset="tiny", checkpoint_uri=uri, start_uri=start)
    assert len(list(finished.copied.parent.iterdir())) == 2
    assert hashes(again.path) != hashes(finished.trained.path)


def test_a_class_of_two_without_images_is_refused(labelled_set, tmp_path):
    with pytest.raises(ValueError, match=r"^No images of class 'm'"):
        regan.train_gan(labelled_set(0, b=7, m=0), tmp_path / "run", preset="tiny")
    assert not (tmp_path / "run").exists()


def test_distances_of_too_few_images_are_refused_before_training(finished, tmp_path):
    with pytest.raises(ValueError, match="too few real images of class"):
        regan.train_gan(finished.images, tmp_path / "run", preset="tiny", features="radiomic")
    assert not (tmp_path / "run").exists()
