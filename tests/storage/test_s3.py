import hashlib
import logging

import pytest

from regan.common.errors import ConflictError
from regan.storage import fetch, latest, provider, push, push_latest
from regan.storage.s3 import S3Store, _md5_of_parts
from regan.storage.uri import open_store
from tests.servers.conditions import ignores_conditions, refuses_checksums, refuses_conditions
from tests.servers.proxy import Proxy
from tests.servers.start import use_s3


@pytest.fixture
def server(s3_url, monkeypatch, request):
    """An address on a server that lacks what the parameter says."""
    monkeypatch.setattr(S3Store, "_conditional", {})
    monkeypatch.setattr(S3Store, "_plain", set())
    provider.warn_once.cache_clear()
    proxy = Proxy(s3_url, request.param)
    yield use_s3(proxy.url, monkeypatch.setenv)
    proxy.close()


def folder_of(tmp_path, text):
    (tmp_path / "folder").mkdir(exist_ok=True)
    (tmp_path / "folder" / "a").write_text(text)
    return tmp_path / "folder"


@pytest.mark.parametrize("server", [ignores_conditions, refuses_conditions], indirect=True)
def test_a_server_without_conditional_writes_is_named_once_and_still_tells_conflicts(server, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "regan"):
        one = push_latest(folder_of(tmp_path, "1"), server, None)
        two = push_latest(folder_of(tmp_path, "2"), server, one)
    assert caplog.text.count("ignores If-Match and If-None-Match") == 1
    with pytest.raises(ConflictError):
        push_latest(folder_of(tmp_path, "3"), server, one)
    assert latest(server) == two
    assert not [file.name for file in open_store(server).files() if "probe" in file.name]


@pytest.mark.parametrize("server", [ignores_conditions], indirect=True)
def test_the_loser_of_two_writers_at_once_learns_of_it_without_conditional_writes(server, tmp_path, monkeypatch):
    one = push_latest(folder_of(tmp_path, "1"), server, None)
    store = open_store(server)
    plain = provider.RetryPolicy.delay

    def overtaken(self, failures):
        store._client.put_object(Bucket=store._bucket, Key="latest.json", Body=b"of another")
        return plain(self, failures)

    monkeypatch.setattr(provider.RetryPolicy, "delay", overtaken)
    with pytest.raises(ConflictError):
        push_latest(folder_of(tmp_path, "2"), server, one)


@pytest.mark.parametrize("server", [None], indirect=True)
def test_a_server_with_conditional_writes_is_not_warned_of(server, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "regan"):
        push_latest(folder_of(tmp_path, "1"), server, None)
    assert caplog.text == ""
    assert set(S3Store._conditional.values()) == {True}


@pytest.mark.parametrize("server", [refuses_checksums], indirect=True)
@pytest.mark.parametrize("size", [10, 17 * 2**20], ids=["small", "large"])
def test_a_server_that_refuses_checksums_is_named_and_gets_files_without(server, tmp_path, caplog, size):
    (folder_of(tmp_path, "1") / "b").write_bytes(bytes(size))
    with caplog.at_level(logging.WARNING, "regan"):
        push(tmp_path / "folder", server)
        push_latest(tmp_path / "folder", f"{server}/state", None)
    assert caplog.text.count("refuses uploads with checksums") == 1
    assert fetch(server, tmp_path / "fetched").joinpath("b").stat().st_size == size


@pytest.mark.parametrize("server", [refuses_checksums], indirect=True)
def test_refused_checksums_are_not_taken_for_refused_conditions(server, caplog):
    with caplog.at_level(logging.WARNING, "regan"):
        open_store(server).compare_and_swap("latest.json", b"1", None)
    assert "If-None-Match" not in caplog.text
    with pytest.raises(ConflictError):
        open_store(server).compare_and_swap("latest.json", b"2", None)


def test_the_mark_of_a_file_in_parts_is_made_of_the_marks_of_its_parts(tmp_path):
    (tmp_path / "x").write_bytes(b"abcde")
    parts = b"".join(hashlib.md5(part).digest() for part in (b"ab", b"cd", b"e"))
    assert _md5_of_parts(tmp_path / "x", 2) == f"{hashlib.md5(parts).hexdigest()}-3"
