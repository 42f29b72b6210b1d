"""The number of CPUs follows affinity and cgroup, with real processes and folders as the kernel lays them out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regan.common.cpus import VARIABLES, available_cpus, cpu_limit, limit_threads

LINUX = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity of processes (Linux)")


@pytest.fixture
def cgroup(tmp_path):
    """Writes files below a mount point, and reads the limit of a process that lists `line` as its cgroup."""

    def read(line: str, **files: str) -> float | None:
        for name, text in files.items():
            path = tmp_path / "mount" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "cgroup").write_text(line)
        return cpu_limit(mount=tmp_path / "mount", membership=tmp_path / "cgroup")

    return read


def test_version_2_in_a_container_has_its_limit_at_the_root(cgroup):
    assert cgroup("0::/\n", **{"cpu.max": "150000 100000\n"}) == 1.5


def test_no_limit_is_none(cgroup):
    assert cgroup("0::/\n", **{"cpu.max": "max 100000\n"}) is None
    assert cgroup("2:cpu,cpuacct:/\n", **{"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}) is None


def test_the_smallest_limit_on_the_way_to_the_root_counts(cgroup):
    files = {"pods/cpu.max": "400000 100000", "pods/one/cpu.max": "max 100000", "cpu.max": "800000 100000"}
    assert cgroup("0::/pods/one\n", **files) == 4.0


def test_version_1_reads_the_cpu_controller_only(cgroup):
    files = {"cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "100000"}
    assert cgroup("5:memory:/b\n3:cpuset:/a\n2:cpu,cpuacct:/a\n0::/\n", **files) == 0.5


def test_version_1_finds_the_limit_of_a_container_whose_path_is_the_hosts(cgroup):
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "200000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}
    assert cgroup("2:cpu,cpuacct:/docker/0123\n", **files) == 2.0


def test_files_that_cannot_be_read_are_no_limit(cgroup, tmp_path):
    assert cgroup("0::/\n", **{"cpu.max": "garbage"}) is None
    assert cpu_limit(mount=tmp_path, membership=tmp_path / "absent") is None


@pytest.mark.parametrize(("quota", "cpus"), [("10000 100000", 1), ("99999900000 100000", None)])
def test_a_limit_is_at_least_one_cpu_and_at_most_the_affinity(tmp_path, quota, cpus):
    (tmp_path / "cpu.max").write_text(quota)
    (tmp_path / "cgroup").write_text("0::/")
    all_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert available_cpus(mount=tmp_path, membership=tmp_path / "cgroup") == (cpus or all_cpus)


def test_a_fraction_of_a_cpu_is_used_too(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text("150000 100000")
    (tmp_path / "cgroup").write_text("0::/")
    assert available_cpus(mount=tmp_path, membership=tmp_path / "cgroup") == 2


def python(code: str, **environment: str) -> str:
    variables = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run([sys.executable, "-c", code], env=variables | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ONE_CPU = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
COUNT = "from regan.common.cpus import available_cpus; print(available_cpus())"
VALUES = f"print([os.environ.get(name) for name in {VARIABLES!r}])"


@LINUX
def test_a_process_on_one_cpu_counts_one():
    assert python(ONE_CPU + COUNT) == "1"


@LINUX
def test_affinity_alone_sets_no_variable_because_the_libraries_read_it():
    assert python(ONE_CPU + "import regan\n" + VALUES) == str([None] * len(VARIABLES))


@LINUX
def test_numpy_takes_the_number_that_is_set():
    count = "import numpy, threadpoolctl\nprint(threadpoolctl.threadpool_info()[0]['num_threads'])"
    assert python(count, OMP_NUM_THREADS="1") == "1"


@pytest.fixture
def eight_cpus(monkeypatch, tmp_path):
    """A node of eight CPUs with a limit of two."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr("regan.common.cpus.available_cpus", lambda: 2)
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_a_limit_sets_every_variable(eight_cpus):
    limit_threads()
    assert {os.environ[name] for name in VARIABLES} == {"2"}


def test_a_variable_that_is_set_is_kept(eight_cpus, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "5"


CPU = Path("/sys/fs/cgroup/cpu")


@pytest.fixture
def one_cpu_cgroup():
    """A cgroup of the kernel with a limit of one CPU; skips where none can be made."""
    folder = CPU / f"regan-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("needs a cgroup that can be written (version 1, as root)")
    try:
        (folder / "cpu.cfs_period_us").write_text("100000")
        (folder / "cpu.cfs_quota_us").write_text("100000")
        yield folder
    finally:
        folder.rmdir()


def test_a_real_limit_is_what_the_libraries_follow(one_cpu_cgroup):
    enter = f"import os; open({str(one_cpu_cgroup / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    count = "import regan, numpy, threadpoolctl\nprint(threadpoolctl.threadpool_info()[0]['num_threads'])"
    assert python(enter + COUNT) == "1"
    assert python(enter + count) == "1"
    assert python(enter + "import regan\n" + VALUES) in (str(["1"] * len(VARIABLES)), str([None] * len(VARIABLES)))
