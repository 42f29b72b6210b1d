import logging
import os
import random
import time

import pytest

from regan.common.errors import ConflictError, CorruptFileError, StorageAccessError, StorageUnavailableError
from regan.storage import fetch, fetch_latest, latest, list_files, provider, push, push_latest
from regan.storage.provider import RetryPolicy
from regan.storage.uri import open_store
from tests.servers.proxy import Fault, every, first

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def written(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_content(request):
    """Whether a request reads the bytes of a file, not a listing."""
    if "/storage/v1/" in request.path:
        return request.query.get("alt") == "media"
    return request.method == "GET" and "list-type" not in request.query


def writes_pointer(request):
    return request.method in ("PUT", "POST") and b"latest.json" in request.target.encode() + request.body[:2000]


FILES = {f"{number % 3}/{number}.bin": os.urandom(2000 + number) for number in range(12)}


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(lost="before"), Fault(lost="after")], ids=["503", "lost", "reply lost"]
)
def test_one_failing_request_of_five_loses_nothing(cloud, tmp_path, fault):
    address, proxy = cloud
    with proxy.faults(every(5, fault)) as seen:
        push(written(tmp_path / "folder", FILES), f"{address}/release")
        assert read(fetch(f"{address}/release", tmp_path / "fetched")) == FILES
        version = None
        for number in range(1, 5):
            (tmp_path / "folder" / "state").write_text(str(number))
            version = push_latest(tmp_path / "folder", f"{address}/state", version)
            assert version.number == number
        assert fetch_latest(f"{address}/state", tmp_path / "state") == version
        assert read(tmp_path / "state") == {**FILES, "state": b"4"}
    assert len(seen) > 50


def test_the_lost_reply_of_a_pointers_write_is_no_conflict(cloud, tmp_path):
    address, proxy = cloud
    version = None
    push_latest(written(tmp_path / "folder", {"a": b"0"}), f"{address}/probe", None)
    for number in (1, 2):
        written(tmp_path / "folder", {"a": b"%d" % number})
        with proxy.faults(first(1, Fault(lost="after"), writes_pointer)) as seen:
            version = push_latest(tmp_path / "folder", address, version)
        assert sum(map(writes_pointer, seen)) == 2  # the second one met our own write
        assert latest(address) == version
        assert version.number == number


def test_a_real_conflict_after_a_lost_request_is_still_told(cloud, tmp_path, monkeypatch):
    address, proxy = cloud
    one = push_latest(written(tmp_path / "folder", {"a": b"1"}), address, None)

    def plan(request, done=[]):  # noqa: B006 - remembers that it struck
        if not writes_pointer(request) or done:
            return None
        done.append(True)
        push_latest(written(tmp_path / "other", {"a": b"of another"}), address, one)
        return Fault(lost="before")

    monkeypatch.setattr(proxy, "_lock", DoesNotLock())
    with proxy.faults(plan), pytest.raises(ConflictError):
        push_latest(written(tmp_path / "folder", {"a": b"2"}), address, one)
    fetch_latest(address, tmp_path / "fetched")
    assert read(tmp_path / "fetched") == {"a": b"of another"}


class DoesNotLock:
    def __enter__(self):
        pass

    def __exit__(self, *error):
        pass


@pytest.mark.parametrize("size", [3_000, 17 * 2**20], ids=["small", "large"])
@pytest.mark.parametrize("fault", [Fault(cut=0.4), Fault(flip=True)], ids=["cut", "changed"])
def test_a_damaged_download_is_fetched_again(cloud, tmp_path, size, fault):
    address, proxy = cloud
    data = random.Random(0).randbytes(size)
    open_store(address).upload(next(iter(written(tmp_path / "f", {"x": data}).iterdir())), "data/x")
    with proxy.faults(first(1, fault, is_content)) as seen:
        assert read(fetch(f"{address}/data", tmp_path / "fetched")) == {"x": data}
    assert sum(map(is_content, seen)) > 1


@pytest.mark.parametrize("pushed", [True, False], ids=["our push", "files of others"])
def test_damage_that_stays_is_refused_and_leaves_no_file(cloud, tmp_path, pushed):
    address, proxy = cloud
    folder = written(tmp_path / "folder", {"x": b"bytes of x"})
    push(folder, address) if pushed else open_store(address).upload(folder / "x", "x")
    with (
        proxy.faults(every(1, Fault(flip=True), lambda request: is_content(request) and request.path.endswith("x"))),
        pytest.raises(CorruptFileError, match=r"is corrupt: (its checksum differs|it differs from the file)"),
    ):
        fetch(address, tmp_path / "fetched")
    assert not list((tmp_path / "fetched").rglob("*"))


def test_slow_replies_are_waited_for_and_silent_ones_asked_again(cloud, tmp_path, monkeypatch):
    address, proxy = cloud
    monkeypatch.setattr(provider, "RETRY_POLICY", RetryPolicy(seconds=20, first=0.05, longest=0.2, answer=0.5))
    push(written(tmp_path / "folder", {"x": b"0123456789" * 100}), address)
    with proxy.faults(every(1, Fault(pause=0.05, pieces=10), is_content)):
        assert fetch(address, tmp_path / "slow").joinpath("x").stat().st_size == 1000
    with proxy.faults(first(1, Fault(pause=1.5), is_content)) as seen:
        assert fetch(address, tmp_path / "silent").joinpath("x").stat().st_size == 1000
    assert sum(map(is_content, seen)) > 1


def test_a_storage_that_stays_busy_is_given_up_at_the_deadline(cloud, tmp_path, monkeypatch):
    address, proxy = cloud
    monkeypatch.setattr(provider, "RETRY_POLICY", RetryPolicy(seconds=1.0, first=0.05, longest=0.2, answer=1))
    before = time.monotonic()
    with (
        proxy.faults(every(1, Fault(status=503))) as seen,
        pytest.raises(StorageUnavailableError, match="unavail"),
    ):
        list_files(address)
    assert 0.5 < time.monotonic() - before < 4
    assert len(seen) > 4


@pytest.mark.parametrize("expired", [True, False])
def test_an_expired_token_or_a_refusal_is_told_at_once(cloud, tmp_path, expired):
    address, proxy = cloud
    status, body = ((400, EXPIRED) if address.startswith("s3") else (401, b"")) if expired else (403, DENIED)
    folder = written(tmp_path / "folder", {"x": b"1"})
    one = push_latest(folder, address, None)
    written(folder, {"x": b"2"})
    with proxy.faults(every(1, Fault(status=status, body=body))) as seen:
        for act in (lambda: list_files(address), lambda: push_latest(folder, address, one), lambda: latest(address)):
            with pytest.raises(StorageAccessError, match="credentials"):
                act()
    assert len(seen) <= 9
    assert latest(address) == one


def test_a_push_that_is_broken_off_leaves_the_latest_as_it_was(cloud, tmp_path, monkeypatch):
    address, proxy = cloud
    folder = written(tmp_path / "folder", FILES)
    one = push_latest(folder, address, None)
    written(folder, {name: data + b"more" for name, data in FILES.items()})

    def breaks(request):
        return Fault(status=503) if request.number > 8 else None

    with monkeypatch.context() as patch, proxy.faults(breaks), pytest.raises(ConnectionError):
        patch.setattr(provider, "RETRY_POLICY", RetryPolicy(seconds=0.5, first=0.05, longest=0.2, answer=1))
        push_latest(folder, address, one)
    assert latest(address) == one
    assert fetch_latest(address, tmp_path / "fetched") == one
    assert read(tmp_path / "fetched") == FILES
    two = push_latest(folder, address, one)
    assert fetch_latest(address, tmp_path / "fetched") == two
    assert read(tmp_path / "fetched") == read(folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_no_mixture_of_faults_loses_a_version(cloud, tmp_path, seed, caplog):
    address, proxy = cloud
    rng = random.Random(seed)
    faults = [
        Fault(status=503), Fault(status=500), Fault(lost="before"), Fault(lost="after"), Fault(cut=0.3),
        Fault(pause=0.05, pieces=3),
    ]  # fmt: skip
    folder, version = written(tmp_path / "folder", {}), None
    folder.mkdir(exist_ok=True)
    with (
        caplog.at_level(logging.WARNING, "regan"),
        proxy.faults(lambda request: rng.choice(faults) if rng.random() < 0.25 else None),
    ):
        for number in range(1, 9):
            written(folder, {f"{rng.randrange(6)}.bin": rng.randbytes(rng.randrange(20_000)) for _ in range(3)})
            version = push_latest(folder, address, version)
            assert version.number == number
            if rng.random() < 0.5:
                assert fetch_latest(address, tmp_path / "fetched") == version
    assert fetch_latest(address, tmp_path / f"{seed}") == version
    assert read(tmp_path / f"{seed}") == read(folder)
    assert "corrupt" not in caplog.text
