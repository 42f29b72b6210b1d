"""The listing of a source, and its version."""

import os
import zipfile

import pytest

from regan.common.errors import NoFilesError, SourceError
from regan.preparation.listing import SourceListing, listing_version
from regan.storage import StoredFile

MASKS = "*_mask*"


@pytest.fixture
def folder(tmp_path):
    for name in ("benign/1.png", "benign/2.JPG", "benign/1_mask.png", "malignant/1.png", "malignant/notes.txt"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "images"


def test_the_same_files_have_the_same_version(folder):
    assert SourceListing.open(str(folder)).version == SourceListing.open(str(folder)).version


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
    before = SourceListing.open(str(folder)).version
    change(folder)
    assert SourceListing.open(str(folder)).version != before


def zipped(folder, archive):
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*.*"):
            file.write(path, path.relative_to(folder))
    return archive


OTHER_FILES = [
    "benign/1.bmp",
    "benign/1.tif",
    "benign/1.dcm",
    "benign/1_MASK.png",
    "benign/.hidden.png",
    "malignant/notes.txt",
    "__MACOSX/benign/._1.png",
]


@pytest.mark.parametrize("classes", [("benign", "malignant"), ("", "")], ids=["named", "found"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_the_images_that_prepare_images_would_take_are_counted(folder, tmp_path, packed, classes):
    for name in OTHER_FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    source = SourceListing.open(str(zipped(folder, tmp_path / "images.zip") if packed else folder))
    assert source.counts(*classes, MASKS) == {"benign": 2, "malignant": 1}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_images_in_folders_of_patients_count_for_the_class_above(tmp_path, packed):
    for label in ("benign", "malignant"):
        for patient in range(5):
            (tmp_path / "images" / label / f"patient{patient}").mkdir(parents=True)
            (tmp_path / "images" / label / f"patient{patient}" / "1.png").touch()
    source = SourceListing.open(str(zipped(tmp_path / "images", tmp_path / "i.zip") if packed else tmp_path / "images"))
    assert source.counts("benign", "malignant", MASKS) == {"benign": 5, "malignant": 5}


def test_an_address_is_counted_by_its_listing_and_an_archive_there_not_at_all(monkeypatch):
    names = ["benign/1.png", "benign/1_mask.png", "malignant/1.png"]
    monkeypatch.setattr(
        "regan.preparation.listing.list_files", lambda uri: [StoredFile(name, 1, "v") for name in names]
    )
    assert SourceListing.open("gs://bucket/images").counts("", "", MASKS) == {"benign": 1, "malignant": 1}
    names = ["images.zip"]
    assert SourceListing.open("gs://bucket/images.zip").counts("", "", MASKS) is None


def test_a_class_that_is_not_there_is_explained(folder):
    with pytest.raises(SourceError, match=r"No PNG or JPEG files in 'normal'\. Found benign \(2 files\)"):
        SourceListing.open(str(folder)).counts("normal", "malignant", MASKS)


def test_a_damaged_archive_is_explained(folder, tmp_path):
    archive = zipped(folder, tmp_path / "bad.zip")
    archive.write_bytes(archive.read_bytes().replace(b"PK\x01\x02", b"PK\x00\x00"))
    with pytest.raises(SourceError, match=r"bad\.zip is corrupt"):
        SourceListing.open(str(archive))


def test_a_path_is_made_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert SourceListing.open("../images").uri == str(folder)


def test_nothing_at_all_is_explained(tmp_path):
    with pytest.raises(NoFilesError, match="absent: there is no such folder or archive"):
        SourceListing.open(str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoFilesError, match=r"No files found at .*empty"):
        SourceListing.open(str(tmp_path / "empty"))


def test_the_version_of_a_listing_stays_the_same_from_release_to_release():
    # A known value: caches, checkpoints and verdicts are kept under it.
    files = [StoredFile("benign/1.png", 10, "1"), StoredFile("malignant/2.png", 20, "2")]
    assert listing_version(files) == "e5190afd92f611c4"


def test_the_bytes_of_a_source_are_counted(folder):
    assert SourceListing.open(str(folder)).num_bytes == sum(p.stat().st_size for p in folder.rglob("*.*"))
