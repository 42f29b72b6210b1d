"""The independent implementation that the tests here compare with."""

import functools
import importlib.util
from pathlib import Path

import numpy as np
import pytest

ORACLES = Path(__file__).resolve().parents[1] / "oracles"


@pytest.fixture(scope="session")
def oracle():
    spec = importlib.util.spec_from_file_location("image_distances", ORACLES / "image_distances.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def phantoms():
    """Phantom images, uint8 `(n, size, size, 1)`: as many of each class."""
    from regan.preparation.phantom import LABELS, phantom_image

    @functools.cache
    def made(per_class, seed, size=32):
        images = [phantom_image(label, i, size=size, seed=seed) for label in LABELS for i in range(per_class)]
        return np.stack(images)[..., None]

    return made
