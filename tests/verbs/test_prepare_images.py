import csv
import io
import json
import logging
import os
import shutil
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from regan import prepare_images
from regan.artifacts.history import last_step
from regan.artifacts.image_set import ImageSet
from regan.preparation.phantom import phantom

SMALL = {"size": 32, "test_per_class": 3}
SETS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return phantom(tmp_path_factory.mktemp("phantoms") / "source", per_class=12, size=64).path


@pytest.fixture
def folder(phantoms, tmp_path):
    return shutil.copytree(phantoms, tmp_path / "source")


@pytest.fixture
def prepare(tmp_path):
    def prepared(source, into="sets", **settings):
        return prepare_images(source, *(tmp_path / into / name for name in SETS), **SMALL | settings)

    return prepared


def opened(made):
    return {name: ImageSet.open(getattr(made, name)) for name in SETS}


def refused(made):
    return {row["file"]: row["reason"] for row in last_step(made.train).private_tables["refused"]}


def nothing_left(folder):
    return not list(folder.rglob("*imageset.json")) and not list(folder.rglob(".*partial*"))


def test_three_image_sets_hold_every_picture_once(folder, prepare):
    made = prepare(folder)
    sets = opened(made)
    assert (made.num_train, made.num_validation, made.num_test, made.num_refused) == (16, 2, 6, 0)
    assert (made.negative_class, made.positive_class, made.path) == ("benign", "malignant", made.train)
    assert {name: len(images) for name, images in sets.items()} == {"train": 16, "validation": 2, "test": 6}
    assert sets["test"].counts == {"benign": 3, "malignant": 3}
    assert {images.origin for images in sets.values()} == {"phantom"}
    hashes = [row.sha256 for images in sets.values() for row in images.rows]
    assert len(set(hashes)) == 24
    assert sum(1 for images in sets.values() for _ in images.images()) == 24


def test_labels_stay_with_their_pictures(folder, prepare):
    expected = {}
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            small = np.asarray(image.resize((32, 32), Image.Resampling.LANCZOS))
        expected[small.tobytes()] = path.parent.name
    for images in opened(prepare(folder)).values():
        for image, row in zip(images.images(), images.rows):
            assert expected.pop(image.tobytes()) == row.label
    assert expected == {}


def test_the_same_files_and_seed_give_the_same_bytes_and_another_seed_another_test(folder, prepare):
    first, again, other = prepare(folder, "a"), prepare(folder, "b"), prepare(folder, "c", seed=1)
    for name in SETS:
        files = [path.name for path in getattr(first, name).iterdir() if path.is_file()]
        assert len(files) == 3
        for file in files:
            assert (getattr(first, name) / file).read_bytes() == (getattr(again, name) / file).read_bytes()
    tests = [{row.source for row in ImageSet.open(made.test).rows} for made in (first, again, other)]
    assert tests[0] == tests[1] != tests[2]


def test_the_split_is_the_same_at_another_size_and_under_other_names(folder, prepare, tmp_path):
    renamed = tmp_path / "renamed"
    for number, path in enumerate(sorted(folder.rglob("*.png"), reverse=True)):
        (renamed / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, renamed / path.parent.name / f"{number}.png")
    tests = [
        ImageSet.open(prepare(source, into, size=size).test)
        for source, into, size in ((folder, "a", 32), (renamed, "b", 64))
    ]
    assert {row.source for row in tests[0].rows} == {row.source for row in tests[1].rows}


def test_a_zip_gives_what_the_folder_gives(folder, prepare, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", folder.parent, folder.name)
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("../escaped.png", b"x")
    made = prepare(archive, "b")
    assert refused(made) == {"../escaped.png": "unsafe name"}
    rows = [[row.sha256 for row in ImageSet.open(m.train).rows] for m in (prepare(folder, "a"), made)]
    assert rows[0] == rows[1]
    assert not (tmp_path / "escaped.png").exists()


def test_an_address_is_fetched_and_nothing_of_it_is_left(folder, prepare, tmp_path, monkeypatch):
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        client = boto3.session.Session().client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="hospital")
        for path in folder.rglob("*.png"):
            client.upload_file(str(path), "hospital", f"breast/{path.relative_to(folder).as_posix()}")
        made = prepare("s3://hospital/breast")
    finally:
        server.stop()
    assert made.num_train == 16
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == sorted(SETS)


def test_names_of_files_and_metadata_do_not_leave_history_private(folder, prepare, tmp_path):
    info = Image.Exif()
    info[0x010E] = "Jane Doe"
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        with Image.open(path) as image:
            image.save(path.with_name(f"Jane Doe {number}.png"), exif=info)
        path.unlink()
    shutil.copy(folder / "benign" / "Jane Doe 0.png", folder / "benign" / "Jane Doe copy.png")
    (folder / "benign" / "Jane Doe.png").write_text("not an image")
    secret = folder.rename(tmp_path / "Jane Doe's folder")
    made = prepare(secret)
    for name in SETS:
        for path in (path for path in getattr(made, name).rglob("*") if path.is_file()):
            if path.parent.name != "private":
                assert b"Jane" not in path.read_bytes(), path
    with zipfile.ZipFile(made.train / "images-00000-of-00001.zip") as archive:
        for entry in archive.namelist():
            if entry.endswith(".png"):
                with Image.open(io.BytesIO(archive.read(entry))) as image:
                    assert image.info == {}
    step = last_step(made.train)
    assert step.private_tables["source"] == [{"source": str(secret), "split_uri": None}]
    assert "benign/Jane Doe.png" in refused(made)
    assert [row["file"] for row in step.private_tables["groups"]] == [
        "benign/Jane Doe 0.png",
        "benign/Jane Doe copy.png",
    ]


def test_history_tells_the_split_and_the_reasons(folder, prepare):
    (folder / "benign" / "note.txt").write_text("x")
    (folder / "normal").mkdir()
    shutil.copy(folder / "benign" / "000000.png", folder / "normal" / "1.png")
    made = prepare(folder, negative_class="benign", positive_class="malignant")
    steps = [last_step(getattr(made, name)) for name in SETS]
    assert len({step.id for step in steps}) == 1
    step = steps[0]
    assert step.counts == {"train": 16, "validation": 2, "test": 6}
    assert step.tables["split"] == [
        {"set": name, "class": label, "images": images, "groups": images}
        for name, images in (("train", 8), ("validation", 1), ("test", 3))
        for label in ("benign", "malignant")
    ]
    assert sorted(row["reason"] for row in step.tables["refusal_reasons"]) == [
        "not an image file by its name",
        "unwanted class",
    ]
    assert (step.figures["num_refused"], step.figures["num_label_conflicts"]) == (2, 0)
    assert step.settings["positive_class"] == "malignant"
    assert set(step.private_thumbnails) == {"benign", "malignant"}
    assert step.thumbnails == {}


def test_no_group_lies_on_two_sides_and_the_rest_of_a_test_group_is_listed(folder, prepare):
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            image.resize((90, 90)).save(path.with_suffix(".jpg"), quality=90)
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    made = prepare(folder)
    groups = {name: {row.group for row in images.rows} for name, images in opened(made).items()}
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]
    assert len(groups["test"]) == made.num_test == 6
    assert Counter(refused(made).values()) == {"resembles a test image": 12}
    assert made.num_train + made.num_validation + made.num_test + made.num_refused == 72


def test_a_picture_under_both_labels_is_left_out_and_one_that_resembles_it_only_trains(folder, prepare):
    source = folder / "benign" / "000003.png"
    shutil.copy(source, folder / "malignant" / "conflict.png")
    with Image.open(source) as image:
        image.resize((100, 100)).save(folder / "benign" / "similar.png")
    for seed in range(4):
        made = prepare(folder, f"seed {seed}", seed=seed)
        assert refused(made) == {"benign/000003.png": "label conflict", "malignant/conflict.png": "label conflict"}
        step = last_step(made.test)
        assert (step.figures["num_label_conflicts"], step.figures["num_groups_of_both_classes"]) == (1, 1)
        sources = {name: {row.source for row in images.rows} for name, images in opened(made).items()}
        similar = _source(folder / "benign" / "similar.png")
        assert similar in sources["train"]
        assert _source(source) not in set.union(*sources.values())


def _source(path):
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def test_a_damaged_file_and_a_text_named_png_are_listed_and_do_not_stop_the_run(folder, prepare, caplog):
    (folder / "benign" / "damaged.png").write_bytes((folder / "benign" / "000000.png").read_bytes()[:500])
    (folder / "malignant" / "text.png").write_text("This is a text.")
    with caplog.at_level(logging.INFO, "regan"):
        made = prepare(folder)
    assert refused(made) == {"benign/damaged.png": "corrupt", "malignant/text.png": "not a PNG or JPEG picture"}
    assert "Rejected: 1 files, corrupt" in caplog.text
    assert "listed by name in `history/private`" in caplog.text
    assert "damaged.png" not in caplog.text
    assert made.num_refused == 2


def test_colour_is_kept_when_asked_for(folder, prepare):
    images = ImageSet.open(prepare(folder, channels=3).train)
    assert next(images.images()).shape == (32, 32, 3)


def test_the_last_of_two_classes_is_positive_unless_named(folder, prepare, caplog):
    with caplog.at_level(logging.INFO, "regan"):
        prepare(folder, "a")
    assert "benign (negative) and malignant (positive" in caplog.text
    made = prepare(folder, "b", negative_class="malignant", positive_class="benign")
    assert ImageSet.open(made.train).classes == ("malignant", "benign")


def test_an_empty_folder_one_class_and_three_classes_are_named(folder, prepare, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="contains no PNG or JPEG files"):
        prepare(tmp_path / "empty")
    (folder / "other").mkdir()
    shutil.copy(folder / "benign" / "000000.png", folder / "other")
    with pytest.raises(
        ValueError, match=r"benign \(12 files\), malignant \(12 files\), other \(1 files\).*--positive_class"
    ):
        prepare(folder)
    shutil.rmtree(folder / "other")
    shutil.rmtree(folder / "malignant")
    with pytest.raises(ValueError, match=r"classes are not clear\. Found benign \(12 files\)"):
        prepare(folder)
    with pytest.raises(FileNotFoundError, match="no such folder or archive"):
        prepare(tmp_path / "absent")
    assert nothing_left(tmp_path)


def test_fewer_images_than_the_test_needs_is_an_error_that_names_a_value_that_works(folder, prepare, tmp_path):
    with pytest.raises(ValueError, match=r"benign: 12, malignant: 12.*Use `test_per_class=10`"):
        prepare(folder, test_per_class=11)
    assert nothing_left(tmp_path)
    assert prepare(folder, test_per_class=10).num_train == 2


def test_too_few_images_for_any_test_are_counted(folder, prepare, tmp_path):
    for path in sorted((folder / "malignant").iterdir())[3:]:
        path.unlink()
    with pytest.raises(ValueError, match=r"benign: 12, malignant: 3,.*Add images"):
        prepare(folder, test_per_class=2)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 100}, "power of two"),
        ({"channels": 2}, r"1 \(grey\) or 3"),
        ({"test_per_class": 0}, "2 or more"),
        ({"test_per_class": 1}, r"test_per_class=1 is too small.*Use 2 or more"),
        ({"validation_fraction": 0.0}, "above 0 and below 1"),
        ({"validation_fraction": 1.0}, "above 0 and below 1"),
        ({"seed": -1}, "0 or more"),
    ],
)
def test_a_setting_out_of_range_is_named_before_anything_is_read(prepare, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path / "never looked at", **settings)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_named_before_work_begins(folder, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="is not a directory"):
        prepare_images(folder, tmp_path / "train", tmp_path / "validation", tmp_path / "file" / "test", **SMALL)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(FileExistsError, match="is not empty"):
        prepare_images(folder, tmp_path / "train", tmp_path / "full", tmp_path / "test", **SMALL)
    with pytest.raises(ValueError, match="are the same folder"):
        prepare_images(folder, tmp_path / "train", tmp_path / "train", tmp_path / "test", **SMALL)
    assert {path.name for path in tmp_path.iterdir()} == {"source", "file", "full"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(folder, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OSError, match="is not writable"):
        prepare_images(folder, *(tmp_path / "locked" / name for name in SETS), **SMALL)


def test_busi_as_distributed_is_prepared_with_its_label_conflict_reported(test_data, prepare):
    made = prepare(
        test_data / "busi_raw_sample",
        negative_class="benign",
        positive_class="malignant",
        size=64,
        test_per_class=15,
    )
    found = refused(made)
    assert found["benign/benign (433).png"] == found["malignant/malignant (145).png"] == "label conflict"
    assert Counter(found.values())["unwanted class"] == 5
    assert Counter(found.values())["mask"] == 93
    assert made.num_test == 30
    assert made.num_train + made.num_validation + made.num_test + made.num_refused == 179  # files, checksums included
    with (test_data / "busi" / "duplicate_groups.csv").open() as file:
        listed = {f"{row['class']}/{row['file']}": row["group"] for row in csv.DictReader(file)}
    sources = {
        _source(test_data / "busi_raw_sample" / name): group
        for name, group in listed.items()
        if (test_data / "busi_raw_sample" / name).is_file()
    }
    sides = {name: {sources[row.source] for row in images.rows} for name, images in opened(made).items()}
    assert not sides["test"] & (sides["train"] | sides["validation"])
    assert json.loads((made.train / "imageset.json").read_text())["origin"] == "real"
