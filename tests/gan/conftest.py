"""A tiny network and the independent implementations that the tests here compare with."""

import numpy as np
import pytest

from regan.gan.configuration import configure
from tests.oracles import stylegan2_loops


@pytest.fixture(scope="session")
def loops():
    return stylegan2_loops


def tiny_config(**changes):
    settings = {
        "size": 32,
        "channels": 1,
        "labels": ("benign", "malignant"),
        "base_maps": 64,
        "max_maps": 8,
        "latent_size": 8,
        "style_size": 8,
        "batch_size": 4,
        "kimg": 0.2,
        "snapshot_kimg": 0.1,
        "log_kimg": 0.1,
    }
    return configure("demo", **settings | changes)


@pytest.fixture(scope="session")
def config():
    return tiny_config()


@pytest.fixture
def random():
    return np.random.default_rng(0)
