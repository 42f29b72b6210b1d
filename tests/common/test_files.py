import errno
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regan.common.files import atomic_write, disk_space_for, in_parallel, path_inside
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


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a disk of its own: run as root with CAP_SYS_ADMIN")
    yield place
    subprocess.run(["umount", place], check=True)


def folder_of(tmp_path, size):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "weights").write_bytes(b"w" * size)
    (folder / "small").write_bytes(b"s")
    return folder


@given(st.text(min_size=1, max_size=30))
def test_no_name_leads_out_of_the_folder(name):
    root = Path("root")
    try:
        place = path_inside(root, name, "s3://x")
    except ValueError:
        return
    assert Path(os.path.normpath(place)).is_relative_to(root)
    assert os.path.normpath(place) != "root"


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(bucket, small_disk, tmp_path):
    folder = folder_of(tmp_path, 3_000_000)
    push(folder, f"{bucket}/release")
    push_latest(folder, f"{bucket}/state", None)
    for act, address in ((fetch, f"{bucket}/release"), (fetch_latest, f"{bucket}/state")):
        with pytest.raises(OSError, match=r"disk space for 3,000,001 bytes in .*fetched") as raised:
            act(address, small_disk / "fetched")
        assert raised.value.errno == errno.ENOSPC
        assert not [path for path in small_disk.rglob("*") if path.is_file()]


def test_a_disk_that_runs_full_is_told_and_nothing_half_written_stays(small_disk):
    with pytest.raises(OSError, match="disk space for 500,000 bytes") as raised:  # noqa: SIM117 - the order matters
        with disk_space_for(small_disk, 500_000), atomic_write(small_disk / "file") as partial:
            partial.write_bytes(b"x" * 2_000_000)
    assert raised.value.errno == errno.ENOSPC
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("act", ["fetch", "fetch_latest"])
def test_a_limit_on_the_size_of_files_is_told_and_nothing_half_written_stays(bucket, tmp_path, act):
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


def test_other_errors_of_the_disk_pass_as_they_are(tmp_path):
    with pytest.raises(IsADirectoryError, match="Is a directory"), disk_space_for(tmp_path / "new" / "folder", 1):
        tmp_path.write_bytes(b"")


def test_after_a_failure_no_other_job_is_begun():
    begun, gate = [], threading.Event()

    def job(number):
        begun.append(number)
        if number == 0:
            raise ConnectionError("first")
        gate.wait(0.2)

    with pytest.raises(ConnectionError, match="first"):
        in_parallel("Try", job, range(100), 2)
    assert len(begun) < 10


def test_large_files_move_whole_in_parts(bucket, tmp_path):
    data = random.Random(0).randbytes(65 * 2**20)
    (folder_of(tmp_path, 1) / "large").write_bytes(data)
    push(tmp_path / "folder", bucket)
    assert fetch(bucket, tmp_path / "fetched").joinpath("large").read_bytes() == data
