import os
import select
import subprocess
import sys

import pytest

from regan.common.system import require_posix, sync_to_disk, try_lock, wait_for_lock

HOLD = """
import os, sys
from regan.common.system import try_lock, wait_for_lock
lock = {"try": try_lock, "wait": wait_for_lock}[sys.argv[2]]
lock(os.open(sys.argv[1], os.O_RDWR))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock_file(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    return path


def start(path, way):
    command = [sys.executable, "-c", HOLD, str(path), way]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_lock_is_held_by_one_process_and_released_when_it_is_killed(lock_file):
    holder = start(lock_file, "try")
    assert holder.stdout.readline() == "held\n"
    with lock_file.open("wb") as file:
        assert not try_lock(file.fileno())
        holder.kill()
        holder.wait()
        assert try_lock(file.fileno())


def test_waiting_ends_when_the_other_process_does(lock_file):
    with lock_file.open("wb") as file:
        assert try_lock(file.fileno())
        waiter = start(lock_file, "wait")
        assert not select.select([waiter.stdout], [], [], 1)[0]
    assert waiter.communicate("", timeout=60)[0] == "held\n"


def test_a_child_process_that_inherits_the_file_holds_the_lock(lock_file):
    with lock_file.open("wb") as file:
        assert try_lock(file.fileno())
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[file.fileno()])
    with lock_file.open("wb") as file:
        assert not try_lock(file.fileno())
        child.communicate(b"\n")
        wait_for_lock(file.fileno())


def test_a_folder_is_locked_and_written_to_the_disk_like_a_file(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert try_lock(descriptor)
    os.close(descriptor)
    sync_to_disk(tmp_path)


def test_a_file_without_write_permission_is_written_to_the_disk_too(lock_file):
    lock_file.chmod(0o400)
    sync_to_disk(lock_file)


def test_linux_refuses_nothing():
    require_posix("Training")
