"""`prepare_images` run after run, on a source that changes, with a split that is kept."""

import gzip
import logging
import shutil
from collections import defaultdict

import pytest
from PIL import Image

from regan import prepare_images
from regan.artifacts.history import last_step
from regan.artifacts.image_set import ImageSet
from regan.common.errors import ConflictError
from regan.preparation import saved_split
from regan.preparation.phantom import phantom
from regan.storage import latest
from tests.servers.start import s3_server, use_s3

SETS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return phantom(tmp_path_factory.mktemp("phantoms") / "source", per_class=20, size=64).path


@pytest.fixture
def folder(phantoms, tmp_path):
    """The first delivery: 12 images of each class. `deliver` brings more."""
    for label in ("benign", "malignant"):
        (tmp_path / "source" / label).mkdir(parents=True)
    deliver(phantoms, tmp_path / "source", 0, 12)
    return tmp_path / "source"


def deliver(phantoms, folder, start, stop):
    for label in ("benign", "malignant"):
        for path in sorted((phantoms / label).glob("*.png"))[start:stop]:
            shutil.copy(path, folder / label)


@pytest.fixture
def prepare(tmp_path, folder):
    runs = iter(range(1, 99))

    def prepared(**settings):
        into = tmp_path / f"run {next(runs)}"
        settings = {"size": 32, "test_per_class": 3, "split_uri": str(tmp_path / "split")} | settings
        return prepare_images(folder, *(into / name for name in SETS), **settings)

    return prepared


def sources(made):
    return {name: {row.source for row in ImageSet.open(getattr(made, name)).rows} for name in SETS}


def refused(made):
    return {row["file"]: row["reason"] for row in last_step(made.train).private_tables["refused"]}


def figures(made):
    names = ("split_version", "num_known", "num_new", "num_gone", "num_refused_by_kept_split")
    return tuple(last_step(made.train).figures[name] for name in names)


def bytes_of(made):
    folders = [getattr(made, name) for name in SETS]
    return [path.read_bytes() for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]


def test_the_first_run_gives_what_it_gives_without_a_saved_split(prepare, tmp_path):
    first, alone = prepare(), prepare(split_uri="")
    assert bytes_of(first) == bytes_of(alone)
    assert figures(first) == (1, 0, 24, 0, 0)
    assert "split_version" not in last_step(alone.train).figures
    assert latest(str(tmp_path / "split")).number == 1


def test_the_same_source_again_gives_the_same_sets_whatever_the_seed_and_size_and_keeps_nothing_new(prepare):
    first, again = prepare(), prepare(seed=5)
    assert sources(first) == sources(again)
    assert figures(again) == (1, 24, 0, 0, 0)
    larger = prepare(size=64, channels=3)
    assert sources(larger) == sources(first)


def test_a_larger_source_keeps_every_image_on_its_side_and_adds_the_new_ones(prepare, phantoms, folder):
    first = prepare()
    deliver(phantoms, folder, 12, 20)
    second = prepare(test_per_class=5)
    before, after = sources(first), sources(second)
    assert all(before[name] <= after[name] for name in SETS)
    assert (second.num_train, second.num_validation, second.num_test) == (26, 4, 10)
    assert figures(second) == (2, 24, 16, 0, 0)
    deliver(phantoms, folder, 0, 12)
    (folder / "benign" / "000000.png").unlink()
    assert figures(prepare()) == (2, 39, 0, 1, 0)


def test_a_near_copy_of_a_test_image_never_trains_even_when_the_test_image_was_taken_away(prepare, folder):
    first = prepare()
    step = last_step(first.test)
    by_source = {saved_source(path): path for path in folder.rglob("*.png")}
    tested = by_source[sorted(sources(first)["test"])[0]]
    with Image.open(tested) as image:
        image.resize((90, 90)).save(tested.with_suffix(".jpg"), quality=90)
    second = prepare()
    copy = tested.with_suffix(".jpg").relative_to(folder).as_posix()
    assert refused(second) == {copy: "resembles a test image"}
    shutil.move(tested, folder.parent / "away.png")
    third = prepare()
    assert saved_source(folder / copy) in sources(third)["test"]
    shutil.move(folder.parent / "away.png", tested)
    (folder / copy).unlink()
    assert sources(prepare()) == sources(first)
    assert step.figures["split_version"] == 1


def saved_source(path):
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def test_a_class_that_changed_is_a_label_conflict_and_is_told(prepare, folder, caplog):
    prepare()
    shutil.move(folder / "benign" / "000003.png", folder / "malignant" / "moved.png")
    with caplog.at_level(logging.INFO, "regan"):
        made = prepare()
    assert refused(made) == {"malignant/moved.png": "label conflict"}
    assert "Rejected: 1 files, label conflict" in caplog.text
    assert "moved.png" not in caplog.text
    assert saved_source(folder / "malignant" / "moved.png") not in set().union(*sources(made).values())


def test_a_test_set_that_could_not_be_filled_up_is_told(prepare, caplog):
    prepare()
    with caplog.at_level(logging.WARNING, "regan"):
        made = prepare(test_per_class=10)
    assert made.num_test == 6
    assert "3 images of benign are fewer than `test_per_class`" in caplog.text


def test_other_classes_than_those_of_the_saved_split_are_refused(prepare, folder, tmp_path):
    prepare()
    (folder / "malignant").rename(folder / "normal")
    with pytest.raises(ValueError, match=r"has the classes benign and malignant\. Received benign and normal"):
        prepare()
    assert not list((tmp_path / "run 2").iterdir())


def test_what_lies_at_the_address_already_is_not_taken_for_a_split(prepare, tmp_path):
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "latest.json").write_text("{}")
    with pytest.raises(ValueError, match="another program wrote it"):
        prepare()
    assert not (tmp_path / "run 1").exists()


def with_rivals(monkeypatch, number, tmp_path, prepare):
    """Let `number` other runs keep their splits while this one is writing."""
    push, waiting = saved_split.push_split, list(range(number))

    def after_a_rival(kept, uri):
        if waiting:
            waiting.pop()
            monkeypatch.setattr(saved_split, "push_split", push)
            rival(tmp_path, len(waiting), prepare)
            monkeypatch.setattr(saved_split, "push_split", after_a_rival)
        return push(kept, uri)

    monkeypatch.setattr(saved_split, "push_split", after_a_rival)


def rival(tmp_path, number, prepare):
    source = phantom(tmp_path / f"theirs {number}", per_class=6, size=64, seed=100 + number).path
    into = tmp_path / f"rival {number}"
    prepare_images(
        source, *(into / name for name in SETS), size=32, test_per_class=2, split_uri=str(tmp_path / "split")
    )


def test_a_run_that_was_overtaken_splits_once_more_on_what_the_other_kept(prepare, tmp_path, monkeypatch, caplog):
    with_rivals(monkeypatch, 1, tmp_path, prepare)
    with caplog.at_level(logging.WARNING, "regan"):
        made = prepare()
    assert "splitting again" in caplog.text
    assert figures(made) == (2, 0, 24, 12, 0)
    assert made.num_train + made.num_validation + made.num_test == 24
    assert len(ImageSet.open(made.train)) == made.num_train
    assert len(saved_split.read_split(str(tmp_path / "split")).images) == 36
    assert len(list((made.train / "history").glob("*.json"))) == 1


def test_a_run_that_was_overtaken_twice_gives_up_and_leaves_nothing(prepare, tmp_path, monkeypatch):
    with_rivals(monkeypatch, 2, tmp_path, prepare)
    with pytest.raises(ConflictError, match=r"^Other runs changed .* twice.*Run prepare_images again"):
        prepare()
    assert not list((tmp_path / "run 1").iterdir())
    assert len(saved_split.read_split(str(tmp_path / "split")).images) == 24  # those of the rivals


def test_a_run_that_fails_keeps_no_split(prepare, tmp_path, monkeypatch):
    import regan.artifacts.entry

    def broken(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(regan.artifacts.entry, "write_step", broken)
    with pytest.raises(OSError, match="disk is full"):
        prepare()
    assert latest(str(tmp_path / "split")) is None


def test_neither_names_nor_places_get_out_of_history_private(prepare, folder, tmp_path):
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(path.with_name(f"Jane Doe {number}.png"))
    made = prepare(split_uri=str(tmp_path / "Jane Doe's split"))
    for root in (made.train, made.validation, made.test, tmp_path / "Jane Doe's split"):
        for path in (path for path in root.rglob("*") if path.is_file() and path.parent.name != "private"):
            data = path.read_bytes()
            assert b"Jane" not in (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data), path
    assert "Jane Doe's split" in last_step(made.train).private_tables["source"][0]["split_uri"]


def test_the_split_is_kept_in_a_bucket(prepare, phantoms, folder, monkeypatch):
    with s3_server() as url:
        uri = f"{use_s3(url, monkeypatch.setenv)}/breast/split"
        first = prepare(split_uri=uri)
        deliver(phantoms, folder, 12, 16)
        second = prepare(split_uri=uri, seed=3)
    before, after = sources(first), sources(second)
    assert all(before[name] <= after[name] for name in SETS)
    assert figures(second) == (2, 24, 8, 0, 0)


def test_over_a_year_of_deliveries_no_image_changes_its_side(prepare, phantoms, folder):
    seen, groups = defaultdict(set), defaultdict(set)
    for month in range(4):
        deliver(phantoms, folder, 12 + 2 * month, 14 + 2 * month)
        for path in sorted(folder.rglob("*.png"))[month::9]:
            with Image.open(path) as image:
                image.resize((80 + month, 80)).save(path.with_suffix(".jpg"), quality=90)
        for path in sorted(folder.rglob("*.png"))[3 * month :: 11]:
            path.unlink()
        made = prepare(seed=month)
        for name in SETS:
            for row in ImageSet.open(getattr(made, name)).rows:
                seen[row.source].add(name)
                groups[row.source].add(row.group)
    assert all(len(names) == 1 for names in seen.values())
    assert all(len(names) == 1 for names in groups.values())
    assert len({name for names in groups.values() for name in names}) < len(groups)
