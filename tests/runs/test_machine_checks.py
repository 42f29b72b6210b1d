import os
import shutil
import stat
from pathlib import Path

import pytest

from regan.runs import machine_checks
from regan.runs.machine_checks import Gpus, disk_check, gpu_checks, query_gpus, shared_memory_check

HEADER = "| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4     |"
A100 = "NVIDIA A100-SXM4-40GB, 40960 MiB, 550.54.15, 8.0"


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A program of that name on PATH, which answers what it is told to."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def install(script):
        program = tmp_path / "bin" / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return install


def answering(rows, header=HEADER):
    table = " ".join(f"'{row}'" for row in rows)
    return f"""case "$1" in --query*) printf '%s\\n' {table} ;; *) echo '{header}' ;; esac"""


def test_gpus_driver_and_cuda_are_read(nvidia_smi):
    nvidia_smi(answering([A100, A100]))
    found = query_gpus()
    assert found == Gpus(
        names=("NVIDIA A100-SXM4-40GB",) * 2,
        memory=("40960 MiB",) * 2,
        capabilities=("8.0", "8.0"),
        driver="550.54.15",
        cuda="12.4",
    )
    assert [check.ok for check in gpu_checks(found, 2)] == ["yes", "info", "yes", "info"]


def test_fewer_gpus_than_asked_for_fail(nvidia_smi):
    nvidia_smi(answering([A100]))
    check = gpu_checks(query_gpus(), 2)[0]
    assert (check.ok, check.expected) == ("no", "2 or more")
    assert "gpu_node_selector" in check.advice


def test_an_old_driver_that_tells_no_capability_is_read_and_refused(nvidia_smi):
    nvidia_smi(
        'case "$1" in *compute_cap*) echo "Field compute_cap is not a valid field"; exit 2 ;; '
        "--query*) echo 'Tesla K80, 11441 MiB, 450.80.02' ;; *) echo 'CUDA Version: 11.0' ;; esac"
    )
    found = query_gpus()
    assert (found.names, found.capabilities) == (("Tesla K80",), ("",))
    checks = {check.name: check for check in gpu_checks(found, 1)}
    assert checks["CUDA"].ok == "no"
    assert "not reported" in checks["architecture"].found


@pytest.mark.parametrize(("capability", "words"), [("3.7", "too old"), ("12.0", "newer than"), ("9.0", "9.0")])
def test_an_architecture_out_of_the_packages_range_is_told(capability, words):
    found = Gpus(names=("X",), memory=("1 MiB",), capabilities=(capability,), driver="550", cuda="12.4")
    check = gpu_checks(found, 1)[-1]
    assert words in check.found
    assert check.ok == "info"


@pytest.mark.parametrize("script", ["echo 'No devices were found'; exit 6", "exit 0", "echo garbage", "kill -9 $$"])
def test_a_driver_without_a_gpu_fails_with_what_it_says(nvidia_smi, script):
    nvidia_smi(script)
    check = gpu_checks(query_gpus(), 1)[0]
    assert check.ok == "no"
    assert "lists no GPU" in check.found


def test_a_driver_that_hangs_is_given_up(nvidia_smi, monkeypatch):
    monkeypatch.setattr(machine_checks, "_SECONDS", 0.2)
    nvidia_smi("exec sleep 30")
    assert "nvidia-smi failed" in query_gpus().error


def test_a_machine_without_the_program_has_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "nvidia-smi not found" in query_gpus().error


def test_the_driver_of_a_google_node_is_found_outside_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_checks, "_GKE", tmp_path / "nvidia")
    program = tmp_path / "nvidia" / "bin" / "nvidia-smi"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\n[ \"$LD_LIBRARY_PATH\" = '{tmp_path}/nvidia/lib64' ] || exit 1\n" + answering([A100])
    )
    program.chmod(0o755)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert query_gpus().names == ("NVIDIA A100-SXM4-40GB",)


def test_shared_memory_is_needed_with_a_gpu_alone(tmp_path):
    assert shared_memory_check(False).ok == "info"
    absent = shared_memory_check(True, tmp_path / "absent")
    assert (absent.ok, "cannot be read" in absent.found) == ("no", True)
    enough = shutil.disk_usage(tmp_path).total >= 2**30
    assert shared_memory_check(True, tmp_path).ok == ("yes" if enough else "no")


def test_a_disk_must_have_the_bytes_that_are_needed(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    assert disk_check("disk", tmp_path / "not" / "there" / "yet", free // 2, "the run").ok == "yes"
    short = disk_check("disk", Path(tmp_path), free * 2, "the run")
    assert short.ok == "no"
    assert "for the run" in short.expected
