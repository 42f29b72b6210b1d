import numpy as np
import pytest

from regan.artifacts.image_set import ImageSet, ImageSetWriter
from regan.common.errors import TooFewImagesError
from regan.quality.extractors import feature_extractor
from regan.quality.snapshots import SnapshotMeasure


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    """Dark and bright noise, 24 of each."""
    random = np.random.default_rng(0)
    return {
        "b": random.integers(0, 100, (24, 32, 32, 1), dtype=np.uint8),
        "m": random.integers(130, 256, (24, 32, 32, 1), dtype=np.uint8),
    }


@pytest.fixture(scope="module")
def image_set(pictures, tmp_path_factory) -> ImageSet:
    folder = tmp_path_factory.mktemp("images")
    with ImageSetWriter(folder, size=32, channels=1, classes=("b", "m"), origin="real", settings={}) as writer:
        for label, images in pictures.items():
            for number, image in enumerate(images[:12] if label == "b" else images[:16]):
                writer.add(image, label, group=f"{label}-{number}")
    return ImageSet.open(folder)


def test_images_like_the_real_ones_are_near_and_mixed_up_classes_far(pictures, image_set):
    measure = SnapshotMeasure(image_set, ("b", "m"), feature_extractor("radiomic"))
    assert {label: len(values) for label, values in measure.real.items()} == {"b": 12, "m": 16}
    near, features = measure(lambda label: [pictures[label][16:20], pictures[label][20:]])
    far, _ = measure(lambda label: [pictures[{"b": "m", "m": "b"}[label]][16:]])
    assert near["num_images"] == 16
    assert {label: values.shape for label, values in features.items()} == {
        "b": (8, measure.real["b"].shape[1]),
        "m": (8, measure.real["b"].shape[1]),
    }
    assert near["kernel_distance"] == pytest.approx((near["kernel_distance_b"] + near["kernel_distance_m"]) / 2)
    assert far["kernel_distance"] > 10 * abs(near["kernel_distance"])
    assert far["frechet_distance"] > 2 * near["frechet_distance"]


def test_only_the_classes_that_are_made_are_measured(pictures, image_set):
    row, features = SnapshotMeasure(image_set, ("m",), feature_extractor("radiomic"))(lambda label: [pictures[label]])
    assert set(features) == {"m"}
    assert "kernel_distance_b" not in row


def test_classes_with_too_few_images_are_refused(tmp_path, pictures):
    with ImageSetWriter(tmp_path, size=32, channels=1, classes=("b", "m"), origin="real", settings={}) as writer:
        for number, image in enumerate(pictures["b"][:7]):
            writer.add(image, "b", group=str(number))
    with pytest.raises(
        TooFewImagesError, match=r"class b: each class of the run \(b\) needs at least 8\. Received 7 in"
    ):
        SnapshotMeasure(ImageSet.open(tmp_path), ("b",), feature_extractor("radiomic"))
