"""What `make setup` takes and refuses, with interpreters that claim another version, and what the lock files hold."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INSTALL = (ROOT / "locks" / "install.sh").read_text()
VERSIONS = ["3.11", "3.12", "3.13"]


def setup(tmp_path: Path, version: str, first: str = "pass") -> subprocess.CompletedProcess:
    """Run `make setup` with an interpreter that claims a version, runs `first` before any code, and makes no venv."""
    code = f"import sys; sys.version_info = (*map(int, {version!r}.split('.')), 0); {first}; exec(sys.argv[1])"
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
case $1 in
--version) echo "Python {version}.0" ;;
-c) exec "{sys.executable}" -c "{code}" "$2" ;;
*) exit 7 ;;
esac
"""
    )
    python.chmod(0o755)
    # `make test` runs this below a make, which would hand on its flags and make this one print the folder it enters.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    return subprocess.run(
        ["make", "--no-print-directory", "setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_a_python_without_wheels_is_refused_with_the_versions_that_work(tmp_path, version):
    done = setup(tmp_path, version)
    assert done.returncode != 0
    assert done.stderr.startswith(
        f"RaGAN needs Python 3.11, 3.12 or 3.13. Received {tmp_path}/python: Python {version}.0. "
        "Name another one: make setup PYTHON=python3.12\n"
    )
    assert done.stdout == ""


@pytest.mark.parametrize("version", VERSIONS)
def test_each_supported_python_comes_to_the_first_stage(tmp_path, version):
    done = setup(tmp_path, version)
    assert f"with Python {version}.0: 1/3 uv" in done.stdout
    assert "Error 7" in done.stderr  # of the venv, which this interpreter does not make


def test_a_missing_venv_module_is_named_with_its_package(tmp_path):
    done = setup(tmp_path, "3.12", "sys.modules['ensurepip'] = None")
    assert done.returncode != 0
    assert "Python's venv module is missing. Install it first, on Debian and Ubuntu: apt-get install" in done.stderr
    assert done.stdout == ""


def test_every_install_checks_hashes_or_is_of_this_checkout():
    installs = re.findall(r"^ *(?:install|.* pip install) (?!.*\$@)(.*)", INSTALL, re.MULTILINE)
    assert len(installs) == 3
    for options in installs:
        assert "--require-hashes" in options or options == "--no-deps --no-build-isolation --editable ."


@pytest.mark.parametrize("name", ["dev.txt", "uv.txt"])
def test_every_package_of_the_laptop_has_hashes_and_names_no_server(name):
    text = (ROOT / "locks" / name).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+( ; .*)? \\\n    --hash=sha256:", entry), entry
    assert "://" not in text


def test_the_lock_file_is_for_every_system_and_processor():
    locked = (ROOT / "locks" / "dev.txt").read_text()
    assert "sys_platform == 'win32'" in locked
    assert re.findall(r"^(tensorflow(?:-cpu)?)==", locked, re.MULTILINE) == ["tensorflow", "tensorflow-cpu"]


def test_the_versions_are_the_same_wherever_they_stand():
    classifiers = [line.split(" :: ")[-1] for line in PROJECT["project"]["classifiers"] if ":: 3." in line]
    tools = PROJECT["tool"]
    assert classifiers == VERSIONS
    assert PROJECT["project"]["requires-python"] == f">={VERSIONS[0]}"
    assert (tools["ruff"]["target-version"], tools["mypy"]["python_version"]) == ("py311", VERSIONS[0])
    assert f"--python-version {VERSIONS[0]} " in (ROOT / "locks" / "compile.sh").read_text()
    low, high = re.search(r"\(3, (\d+)\) <= sys.version_info\[:2\] <= \(3, (\d+)\)", INSTALL).groups()
    assert [f"3.{minor}" for minor in range(int(low), int(high) + 1)] == VERSIONS
    assert (
        "for name in " + " ".join(f"python{version}" for version in VERSIONS)
        in (ROOT / ".ci" / "other-python").read_text()
    )
