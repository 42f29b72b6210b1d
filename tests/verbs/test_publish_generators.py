"""`publish_images` keeps the generators of a release, where the next training may start from them."""

import importlib.util
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

import regan
from regan.artifacts import model
from regan.artifacts.history import last_step, write_step
from regan.artifacts.image_set import file_hash
from regan.artifacts.model import read_model, read_training_index, weights_hash, write_model
from regan.common.errors import ConflictError
from regan.storage import fetch_latest, latest, push_latest
from tests.servers.start import s3_server, use_s3


def load_study():
    path = Path(__file__).parents[1] / "report" / "study.py"
    spec = importlib.util.spec_from_file_location("study_for_generators", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


study = load_study()


def generator(folder, labels, value=1.0):
    """A generator as `select_snapshot` writes it, whose history shows a patient."""
    folder.mkdir(parents=True)
    metadata = {"labels": labels, "size": 32, "channels": 1, "licence": "Weights Licence-NC"}
    if value == 1:  # one with a discriminator, as `import_nvidia` writes it
        (folder / "discriminator.safetensors").write_bytes(b"weights")
        metadata["discriminator"] = file_hash(folder / "discriminator.safetensors")
    write_model(
        folder,
        kind="generator",
        weights={"w": np.full(3, value, np.float32)},
        metadata=metadata,
        training_index=study.TRAINING_INDEX,
    )
    (folder / "distances.csv").write_text("kimg\n1\n")
    patient = {"benign": np.zeros((32, 32), np.uint8)}
    write_step(folder, "select_snapshot", {}, settings={}, private_thumbnails=patient, seconds=0)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study whose images one generator made, and that generator."""
    root = tmp_path_factory.mktemp("study")
    one = generator(root / "one", ["benign", "malignant"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "GENERATOR", weights_hash(one))
        made = study.build_study(root / "study", per_sheet=1, num_test=40)
        failed = study.build_study(root / "failed", per_sheet=1, num_test=40, audit_verdict="failed")
    for each in (made, failed):
        each["report"] = each["audit"].parent / "report"
        regan.compare_classifiers(each["student_answers"], each["teacher_answers"], each["report"], audit=each["audit"])
    return made | {"one": one, "failed": failed}


@pytest.fixture
def publish(made, tmp_path):
    def published(name="release", of=made, **options):
        return regan.publish_images(of["filtered"], of["audit"], of["report"], tmp_path / name, **options)

    return published


@pytest.fixture(scope="module")
def published(made, tmp_path_factory):
    """A release, and the address where its generator is kept."""
    root = tmp_path_factory.mktemp("published")
    uri = str(root / "Mustermann's generators")
    arguments = (made["filtered"], made["audit"], made["report"], root / "release")
    return regan.publish_images(*arguments, generator=made["one"], generator_uri=uri), uri


def test_the_generator_of_both_classes_is_kept_with_licence_and_index_and_without_history(made, published, tmp_path):
    release, uri = published
    assert fetch_latest(f"{uri}/all", tmp_path / "kept").number == 1
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "model.json",
        "weights.safetensors",
        "discriminator.safetensors",
        "training_index.csv.gz",
        "distances.csv",
    }
    assert read_model(tmp_path / "kept", "generator")["licence"] == "Weights Licence-NC"
    assert read_training_index(tmp_path / "kept") == set(study.TRAINING_INDEX)
    assert weights_hash(tmp_path / "kept") == weights_hash(made["one"])
    assert last_step(release.path).settings["generators_kept"] == {"all": weights_hash(made["one"])}


def test_the_release_holds_nothing_of_the_generator_and_not_its_address(published):
    files = [path for path in published[0].path.rglob("*") if path.is_file()]
    assert not [path for path in files if path.name in ("model.json", "weights.safetensors")]
    for path in files:
        assert b"Mustermann" not in path.read_bytes(), path


def test_each_class_may_have_its_own(made, publish, tmp_path, monkeypatch):
    two = generator(tmp_path / "b", ["benign"], 2.0), generator(tmp_path / "m", ["malignant"], 3.0)
    for one in two:
        index = (made["filtered"] / "index.csv").read_text()
        assert weights_hash(one) not in index
    images = with_generators(made, tmp_path / "study", monkeypatch, *two)
    uri = f"{tmp_path / 'generators'}/"
    publish(of=images, generator=two[0], generator_positive=two[1], generator_uri=uri)
    for one, label in zip(two, ("benign", "malignant")):
        fetch_latest(str(tmp_path / "generators" / label), tmp_path / f"kept {label}")
        assert weights_hash(tmp_path / f"kept {label}") == weights_hash(one)


def with_generators(made, root, monkeypatch, negative, positive):
    """A study whose benign images the first generator made and whose malignant ones the second."""
    add = study.ImageSetWriter.add

    def added(self, image, label, **told):
        made_by = weights_hash(negative if label == "benign" else positive)
        return add(self, image, label, **told | {"generator": made_by})

    monkeypatch.setattr(study.ImageSetWriter, "add", added)
    other = study.build_study(root, per_sheet=1, num_test=40)
    monkeypatch.undo()
    other["report"] = root / "report"
    regan.compare_classifiers(other["student_answers"], other["teacher_answers"], other["report"], audit=other["audit"])
    return other


def test_a_failed_audit_keeps_no_generator(made, publish, tmp_path):
    with pytest.raises(ValueError, match="audit passed"):
        publish(of=made["failed"], generator=made["one"], generator_uri=str(tmp_path / "generators"))
    assert not (tmp_path / "generators").exists()


def test_a_generator_of_other_images_is_refused(publish, tmp_path):
    other = generator(tmp_path / "other", ["benign", "malignant"], 9.0)
    with pytest.raises(ValueError, match="must be one that made the images"):
        publish(generator=other, generator_uri=str(tmp_path / "generators"))
    assert not (tmp_path / "generators").exists()
    assert not (tmp_path / "release").exists()


def test_two_generators_of_one_name_are_refused(made, publish, tmp_path):
    with pytest.raises(ValueError, match="Received two for all"):
        publish(generator=made["one"], generator_positive=made["one"], generator_uri=str(tmp_path / "generators"))


def test_what_is_no_generator_is_refused(made, publish, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"contains no `model\.json`"):
        publish(generator=made["audit"], generator_uri=str(tmp_path / "generators"))


@pytest.mark.parametrize("given", ["generator", "address"])
def test_without_an_address_or_a_generator_none_is_kept(made, publish, tmp_path, given):
    address = {"generator_uri": str(tmp_path / "generators")}
    release = publish(**({"generator": made["one"]} if given == "generator" else address))
    assert "generators_kept" not in last_step(release.path).settings
    assert {path.name for path in tmp_path.iterdir()} == {"release"}


def test_a_release_that_cannot_be_pushed_can_be_tried_again_and_keeps_no_second_version(made, publish, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "theirs").write_text("x")
    uri = str(tmp_path / "generators")
    with pytest.raises(FileExistsError):
        publish(release_uri=str(tmp_path / "full"), generator=made["one"], generator_uri=uri)
    again = publish(release_uri=str(tmp_path / "empty"), generator=made["one"], generator_uri=uri)
    assert again.num_images == 12
    assert latest(f"{uri}/all").number == 1


def with_rivals(monkeypatch, number, uri, tmp_path):
    """Let `number` others keep a generator between reading and writing."""
    import regan.storage as storage

    read, waiting = storage.latest, list(range(number))

    def before_a_rival(address):
        found = read(address)
        if waiting:
            folder = generator(tmp_path / f"rival {waiting[-1]}", ["benign", "malignant"], 7.0 + waiting.pop())
            push_latest(folder, uri, found)
        return found

    monkeypatch.setattr(storage, "latest", before_a_rival)
    return read


def test_a_run_that_was_overtaken_keeps_its_generator_on_top(made, publish, tmp_path, monkeypatch):
    uri = str(tmp_path / "generators")
    read = with_rivals(monkeypatch, 1, f"{uri}/all", tmp_path)
    publish(generator=made["one"], generator_uri=uri)
    assert read(f"{uri}/all").number == 2
    assert read(f"{uri}/all").files["weights.safetensors"] == file_hash(made["one"] / model.WEIGHTS)


def test_a_run_that_was_overtaken_twice_says_so_and_leaves_no_release(made, publish, tmp_path, monkeypatch):
    uri = str(tmp_path / "generators")
    with_rivals(monkeypatch, 2, f"{uri}/all", tmp_path)
    with pytest.raises(ConflictError, match=r"One run at a time.*Publish again"):
        publish(generator=made["one"], generator_uri=uri)
    assert not (tmp_path / "release").exists()


def test_the_generator_is_kept_in_a_bucket(made, publish, tmp_path, monkeypatch):
    with s3_server() as url:
        uri = f"{use_s3(url, monkeypatch.setenv)}/generators"
        published = publish(generator=made["one"], generator_uri=uri)
        fetch_latest(f"{uri}/all", tmp_path / "kept")
    assert json.loads((tmp_path / "kept" / "model.json").read_text())["labels"] == ["benign", "malignant"]
    assert "s3://" not in (published.path / "report.html").read_text()


def test_the_verdict_is_called_finished_by_the_last_act_alone(made, tmp_path):
    def finished() -> bool:
        with tempfile.TemporaryDirectory() as folder:
            fetch_latest(str(tmp_path / "verdicts"), folder)
            return json.loads((Path(folder) / "verdict.json").read_text())["finished"]

    kept = {"report_uri": str(tmp_path / "verdicts"), "run_key": "one"}
    answers = made["student_answers"], made["teacher_answers"]
    regan.compare_classifiers(*answers, tmp_path / "report", audit=made["audit"], **kept)
    assert not finished()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("somebody else's")
    inputs = made["filtered"], made["audit"], tmp_path / "report"
    with pytest.raises(FileExistsError):
        regan.publish_images(*inputs, tmp_path / "r1", release_uri=str(tmp_path / "taken"), **kept)
    assert not finished()
    regan.publish_images(*inputs, tmp_path / "r2", report_uri=kept["report_uri"], run_key="another")
    assert not finished()
    regan.publish_images(*inputs, tmp_path / "r3", **kept)
    assert finished()


def test_after_a_failed_audit_nothing_is_left_to_be_done(made, tmp_path):
    failed = made["failed"]
    answers = failed["student_answers"], failed["teacher_answers"]
    regan.compare_classifiers(*answers, tmp_path / "r", audit=failed["audit"], report_uri=str(tmp_path / "verdicts"))
    fetch_latest(str(tmp_path / "verdicts"), tmp_path / "kept")
    assert json.loads((tmp_path / "kept" / "verdict.json").read_text())["finished"] is True
