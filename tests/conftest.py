"""What many tests share: where the real images and the golden files lie, and what official networks compute."""

import os
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
