import contextlib
import io
import os
import stat
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regan.common.errors import NoFilesError, SourceError
from regan.preparation.decoding import MAX_FILE_BYTES, RefusedFile
from regan.preparation.sources import Refusal, SourceFile, choose_classes, list_pictures, open_source


def listed(path, mask_pattern="*_mask*"):
    with open_source(path) as source:
        taken, refused = list_pictures(source, mask_pattern)
    return [file.name for file in taken], {refusal.file: refusal.reason for refusal in refused}


def read_all(path):
    with open_source(path) as source:
        return {file.name: source.read(file) for file in source.files() if isinstance(file, SourceFile)}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "source"
    for name in ("benign/1.png", "benign/1_mask.png", "malignant/2.JPG", "malignant/2_Mask_1.png", "deep/er/3.jpeg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def zipped(path, entries, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def test_a_folder_and_a_zip_of_it_give_the_same_files(folder, tmp_path):
    entries = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    archive = zipped(tmp_path / "source.zip", entries)
    assert listed(folder) == listed(archive)
    assert read_all(folder) == read_all(archive) == entries
    taken, refused = listed(folder)
    assert taken == ["benign/1.png", "deep/er/3.jpeg", "malignant/2.JPG"]
    assert refused == {"benign/1_mask.png": "mask", "malignant/2_Mask_1.png": "mask"}


def test_without_a_pattern_masks_are_pictures(folder):
    assert len(listed(folder, "")[0]) == 5


def test_capitals_in_the_pattern_do_not_matter(folder):
    assert listed(folder, "*_MASK*") == listed(folder)


def test_hidden_files_and_other_files_are_listed_and_not_taken(folder):
    for name in (".DS_Store", "__MACOSX/benign/._1.png", ".cache/1.png", "benign/notes.txt", "benign/.1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    taken, refused = listed(folder)
    assert len(taken) == 3
    assert {refused[name] for name in (".DS_Store", "__MACOSX/benign/._1.png", ".cache/1.png", "benign/.1.png")} == {
        "hidden file"
    }
    assert refused["benign/notes.txt"] == "not an image file by its name"


def test_links_are_followed_within_the_source_only(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "4.png").write_bytes(b"secret")
    (folder / "benign" / "within.png").symlink_to(folder / "malignant" / "2.JPG")
    (folder / "benign" / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "benign" / "broken.png").symlink_to(tmp_path / "absent.png")
    (folder / "benign" / "loop.png").symlink_to("loop.png")
    (folder / "out").symlink_to(tmp_path / "others")
    (folder / "round").symlink_to(folder)
    taken, refused = listed(folder)
    assert "benign/within.png" in taken
    assert refused["benign/out.png"] == refused["out"] == "link out of the source"
    assert refused["round"] == "link to a folder"
    assert refused["benign/broken.png"] == refused["benign/loop.png"] == "unreadable"
    assert b"secret" not in read_all(folder).values()


def test_a_source_may_itself_be_a_link(folder, tmp_path):
    (folder / "benign" / "within.png").symlink_to(folder / "malignant" / "2.JPG")
    (tmp_path / "link").symlink_to(folder)
    assert listed(tmp_path / "link") == listed(folder)


def test_a_pipe_is_not_opened(folder):
    os.mkfifo(folder / "benign" / "pipe.png")
    assert listed(folder)[1]["benign/pipe.png"] == "not a regular file"


def test_a_file_that_vanishes_is_refused(folder):
    with open_source(folder) as source:
        file = next(iter(source.files()))
        (folder / file.name).unlink()
        with pytest.raises(RefusedFile, match="unreadable"):
            source.read(file)


def test_a_file_that_is_too_large_is_not_read_whole(folder, monkeypatch):
    monkeypatch.setattr("regan.preparation.sources.MAX_FILE_BYTES", 4)
    with open_source(folder) as source, pytest.raises(RefusedFile, match="too large"):
        source.read(next(iter(source.files())))


@pytest.mark.parametrize(
    "name", ["../1.png", "a/../../1.png", "/etc/1.png", "C:/1.png", "..\\1.png", "a//1.png", "./1.png", "a/./1.png"]
)
def test_a_name_that_leads_out_of_an_archive_is_refused(tmp_path, name):
    archive = zipped(tmp_path / "evil.zip", {name: b"x", "benign/1.png": b"y"})
    taken, refused = listed(archive)
    assert taken == ["benign/1.png"]
    assert list(refused.values()) == ["unsafe name"]


def test_backslashes_of_old_packers_separate_folders(tmp_path):
    assert listed(zipped(tmp_path / "old.zip", {"benign\\1.png": b"x"}))[0] == ["benign/1.png"]


def test_links_in_an_archive_are_refused(tmp_path):
    link = zipfile.ZipInfo("benign/1.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert listed(tmp_path / "links.zip")[1] == {"benign/1.png": "link in an archive"}


def test_an_encrypted_entry_is_refused(tmp_path):
    path = zipped(tmp_path / "locked.zip", {"benign/1.png": b"x"})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # local header, general purpose flags
    data[data.index(b"PK\x01\x02") + 8] |= 1  # central directory, the same
    path.write_bytes(data)
    assert listed(path)[1] == {"benign/1.png": "encrypted"}


def test_a_name_that_is_given_twice_counts_once(tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("benign/1.png", b"first")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("benign/1.png", b"second")
    assert listed(tmp_path / "twice.zip")[1] == {"benign/1.png": "duplicate name"}
    assert read_all(tmp_path / "twice.zip") == {"benign/1.png": b"first"}


def test_an_entry_that_says_it_is_huge_is_not_unpacked(tmp_path):
    path = zipped(tmp_path / "bomb.zip", {"benign/1.png": bytes(MAX_FILE_BYTES + 1)}, compression=zipfile.ZIP_DEFLATED)
    assert listed(path)[1] == {"benign/1.png": "too large"}


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path):
    path = zipped(tmp_path / "liar.zip", {"benign/1.png": bytes(1_000_000)}, compression=zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    path.write_bytes(data.replace((1_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with open_source(path) as source, pytest.raises(RefusedFile, match="corrupt"):
        source.read(next(iter(source.files())))


def test_a_damaged_entry_is_refused_and_the_others_are_read(tmp_path):
    path = zipped(tmp_path / "damaged.zip", {"benign/1.png": b"A" * 100, "benign/2.png": b"B" * 100})
    path.write_bytes(path.read_bytes().replace(b"A" * 100, b"A" * 99 + b"C"))
    with open_source(path) as source:
        first, second = source.files()
        with pytest.raises(RefusedFile, match="corrupt"):
            source.read(first)
        assert source.read(second) == b"B" * 100


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_a_damaged_archive_is_read_or_refused_but_never_fails_otherwise(tmp_path_factory, place, noise):
    buffer = io.BytesIO()
    zipped(buffer, {"benign/1.png": b"A" * 50, "malignant/2.png": zlib.compress(b"B")})
    data = buffer.getvalue()
    place %= len(data)
    path = tmp_path_factory.getbasetemp() / "fuzz.zip"
    path.write_bytes(data[:place] + noise + data[place + len(noise) :])
    with contextlib.suppress(ValueError), open_source(path) as source:  # a RefusedFile is a ValueError too
        for file in list_pictures(source, "")[0]:
            with contextlib.suppress(RefusedFile):
                source.read(file)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_no_archive_name_makes_a_class_of_its_own(names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in {f"{name}.png" for name in names}:
            archive.writestr(zipfile.ZipInfo(name), b"x")
    from regan.preparation.sources import _Archive

    with zipfile.ZipFile(buffer) as archive:
        for file in _Archive(archive).files():
            if isinstance(file, Refusal):
                assert file.file.isprintable()
            else:
                assert not {"", ".", ".."} & set(file.folders)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06"])
def test_a_file_that_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "source.zip").write_bytes(content)
    with (
        pytest.raises(SourceError, match=r"is neither a folder nor a zip archive\. Unpack it"),
        open_source(tmp_path / "source.zip"),
    ):
        pass


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(NoFilesError, match="no such folder or archive"), open_source(tmp_path / "absent"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_named(folder):
    (folder / "benign").chmod(0)
    with pytest.raises(SourceError, match=r"benign.*Change its permissions"):
        listed(folder)


def candidates(*names):
    return [SourceFile(name, None) for name in names]


def test_of_two_folders_the_last_of_the_alphabet_is_positive():
    classes, labels = choose_classes(candidates("malignant/1.png", "x/benign/2.png", "3.png"), "", "")
    assert classes == ("benign", "malignant")
    assert labels == ["malignant", "benign", None]


def test_one_name_is_enough_where_there_are_two_folders():
    files = candidates("malignant/1.png", "benign/2.png")
    assert choose_classes(files, "malignant", "")[0] == ("malignant", "benign")
    assert choose_classes(files, "", "benign")[0] == ("malignant", "benign")


def test_named_classes_are_found_above_other_folders_and_the_nearest_counts():
    files = candidates("malignant/patient 1/1.png", "benign/2.png", "malignant/benign/3.png", "normal/4.png")
    assert choose_classes(files, "benign", "malignant")[1] == ["malignant", "benign", "benign", None]


@pytest.mark.parametrize(
    ("names", "negative", "positive", "message"),
    [
        ([], "", "", "contains no PNG or JPEG files"),
        (["benign/1.png"], "", "", r"Found benign \(1 files\).*folder of its own"),
        (["1.png"], "", "", "no class folder"),
        (
            ["a/1.png", "b/1.png", "b/2.png", "c/1.png", "c/2.png"],
            "",
            "",
            r"Found a \(1 files\), b \(2 files\), c \(2 files\).*CLASSES=<negative>,<positive>\)\.$",
        ),
        (["a/1.png", "b/1.png", "c/1.png"], "", "a", "classes are not clear"),
        (["a/1.png", "b/1.png"], "", "c", "classes are not clear"),
        (["a/1.png", "b/1.png"], "a", "c", r"No PNG or JPEG files in 'c'\. Found a \(1 files\), b \(1 files\)"),
        (["a/1.png", "b/1.png"], "a", "a", "do not differ"),
        (["a b/1.png", "a_b/1.png"], "", "", "do not differ in their letters"),
    ],
)
def test_classes_that_are_not_two_are_named_with_what_to_do(names, negative, positive, message):
    with pytest.raises(SourceError, match=message):
        choose_classes(candidates(*names), negative, positive)
