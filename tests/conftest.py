"""Fixtures of many rooms: folders of real images and golden files, official networks, and a small disk."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.oracles import official_stylegan2

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of the real ultrasound images; see CONTRIBUTING.md."""
    folder = Path(os.environ.get("REGAN_TEST_DATA", SHARED / "data"))
    if not (folder / "busi_raw_sample").is_dir():
        pytest.skip(f"needs the real images: set REGAN_TEST_DATA to their folder (looked in {folder})")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the golden files, beside the real images."""
    folder = Path(os.environ.get("REGAN_TEST_DATA", SHARED / "data")).parent / "golden"
    if not folder.is_dir():
        pytest.skip(f"needs the golden files beside REGAN_TEST_DATA (looked in {folder})")
    return folder


@pytest.fixture(scope="session")
def official():
    """Our networks with the weights of official ones."""
    return official_stylegan2


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
