"""Folders that are fetched onto a disk that is too small, and files that are transferred in parts."""

import errno
import random
import subprocess
import sys

import pytest

from regan.common.errors import DiskFullError
from regan.storage import fetch, fetch_latest, push, push_latest

FILE_SIZE_LIMIT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from regan import storage
try:
    getattr(storage, sys.argv[1])(sys.argv[2], sys.argv[3])
except OSError as error:
    sys.exit(str(error))
"""


def folder_of(tmp_path, size):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "weights").write_bytes(b"w" * size)
    (folder / "small").write_bytes(b"s")
    return folder


def test_a_disk_that_is_too_small_is_reported_before_anything_is_fetched(bucket, small_disk, tmp_path):
    folder = folder_of(tmp_path, 3_000_000)
    push(folder, f"{bucket}/release")
    push_latest(folder, f"{bucket}/state", None)
    for act, address in ((fetch, f"{bucket}/release"), (fetch_latest, f"{bucket}/state")):
        with pytest.raises(DiskFullError, match=r"disk space for 3,000,001 bytes in .*fetched") as raised:
            act(address, small_disk / "fetched")
        assert raised.value.errno == errno.ENOSPC
        assert not [path for path in small_disk.rglob("*") if path.is_file()]


@pytest.mark.parametrize("act", ["fetch", "fetch_latest"])
def test_a_limit_on_the_size_of_files_is_reported_and_no_incomplete_file_stays(bucket, tmp_path, act):
    folder = folder_of(tmp_path, 300_000)
    push(folder, f"{bucket}/fetch")
    push_latest(folder, f"{bucket}/fetch_latest", None)
    ended = subprocess.run(
        [sys.executable, "-c", FILE_SIZE_LIMIT, act, f"{bucket}/{act}", tmp_path / "fetched"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Not enough disk space for 300,001 bytes in" in ended.stderr
    assert {path.name for path in (tmp_path / "fetched").rglob("*")} <= {"small"}


def test_large_files_are_transferred_in_parts(bucket, tmp_path):
    data = random.Random(0).randbytes(65 * 2**20)
    (folder_of(tmp_path, 1) / "large").write_bytes(data)
    push(tmp_path / "folder", bucket)
    assert fetch(bucket, tmp_path / "fetched").joinpath("large").read_bytes() == data
