"""Image sets that the tests of several verbs share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regan.artifacts.image_set import ImageSetWriter


def noise_and_discs(label: str, number: int, seed: int, size: int = 32) -> np.ndarray:
    """Noise, with a bright disc in its middle where the label is m."""
    random = np.random.default_rng((seed, label == "m"))
    images = random.integers(0, 120, (number, size, size, 1))
    y, x = np.mgrid[:size, :size] - size / 2
    images[:, (x**2 + y**2 < size * size / 16) & (label == "m")] += 100
    return images.astype(np.uint8)


@pytest.fixture(scope="session")
def labelled_set(tmp_path_factory) -> Callable[..., Path]:
    """Function that writes an image set of classes b and m: `labelled_set(seed, b=20, m=20)`."""

    def make(seed=0, *, b=20, m=20, size=32, origin="real", training_index=(), settings=None) -> Path:
        folder = tmp_path_factory.mktemp("images")
        with ImageSetWriter(
            folder,
            size=size,
            channels=1,
            classes=("b", "m"),
            origin=origin,
            settings=settings or {},
            training_index=training_index,
        ) as writer:
            for label, number in (("b", b), ("m", m)):
                for i, image in enumerate(noise_and_discs(label, number, seed, size)):
                    writer.add(image, label, group=f"{seed}-{label}-{i}", seed=str(i), psi="0.7", generator="abc")
        return folder

    return make


@pytest.fixture(scope="session")
def trained_classifier(labelled_set, tmp_path_factory) -> Path:
    """A small classifier that tells noise from discs; seeds 0 and 1 trained and validated it."""
    import regan

    path = tmp_path_factory.mktemp("model") / "classifier"
    regan.train_classifier(
        labelled_set(0, b=96, m=96), labelled_set(1, b=30, m=30), path, backbone="small", weights="none", epochs=12
    )
    return path
