"""Small image sets and a trained classifier that the tests of the room share."""

import numpy as np
import pytest

from regan.artifacts.image_set import ImageSet, ImageSetWriter


def drawn(label: str, number: int, seed: int, size: int = 32, channels: int = 1) -> np.ndarray:
    """Noise, with a bright disc in its middle where the label is m."""
    random = np.random.default_rng((seed, label == "m"))
    images = random.integers(0, 120, (number, size, size, channels))
    y, x = np.mgrid[:size, :size] - size / 2
    images[:, (x**2 + y**2 < size * size / 16) & (label == "m")] += 100
    return images.astype(np.uint8)


@pytest.fixture(scope="session")
def make_set(tmp_path_factory):
    """Function that writes an image set: `make_set(seed, b=20, m=20, ...)`."""

    def make(
        seed=0, *, size=32, channels=1, classes=("b", "m"), origin="real", training_index=(), group="", **numbers
    ) -> ImageSet:
        folder = tmp_path_factory.mktemp("set")
        with ImageSetWriter(
            folder,
            size=size,
            channels=channels,
            classes=classes,
            origin=origin,
            settings={},
            training_index=training_index,
        ) as writer:
            for label, number in (numbers or {"b": 20, "m": 20}).items():
                for i, image in enumerate(drawn(label, number, seed, size, channels)):
                    writer.add(image, label, group=group and f"{group}-{label}-{i}", seed=str(i))
        return ImageSet.open(folder)

    return make
