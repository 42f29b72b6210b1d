import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regan.common.errors import DiskFullError, UnsafeFileError
from regan.common.files import atomic_write, disk_space_for, in_parallel, path_inside


@given(st.text(min_size=1, max_size=30))
def test_no_name_leads_out_of_the_folder(name):
    root = Path("root")
    try:
        place = path_inside(root, name, "s3://x")
    except UnsafeFileError:
        return
    assert Path(os.path.normpath(place)).is_relative_to(root)
    assert os.path.normpath(place) != "root"


def test_a_disk_that_runs_full_is_reported_and_no_incomplete_file_stays(small_disk):
    with pytest.raises(DiskFullError, match="disk space for 500,000 bytes") as raised:  # noqa: SIM117 - the order matters
        with disk_space_for(small_disk, 500_000), atomic_write(small_disk / "file") as partial:
            partial.write_bytes(b"x" * 2_000_000)
    assert raised.value.errno == errno.ENOSPC
    assert not list(small_disk.iterdir())


def test_other_errors_of_the_disk_are_not_changed(tmp_path):
    with pytest.raises(IsADirectoryError, match="Is a directory"), disk_space_for(tmp_path / "new" / "folder", 1):
        tmp_path.write_bytes(b"")


def test_after_a_failure_no_other_job_starts():
    begun, gate = [], threading.Event()

    def job(number):
        begun.append(number)
        if number == 0:
            raise ConnectionError("first")
        gate.wait(0.2)

    with pytest.raises(ConnectionError, match="first"):
        in_parallel("Try", job, range(100), 2)
    assert len(begun) < 10
