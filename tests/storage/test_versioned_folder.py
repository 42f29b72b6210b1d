import hashlib
import json
import logging
import threading

import pytest

from regan.common.errors import ConflictError, CorruptFileError, FilesChangedError, UnsafeFileError, WrongArtifactError
from regan.storage import Version, claim_latest, fetch_latest, latest, push_latest
from regan.storage.uri import open_store
from regan.storage.versioned_folder import OBJECTS, POINTER
from tests.servers.proxy import Fault, every
from tests.storage.losing import lose_one


def written(folder, **files):
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def objects(address):
    """Objects by the hash of their content."""
    return {file.name.removeprefix(OBJECTS).partition("-")[0]: file for file in open_store(address).files(OBJECTS)}


def test_an_address_without_a_push_has_no_latest(bucket, tmp_path):
    assert latest(f"{bucket}/state") is None
    assert fetch_latest(f"{bucket}/state", tmp_path / "fetched") is None
    assert not (tmp_path / "fetched").exists()


def test_each_push_is_the_latest_and_comes_back_whole(bucket, tmp_path):
    address, version = f"{bucket}/some/state", None
    for number in range(1, 4):
        folder = written(tmp_path / "folder", weights=f"weights {number}", log="same")
        version = push_latest(folder, address, version)
        assert version.number == number
        assert latest(address) == version
        assert fetch_latest(address, tmp_path / "fetched") == version
        assert contents(tmp_path / "fetched") == contents(folder)


def test_names_in_folders_and_equal_files_come_back(bucket, tmp_path):
    (tmp_path / "folder" / "a" / "b").mkdir(parents=True)
    for name in ("x", "a/x", "a/b/ä y"):
        (tmp_path / "folder" / name).write_text("alike")
    version = push_latest(tmp_path / "folder", bucket, None)
    assert len(objects(bucket)) == 1
    assert fetch_latest(bucket, tmp_path / "fetched") == version
    assert contents(tmp_path / "fetched") == contents(tmp_path / "folder")


def test_a_push_on_anything_but_the_latest_is_a_conflict_and_changes_nothing(bucket, tmp_path):
    first = push_latest(written(tmp_path / "folder", a="1"), bucket, None)
    second = push_latest(written(tmp_path / "folder", a="2"), bucket, first)
    written(tmp_path / "folder", a="3")
    for previous in (None, first, Version(2, second.files, "1")):
        with pytest.raises(ConflictError, match="now has version 2"):
            push_latest(tmp_path / "folder", bucket, previous)
    assert latest(bucket) == second
    with pytest.raises(ConflictError, match="now has no version"):
        push_latest(tmp_path / "folder", f"{bucket}/other", first)


def test_a_claim_keeps_the_version_and_stops_the_older_writer(bucket, tmp_path):
    folder = written(tmp_path / "folder", a="1")
    older = push_latest(folder, bucket, None)
    claimed = claim_latest(bucket, older)
    assert (claimed.number, claimed.files) == (older.number, older.files)
    assert latest(bucket) == claimed
    for late in (lambda: push_latest(folder, bucket, older), lambda: claim_latest(bucket, older)):
        with pytest.raises(ConflictError):
            late()
    assert push_latest(written(folder, a="2"), bucket, claimed).number == 2


@pytest.mark.parametrize("done", [True, False], ids=["reply lost", "request lost"])
def test_a_push_after_one_that_lost_any_one_request_meets_no_other_writer(bucket, tmp_path, done):
    folder, lost, struck = tmp_path / "folder", 0, True
    while struck:
        address = f"{bucket}/{lost}"
        version = None
        for text in "123":
            version = push_latest(written(folder, a=text, b="same"), address, version, writer="me")
        with pytest.MonkeyPatch.context() as patch:
            fault = lose_one(patch, type(open_store(bucket)), lost, done=done)
            try:
                version = push_latest(written(folder, a="4", b="same"), address, version, writer="me")
            except ConnectionError:
                assert fetch_latest(address, tmp_path / "fetched").number in (3, 4)
        version = push_latest(written(folder, a="5", b="same"), address, version, writer="me")
        assert fetch_latest(address, tmp_path / "fetched") == version
        assert contents(tmp_path / "fetched") == {"a": "5", "b": "same"}
        struck = fault.struck
        lost += 1
    assert lost > 6
    assert version.number == 5


@pytest.mark.parametrize("done", [True, False], ids=["reply lost", "request lost"])
def test_a_claim_after_one_that_lost_any_one_request_meets_no_other_writer(bucket, tmp_path, done):
    lost, struck = 0, True
    while struck:
        address = f"{bucket}/{lost}"
        theirs = push_latest(written(tmp_path / "folder", a="1"), address, None)
        with pytest.MonkeyPatch.context() as patch:
            fault = lose_one(patch, type(open_store(bucket)), lost, done=done)
            try:
                claim_latest(address, theirs, writer="me")
            except ConnectionError:
                assert fault.struck
        claimed = claim_latest(address, theirs, writer="me")
        assert latest(address) == claimed
        assert (claimed.number, claimed.files) == (1, theirs.files)
        with pytest.raises(ConflictError):
            claim_latest(address, theirs, writer="another")
        assert push_latest(written(tmp_path / "folder", a="2"), address, claimed, writer="me").number == 2
        struck = fault.struck
        lost += 1
    assert lost > 2


def test_a_push_whose_lost_write_lands_late_goes_on_from_it(bucket, tmp_path, monkeypatch):
    one = push_latest(written(tmp_path / "folder", a="1"), bucket, None, writer="me")
    store, swap, late = type(open_store(bucket)), type(open_store(bucket)).compare_and_swap, []

    def delayed(self, *arguments):
        late.append(arguments)
        raise ConnectionError("no answer")

    def overtaken(self, *arguments):
        while late:
            swap(self, *late.pop())
        return swap(self, *arguments)

    monkeypatch.setattr(store, "compare_and_swap", delayed)
    with pytest.raises(ConnectionError):
        push_latest(written(tmp_path / "folder", a="2"), bucket, one, writer="me")
    monkeypatch.setattr(store, "compare_and_swap", overtaken)
    three = push_latest(written(tmp_path / "folder", a="3"), bucket, one, writer="me")
    assert three.number == 3
    assert fetch_latest(bucket, tmp_path / "fetched") == three
    assert contents(tmp_path / "fetched") == {"a": "3"}


def test_what_an_older_writer_removes_late_is_nothing_that_a_newer_one_pushed_again(bucket, tmp_path, monkeypatch):
    version = None
    for text in "12":
        version = push_latest(written(tmp_path / "folder", a=text), bucket, version)
    store = type(open_store(bucket))
    delete = store.delete

    def overtaken(self, file):
        monkeypatch.setattr(store, "delete", delete)
        newer = latest(bucket)
        for text in "14":  # the bytes that are just being removed, pushed again
            newer = push_latest(written(tmp_path / "other", a=text), bucket, newer)
        delete(self, file)

    monkeypatch.setattr(store, "delete", overtaken)
    push_latest(written(tmp_path / "folder", a="3"), bucket, version)
    fetched = fetch_latest(bucket, tmp_path / "fetched")
    assert (fetched.number, contents(tmp_path / "fetched")) == (5, {"a": "4"})
    assert set(objects(bucket)) == {fetched.files["a"], hash_of("1")}  # the version before is whole, too


def hash_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_address_whose_objects_are_named_by_their_hashes_alone_is_read_and_followed(bucket, tmp_path):
    version = push_latest(written(tmp_path / "folder", a="1", b="same"), bucket, None)
    store = open_store(bucket)
    for digest, file in objects(bucket).items():
        store.delete(file)
        name = next(name for name, other in version.files.items() if other == digest)
        store.upload(tmp_path / "folder" / name, OBJECTS + digest)
    data, token = store.read(POINTER)
    fields = json.loads(data)
    del fields["objects"], fields["write"]
    store.compare_and_swap(POINTER, json.dumps(fields).encode(), token)
    old = fetch_latest(bucket, tmp_path / "fetched")
    assert contents(tmp_path / "fetched") == {"a": "1", "b": "same"}
    new = push_latest(written(tmp_path / "folder", a="2", b="same"), bucket, old)
    assert fetch_latest(bucket, tmp_path / "again") == new
    assert contents(tmp_path / "again") == {"a": "2", "b": "same"}


def test_only_what_is_new_is_moved_either_way(bucket, tmp_path, monkeypatch):
    moved = []
    store = type(open_store(bucket))
    for name in ("upload", "download"):
        plain = getattr(store, name)

        def counted(self, first, second, *, plain=plain, name=name, **options):
            moved.append(name)
            return plain(self, first, second, **options)

        monkeypatch.setattr(store, name, counted)
    first = push_latest(written(tmp_path / "folder", a="1", b="2"), bucket, None)
    fetch_latest(bucket, tmp_path / "fetched")
    assert sorted(moved) == ["download"] * 2 + ["upload"] * 2
    push_latest(written(tmp_path / "folder", a="1", b="2", c="3"), bucket, first)
    fetch_latest(bucket, tmp_path / "fetched")
    assert moved[4:] == ["upload", "download"]


def test_files_of_the_last_two_versions_are_kept_and_older_ones_removed(bucket, tmp_path):
    version, hashes = None, []
    for number in range(5):
        version = push_latest(written(tmp_path / "folder", a=f"version {number}", b="same"), bucket, version)
        hashes.append(version.files["a"])
        assert set(objects(bucket)) == {*hashes[-2:], version.files["b"]}


@pytest.mark.parametrize("damage", ["lost", "other bytes"])
def test_a_damaged_version_is_told_and_the_one_before_taken(bucket, tmp_path, caplog, damage):
    first = push_latest(written(tmp_path / "folder", a="1", b="same"), bucket, None)
    second = push_latest(written(tmp_path / "folder", a="2", b="same"), bucket, first)
    hurt(bucket, second.files["a"], damage, tmp_path)
    with caplog.at_level(logging.WARNING, "regan"):
        fetched = fetch_latest(bucket, tmp_path / "fetched")
    assert "version 2 is corrupt" in caplog.text
    assert (fetched.number, contents(tmp_path / "fetched")) == (1, {"a": "1", "b": "same"})
    # What follows repairs the file, and the numbers go on.
    third = push_latest(written(tmp_path / "folder", a="2", b="same"), bucket, claim_latest(bucket, fetched))
    assert third.number == 3
    assert fetch_latest(bucket, tmp_path / "fetched") == third
    assert contents(tmp_path / "fetched") == {"a": "2", "b": "same"}


def test_an_address_whose_versions_are_both_damaged_is_refused_and_the_folder_untouched(bucket, tmp_path):
    first = push_latest(written(tmp_path / "folder", a="1", b="1"), bucket, None)
    second = push_latest(written(tmp_path / "folder", a="2", b="1"), bucket, first)
    hurt(bucket, second.files["b"], "other bytes", tmp_path)
    written(tmp_path / "fetched", a="mine")
    with pytest.raises(CorruptFileError, match=r"All versions at .* are corrupt"):
        fetch_latest(bucket, tmp_path / "fetched")
    assert contents(tmp_path / "fetched") == {"a": "mine"}


def hurt(address, digest, damage, tmp_path):
    if damage == "lost":
        store = open_store(address)
        store.delete(objects(address)[digest])
    else:
        (tmp_path / "bad").write_text("X")
        open_store(address).upload(tmp_path / "bad", objects(address)[digest].name)


def test_a_reader_follows_a_writer_that_removes_what_it_is_reading(bucket, tmp_path, monkeypatch, caplog):
    version = push_latest(written(tmp_path / "folder", a="1"), bucket, None)
    store = type(open_store(bucket))
    plain, newer = store.download, [version]

    def overtaken(self, file, target, **options):
        while newer[-1].number < 4:
            newer.append(push_latest(written(tmp_path / "folder", a=f"{len(newer) + 1}"), bucket, newer[-1]))
        plain(self, file, target, **options)

    monkeypatch.setattr(store, "download", overtaken)
    assert fetch_latest(bucket, tmp_path / "fetched") == newer[-1]
    assert contents(tmp_path / "fetched") == {"a": "4"}
    assert "corrupt" not in caplog.text


def test_a_pointer_of_another_program_is_refused(bucket, tmp_path):
    store = open_store(bucket)
    for text in (b"not json", b"{}", b'{"format": 2, "number": 1, "files": {}, "previous": {}}', b"[]"):
        found = store.read(POINTER)
        store.compare_and_swap(POINTER, text, found[1] if found else None)
        with pytest.raises(WrongArtifactError, match="is not a pointer of format 1"):
            latest(bucket)


def test_a_name_that_leads_out_of_the_folder_is_refused(bucket, tmp_path):
    push_latest(written(tmp_path / "folder", a="1"), bucket, None)
    store = open_store(bucket)
    data, token = store.read(POINTER)
    fields = json.loads(data)
    fields["files"] = {"../escaped": fields["files"]["a"]}
    store.compare_and_swap(POINTER, json.dumps(fields).encode(), token)
    with pytest.raises(UnsafeFileError, match="could lead out"):
        fetch_latest(bucket, tmp_path / "fetched")
    assert not (tmp_path / "escaped").exists()


def test_what_a_killed_fetch_left_half_written_is_neither_pushed_nor_kept(bucket, tmp_path):
    folder = written(tmp_path / "folder", a="1")
    (folder / ".part-killed").mkdir()
    (folder / ".part-killed" / "0").write_text("half")
    version = push_latest(folder, bucket, None)
    assert set(version.files) == {"a"}
    (folder / "a").unlink()
    fetch_latest(bucket, folder)
    assert contents(folder) == {"a": "1"}


def test_versions_can_be_pushed_by_whoever_may_not_remove_files(cloud, tmp_path, caplog):
    address, proxy = cloud
    denied = Fault(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    version = None
    with proxy.faults(every(1, denied, lambda request: request.method == "DELETE")):
        for number in range(1, 4):
            version = push_latest(written(tmp_path / "folder", a=f"{number}"), address, version)
    assert fetch_latest(address, tmp_path / "fetched") == version
    assert "files of an older version could not be removed" in caplog.text


def test_a_file_that_changes_while_it_is_pushed_is_refused(bucket, tmp_path, monkeypatch):
    folder = written(tmp_path / "folder", a="1", b="2")
    store = type(open_store(bucket))
    plain = store.upload

    def changing(self, source, name):
        (folder / "a").write_text("more")
        plain(self, source, name)

    with monkeypatch.context() as patch:
        patch.setattr(store, "upload", changing)
        with pytest.raises(FilesChangedError, match="Files changed during upload; try again when nothing"):
            push_latest(folder, bucket, None)
    assert latest(bucket) is None
    push_latest(folder, bucket, None)
    fetch_latest(bucket, tmp_path / "fetched")
    assert contents(tmp_path / "fetched") == {"a": "more", "b": "2"}


def test_writers_that_race_lose_no_update(bucket, tmp_path):
    """Each adds a line three times; a lost update would leave fewer lines."""
    push_latest(written(tmp_path / "start", count=""), bucket, None)
    failures = []

    def add(writer):
        folder = tmp_path / f"writer-{writer}"
        left = 3
        try:
            while left:
                version = fetch_latest(bucket, folder)
                (folder / "count").write_text((folder / "count").read_text() + f"{writer}-{left}\n")
                try:
                    push_latest(folder, bucket, version)
                    left -= 1
                except ConflictError:
                    continue
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert latest(bucket).number == 10
    fetch_latest(bucket, tmp_path / "end")
    assert sorted((tmp_path / "end" / "count").read_text().split()) == sorted(
        f"{writer}-{left}" for writer in range(3) for left in range(1, 4)
    )
