"""Small image sets that the tests of the room share."""

import numpy as np
import pytest

from regan.artifacts.image_set import ImageSetWriter


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 32, 32, 1), dtype=np.uint8)


@pytest.fixture
def image_set(tmp_path, images):
    """A set of 20 grey images in three shards, labels b and m by turns."""
    folder = tmp_path / "set"
    folder.mkdir()
    with ImageSetWriter(
        folder, size=32, channels=1, classes=("b", "m"), origin="real", settings={"k": 1}, shard_images=7
    ) as writer:
        for number, image in enumerate(images):
            writer.add(image, "bm"[number % 2], group=f"g{number}")
    return folder
