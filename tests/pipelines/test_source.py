"""The listing of a source, and its version."""

import os
import zipfile

import pytest

from pipelines.source import Source

MASKS = "*_mask*"


@pytest.fixture
def folder(tmp_path):
    for name in ("benign/1.png", "benign/2.JPG", "benign/1_mask.png", "malignant/1.png", "malignant/notes.txt"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "images"


def test_the_same_files_have_the_same_version(folder):
    assert Source.open(str(folder)).version == Source.open(str(folder)).version


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "benign/3.png").touch(),
        lambda folder: (folder / "benign/1.png").unlink(),
        lambda folder: (folder / "benign/1.png").rename(folder / "benign/9.png"),
        lambda folder: (folder / "benign/1.png").write_bytes(b"longer than it was"),
        lambda folder: os.utime(folder / "benign/1.png", ns=(1, 1)),
    ],
    ids=["added", "removed", "renamed", "longer", "touched"],
)
def test_a_changed_source_has_another_version(folder, change):
    before = Source.open(str(folder)).version
    change(folder)
    assert Source.open(str(folder)).version != before


def test_images_of_a_class_are_counted_without_masks_and_other_files(folder):
    source = Source.open(str(folder))
    assert source.count("benign", MASKS) == 2
    assert source.count("malignant", MASKS) == 1
    assert source.count("normal", MASKS) == 0


def test_an_archive_is_counted_as_its_folder_is(folder, tmp_path):
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*.*"):
            file.write(path, path.relative_to(folder))
    source = Source.open(str(archive))
    assert (source.count("benign", MASKS), source.count("malignant", MASKS)) == (2, 1)


def test_a_path_is_made_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert Source.open("../images").uri == str(folder)


def test_nothing_at_all_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="Found nothing at"):
        Source.open(str(tmp_path / "absent"))
