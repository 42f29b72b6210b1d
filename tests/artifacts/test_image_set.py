import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from regan.artifacts.image_set import ImageSet, ImageSetWriter, safe_name
from regan.artifacts.pixels import pixel_hash
from regan.common.errors import CorruptFileError, SettingError, UnsafeFileError, WrongArtifactError


def test_images_come_back_as_they_were_written(image_set, images):
    opened = ImageSet.open(image_set)
    assert np.array_equal(np.stack(list(opened.images())), images)
    assert opened.counts == {"b": 10, "m": 10}
    assert [row.group for row in opened.rows] == [f"g{n}" for n in range(20)]
    assert opened.rows[3].sha256 == pixel_hash(images[3])


def test_batches_keep_the_order_and_the_last_one_is_smaller(image_set, images):
    batches = list(ImageSet.open(image_set).batches(6))
    assert [len(rows) for _, rows in batches] == [6, 6, 6, 2]
    assert np.array_equal(np.concatenate([pixels for pixels, _ in batches]), images)


def test_rows_of_one_class_are_chosen_by_label(image_set, images):
    opened = ImageSet.open(image_set)
    assert np.array_equal(np.stack(list(opened.images(opened.with_label("m")))), images[1::2])
    with pytest.raises(SettingError, match="Set `label` to one of its classes: b, m"):
        opened.with_label("x")


def test_each_shard_is_a_data_set_archive_with_names_and_class_numbers(image_set):
    with zipfile.ZipFile(image_set / "images-00000-of-00003.zip") as archive:
        labels = json.loads(archive.read("dataset.json"))["labels"]
        assert labels[:3] == [["b/000000.png", 0], ["m/000000.png", 1], ["b/000001.png", 0]]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert {name for name, _ in labels} | {"dataset.json"} == set(archive.namelist())


def test_the_same_images_give_the_same_bytes(tmp_path, images):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with ImageSetWriter(
            tmp_path / name, size=32, channels=1, classes=("b", "m"), origin="real", settings={}
        ) as writer:
            for image in images:
                writer.add(image, "b")
    assert all(p.read_bytes() == (tmp_path / "two" / p.name).read_bytes() for p in (tmp_path / "one").iterdir())


def test_encoded_images_are_copied_with_their_rows(tmp_path, image_set):
    opened = ImageSet.open(image_set)
    (tmp_path / "copy").mkdir()
    with ImageSetWriter(
        tmp_path / "copy", size=32, channels=1, classes=("b", "m"), origin="real", settings={}
    ) as writer:
        for png, row in zip(opened.pngs(), opened.rows):
            writer.add_png(png, row)
    copy = ImageSet.open(tmp_path / "copy")
    assert [(r.sha256, r.group, r.label) for r in copy.rows] == [(r.sha256, r.group, r.label) for r in opened.rows]
    assert len(list(copy.images())) == 20


def test_the_training_index_of_synthetic_images_is_kept(tmp_path, images):
    with ImageSetWriter(
        tmp_path,
        size=32,
        channels=1,
        classes=("b", "m"),
        origin="synthetic",
        settings={},
        training_index=[("abc", "g1")],
    ) as writer:
        writer.add(images[0], "b", generator="f00", seed="7", psi="0.7")
    opened = ImageSet.open(tmp_path)
    assert opened.training_index() == {("abc", "g1")}
    assert (opened.rows[0].generator, opened.rows[0].seed, opened.rows[0].psi) == ("f00", "7", "0.7")


def test_a_plain_folder_is_an_image_set(tmp_path, images):
    for label, image in (("a", images[0]), ("a", images[1]), ("z", images[2])):
        (tmp_path / label).mkdir(exist_ok=True)
        number = len(list((tmp_path / label).iterdir()))
        Image.fromarray(image[..., 0]).save(tmp_path / label / f"{number}.png")
    opened = ImageSet.open(tmp_path)
    assert (opened.classes, opened.counts, opened.size, opened.channels) == (("a", "z"), {"a": 2, "z": 1}, 32, 1)
    assert np.array_equal(np.stack(list(opened.images())), images[:3])


def test_a_plain_folder_with_one_class_is_refused(tmp_path, images):
    (tmp_path / "a").mkdir()
    Image.fromarray(images[0][..., 0]).save(tmp_path / "a" / "0.png")
    with pytest.raises(WrongArtifactError, match="this one has 1 of them"):
        ImageSet.open(tmp_path)


def test_a_missing_shard_is_refused(image_set):
    (image_set / "images-00001-of-00003.zip").unlink()
    with pytest.raises(CorruptFileError, match=r"is incomplete\. Missing: images-00001-of-00003\.zip"):
        ImageSet.open(image_set)


def test_a_shard_outside_the_folder_is_refused(image_set):
    manifest = json.loads((image_set / "imageset.json").read_text())
    manifest["shards"] = {"../secret.zip": "0"}
    (image_set / "imageset.json").write_text(json.dumps(manifest))
    with pytest.raises(UnsafeFileError, match="could lead out of the folder"):
        ImageSet.open(image_set)


def test_an_index_that_names_a_file_outside_is_refused(image_set, tmp_path):
    (tmp_path / "secret.txt").write_text("SECRET")
    index = image_set / "index.csv"
    header, first, *others = index.read_text().splitlines()
    row = ["", str(tmp_path / "secret.txt"), *first.split(",")[2:]]
    index.write_text("\n".join([header, ",".join(row), *others]) + "\n")
    with pytest.raises(UnsafeFileError, match="names a file that is not a shard"):
        ImageSet.open(image_set)


def test_encoded_images_are_checked_too(image_set):
    opened = ImageSet.open(image_set)
    swapped = [replace(opened.rows[0], name=opened.rows[2].name)]
    with pytest.raises(CorruptFileError, match="differs from the index"):
        list(opened.pngs(swapped))


def test_other_pixels_than_the_index_promises_are_refused(image_set):
    index = image_set / "index.csv"
    lines = index.read_text().splitlines()
    first, second = lines[1].split(","), lines[2].split(",")
    first[3], second[3] = second[3], first[3]
    index.write_text("\n".join([lines[0], ",".join(first), ",".join(second), *lines[3:]]) + "\n")
    with pytest.raises(CorruptFileError, match="differs from the index"):
        list(ImageSet.open(image_set).images())


def test_an_index_that_misses_rows_is_refused(image_set):
    index = image_set / "index.csv"
    index.write_text("\n".join(index.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(CorruptFileError, match="count different images"):
        ImageSet.open(image_set)


def test_classes_whose_folders_would_be_the_same_are_refused(tmp_path):
    with pytest.raises(SettingError, match="names differ in their letters"):
        ImageSetWriter(tmp_path, size=32, channels=1, classes=("a b", "a_b"), origin="real", settings={})


@pytest.mark.parametrize("size", [31, 48, 16, 2048])
def test_a_size_that_stylegan2_cannot_make_is_refused(tmp_path, size):
    with pytest.raises(SettingError, match="power of two between 32 and 1024"):
        ImageSetWriter(tmp_path, size=size, channels=1, classes=("a", "b"), origin="real", settings={})


def test_a_class_name_cannot_leave_the_folder():
    assert safe_name("../../etc") == "______etc"


def test_no_shards_past_sixty_four(tmp_path, images):
    with (
        pytest.raises(ValueError, match="at most 64 shards"),
        ImageSetWriter(
            tmp_path, size=32, channels=1, classes=("a", "b"), origin="real", settings={}, shard_images=1
        ) as writer,
    ):
        for _ in range(65):
            writer.add(images[0], "a")
