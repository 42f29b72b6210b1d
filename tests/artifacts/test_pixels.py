import numpy as np
import pytest

from regan.artifacts.pixels import encode_png, pixel_hash, read_png
from regan.common.errors import CorruptFileError


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_gives_its_pixels_back(channels):
    image = np.random.default_rng(1).integers(0, 256, (32, 32, channels), dtype=np.uint8)
    assert np.array_equal(read_png(encode_png(image), "here"), image)


def test_the_hash_tells_shape_and_pixels_apart():
    image = np.zeros((2, 8, 1), np.uint8)
    assert pixel_hash(image) != pixel_hash(image.reshape(8, 2, 1))
    assert pixel_hash(image) != pixel_hash(image + np.uint8(1))
    assert pixel_hash(image) == pixel_hash(image.copy())


def test_a_torn_png_is_refused_by_name():
    png = encode_png(np.random.default_rng(1).integers(0, 256, (32, 32, 1), dtype=np.uint8))
    with pytest.raises(CorruptFileError, match="shard 3: b/1 is not a complete PNG file"):
        read_png(png[: len(png) // 2], "shard 3: b/1")
