"""Official files, written from the arrays of two small official networks."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

ORACLES = Path(__file__).resolve().parents[1] / "oracles"


def load(name):
    spec = importlib.util.spec_from_file_location(name, ORACLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pickles():
    return load("official_pickles")


@pytest.fixture(scope="session")
def official():
    return load("official_stylegan2")


@pytest.fixture(scope="session")
def rgb(golden):
    return dict(np.load(golden / "stylegan2_official" / "rgb32.npz"))


@pytest.fixture(scope="session")
def grey(golden):
    return dict(np.load(golden / "stylegan2_official" / "grey32_two_classes.npz"))


@pytest.fixture
def write(tmp_path):
    """A file with these bytes."""

    def written(data, name="official.pkl"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return written
