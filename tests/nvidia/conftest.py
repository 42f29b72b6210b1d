"""Official files, written from the arrays of two small official networks."""

import numpy as np
import pytest

from tests.oracles import official_pickles


@pytest.fixture(scope="session")
def pickles():
    return official_pickles


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
