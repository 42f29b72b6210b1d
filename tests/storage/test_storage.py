import os
import sys
from pathlib import Path

import pytest

from regan import storage
from regan.common.errors import (
    CorruptFileError,
    MissingLibraryError,
    NoFilesError,
    OutputExistsError,
    StorageAccessError,
    StorageUnavailableError,
    UnsafeFileError,
    UnsupportedURIError,
    WrongArtifactError,
)
from regan.storage import fetch, is_uri, list_files, push
from regan.storage.uri import open_store
from tests.servers.start import free_port, gs_server, s3_server, use_gs, use_s3

FILES = {"imageset.json": b"{}", "images-00000-of-00001.zip": bytes(range(256)) * 50, "history/01-x.json": b"[]"}


@pytest.fixture(scope="module")
def s3_url():
    with s3_server() as url:
        yield url


@pytest.fixture(scope="module")
def gs_url():
    with gs_server() as url:
        yield url


@pytest.fixture
def s3(s3_url, monkeypatch):
    """An empty bucket on a local server, as an address and a function that puts an object there."""
    address = use_s3(s3_url, monkeypatch.setenv)
    import boto3

    client = boto3.client("s3")
    return address, lambda key, data: client.put_object(Bucket=address[5:], Key=key, Body=data)


@pytest.fixture
def gs(gs_url, monkeypatch):
    address = use_gs(gs_url, monkeypatch.setenv)
    from google.cloud.storage import Client

    bucket = Client().bucket(address[5:])
    return address, lambda key, data: bucket.blob(key).upload_from_string(data)


@pytest.fixture
def local(tmp_path):
    root = tmp_path / "bucket"
    root.mkdir()

    def put(key, data):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)

    return str(root), put


@pytest.fixture(params=["s3", "gs", "local"])
def bucket(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "folder", FILES)


def written(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_pushed_is_listed_and_fetched_whole(bucket, folder, tmp_path):
    address = f"{bucket[0]}/some/where"
    push(folder, address)
    assert [(file.name, file.size) for file in list_files(address)] == sorted((n, len(d)) for n, d in FILES.items())
    assert fetch(address, tmp_path / "fetched") == tmp_path / "fetched"
    assert read(tmp_path / "fetched") == FILES


def test_a_whole_bucket_can_be_fetched(bucket, tmp_path):
    address, put = bucket
    put("benign/1.png", b"one")
    put("malignant/2.png", b"two")
    assert read(fetch(address, tmp_path / "fetched")) == {"benign/1.png": b"one", "malignant/2.png": b"two"}


def test_an_address_of_one_file_gives_that_file(bucket, tmp_path):
    address, put = bucket
    put("data/images.zip", b"zip")
    put("data/images.zip.txt", b"another")
    path = fetch(f"{address}/data/images.zip", tmp_path / "fetched")
    assert (path.name, path.read_bytes()) == ("images.zip", b"zip")
    assert [file.name for file in list_files(f"{address}/data/images.zip")] == ["images.zip"]


def test_a_folder_is_not_taken_for_another_that_begins_alike(bucket):
    address, put = bucket
    put("data/1.png", b"one")
    put("data-of-others/2.png", b"two")
    assert [file.name for file in list_files(f"{address}/data")] == ["1.png"]


def test_the_version_of_a_file_changes_with_its_content(bucket):
    address, put = bucket
    put("data/1.png", b"one")
    before = list_files(address)
    put("data/1.png", b"two")
    assert list_files(address)[0].version != before[0].version


def test_a_half_pushed_folder_is_refused_and_the_same_push_finishes_it(bucket, folder, tmp_path, monkeypatch):
    address = f"{bucket[0]}/release"
    store = type(open_store(address))
    upload = store.upload

    def broken(self, source, name):
        if name.endswith(".zip"):
            raise ConnectionError("the line is cut")
        upload(self, source, name)

    monkeypatch.setattr(store, "upload", broken)
    with pytest.raises(ConnectionError, match="cut"):
        push(folder, address)
    monkeypatch.setattr(store, "upload", upload)
    with pytest.raises(CorruptFileError, match=r"is incomplete: .*Push the folder again"):
        fetch(address, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    push(folder, address)
    assert read(fetch(address, tmp_path / "fetched")) == FILES


def test_a_push_that_lacks_its_end_is_refused_though_every_file_is_there(bucket, folder, tmp_path):
    address = f"{bucket[0]}/release"
    push(folder, address)
    place = storage._read_location(address)
    storage._write_manifest(place.store, place.manifest["files"], complete=False)
    with pytest.raises(CorruptFileError, match="is incomplete"):
        fetch(address, tmp_path / "fetched")


def test_a_push_of_another_version_is_named(local, tmp_path):
    local[1](storage.MANIFEST, b'{"format": 99}')
    local[1]("data.bin", b"x")
    with pytest.raises(WrongArtifactError, match="has format 99; this version reads format 1"):
        fetch(local[0], tmp_path / "fetched")


def test_the_same_push_again_changes_nothing(bucket, folder):
    address = f"{bucket[0]}/release"
    push(folder, address)
    before = list_files(address)
    push(folder, address)
    assert list_files(address) == before


def test_another_folder_replaces_a_pushed_one_only_when_told(bucket, folder, tmp_path):
    address, put = bucket
    address += "/checkpoint"
    push(folder, address)
    put("checkpoint/notes.txt", b"by somebody else")
    other = written(tmp_path / "other", {"imageset.json": b"[1]", "new.bin": b"new"})
    with pytest.raises(OutputExistsError, match="contains another folder that was pushed earlier"):
        push(other, address)
    push(other, address, replace=True)
    assert read(fetch(address, tmp_path / "fetched")) == {"imageset.json": b"[1]", "new.bin": b"new"}
    assert [file.name for file in list_files(address)] == ["imageset.json", "new.bin", "notes.txt"]


def test_a_file_that_lies_there_already_is_not_sent_again(folder, tmp_path):
    target = tmp_path / "kept"
    push(folder, str(target))
    before = {path.name: path.stat().st_ino for path in target.iterdir() if path.name != storage.MANIFEST}
    (folder / "grown.log").write_bytes(b"one line")
    push(folder, str(target), replace=True)
    # The manifest is written again by each push, sometimes on the same inode.
    after = {path.name: path.stat().st_ino for path in target.iterdir() if path.name != storage.MANIFEST}
    assert {name for name in after if before.get(name) == after[name]} == {path.name for path in folder.iterdir()} - {
        "grown.log"
    }


def test_files_of_others_are_never_overwritten(bucket, folder, tmp_path):
    address, put = bucket
    put("data/imageset.json", b"theirs")
    with pytest.raises(OutputExistsError, match="contains files that no push wrote"):
        push(folder, f"{address}/data", replace=True)
    assert fetch(f"{address}/data/imageset.json", tmp_path).read_bytes() == b"theirs"


def test_a_file_that_was_changed_or_lost_after_the_push_is_seen(bucket, folder, tmp_path):
    address, put = bucket
    push(folder, f"{address}/release")
    put("release/imageset.json", b"[]")
    with pytest.raises(CorruptFileError, match=r"imageset\.json at .* is corrupt"):
        fetch(f"{address}/release", tmp_path / "fetched")
    assert not (tmp_path / "fetched" / "imageset.json").exists()
    place = storage._read_location(f"{address}/release")
    place.store.delete(place.files[-1])
    with pytest.raises(CorruptFileError, match="is incomplete"):
        fetch(f"{address}/release", tmp_path / "fetched")


def test_an_empty_address_and_a_missing_bucket_are_told_apart(bucket, tmp_path):
    address, _ = bucket
    with pytest.raises(NoFilesError, match="No files found at"):
        fetch(f"{address}/nothing", tmp_path / "fetched")
    if is_uri(address):
        with pytest.raises(NoFilesError, match="Bucket not found at"):
            list_files(f"{address[:5]}no-such-bucket-{os.urandom(4).hex()}/x")
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped", "a//b", "a\\..\\b", "./a"])
def test_a_name_that_leads_out_of_the_folder_is_refused(s3, tmp_path, name):
    address, put = s3
    put(f"data/{name}", b"x")
    put("data/good", b"x")
    with pytest.raises(UnsafeFileError, match="could lead out"):
        fetch(f"{address}/data", tmp_path / "deep" / "fetched")
    assert read(tmp_path) == {}


def test_folder_marks_of_the_consoles_are_passed_over(s3, tmp_path):
    address, put = s3
    put("data/", b"")
    put("data/benign/", b"")
    put("data/benign/1.png", b"one")
    assert read(fetch(f"{address}/data", tmp_path / "fetched")) == {"benign/1.png": b"one"}


def test_more_files_than_a_page_are_listed(s3, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # as the server's page
    address, put = s3
    for number in range(25):
        put(f"data/{number:04d}", b"")
    assert len(list_files(f"{address}/data")) == 25


def test_missing_s3_credentials_are_named(s3, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageAccessError, match="AWS_ACCESS_KEY_ID"):
        list_files(s3[0])


def test_missing_google_credentials_are_named(monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(StorageAccessError, match="gcloud auth application-default login"):
        list_files("gs://bucket/data")


def test_a_storage_that_does_not_answer_is_named(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageUnavailableError, match="is unavailable"):
        list_files(s3[0])


@pytest.mark.parametrize(("library", "address"), [("boto3", "s3://b/x"), ("google.cloud.storage", "gs://b/x")])
def test_a_missing_library_is_named_with_its_extra(monkeypatch, library, address):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'regan\[cloud\]'"):
        list_files(address)


@pytest.mark.parametrize("address", ["https://example.org/images.zip", "gs://", "gs:///x", "ftp://host/x"])
def test_another_kind_of_address_is_refused(address, tmp_path):
    # Without a bucket it reads as a local path, as `Path` writes one.
    expected = "No files found" if address == "gs:///x" else r"Unsupported URI .*: use gs://, s3:// or a local path"
    with pytest.raises((UnsupportedURIError, NoFilesError), match=expected):
        fetch(address, tmp_path)


def test_addresses_and_paths_are_told_apart():
    assert all(is_uri(address) for address in ("gs://b", "s3://b/c", "https://x", str(Path("gs://b/c"))))
    assert not any(is_uri(path) for path in ("data", "/data", "./gs", "C:/data", "data:1", ""))


def test_a_folder_with_links_or_nothing_is_not_pushed(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongArtifactError, match="Found: no files"):
        push(tmp_path / "empty", str(tmp_path / "there"))
    (tmp_path / "empty" / "link").symlink_to("/etc/hostname")
    with pytest.raises(WrongArtifactError, match="link"):
        push(tmp_path / "empty", str(tmp_path / "there"))
    with pytest.raises(NoFilesError, match="is not a directory"):
        push(tmp_path / "absent", str(tmp_path / "there"))
    assert not (tmp_path / "there").exists()


def test_a_local_path_with_nothing_is_not_called_an_address_or_an_upload(tmp_path):
    with pytest.raises(NoFilesError, match=r"There is no such folder or archive, or it is empty") as raised:
        list_files(str(tmp_path / "absent"))
    assert "upload" not in str(raised.value)


def test_fetched_files_can_be_read_by_others(local, tmp_path):
    local[1]("data/1.png", b"one")
    expected = tmp_path / "plain"
    expected.write_bytes(b"")
    assert fetch(local[0], tmp_path / "fetched").joinpath("data/1.png").stat().st_mode == expected.stat().st_mode
