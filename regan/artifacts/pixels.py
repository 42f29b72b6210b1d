"""Pixels of one image: hash, PNG encoding, and the sizes that StyleGAN2 can make."""

import hashlib
import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from regan.common.errors import CorruptFileError, SettingError

SIZES = (32, 64, 128, 256, 512, 1024)  # StyleGAN2 grows from 4 x 4 by doubling; 1024 is the largest published network


def pixel_hash(image: np.ndarray) -> str:
    """SHA-256 (hexadecimal) of shape and bytes of an image, uint8 `(height, width, channels)`, 0-255."""
    # The shape too: 2 x 8 and 4 x 4 pixels may have the same bytes.
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def encode_png(image: np.ndarray) -> bytes:
    """PNG of an image, uint8 `(height, width, 1 or 3)`, 0-255, without any metadata."""
    buffer = io.BytesIO()
    # Level 1 is the fastest; on speckle, level 9 saves 3 % (phantom images of 256 pixels).
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def read_png(png: bytes, where: str) -> np.ndarray:
    """Decode a PNG that this package wrote.

    Args:
        png: The encoded image.
        where: Its name in the error message.

    Returns:
        uint8 `(height, width, 1 or 3)`, 0-255.

    Raises:
        CorruptFileError: It is not a complete PNG file.
    """
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
            pixels = np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise CorruptFileError(f"{where} is not a complete PNG file: {error}. Make the image set again.") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def require_size(height: int, width: int) -> None:
    """SettingError unless the image size, pixels, is one that StyleGAN2 can make."""
    if height != width or height not in SIZES:
        raise SettingError(
            f"StyleGAN2 cannot make images of {height} x {width} pixels: `size` is a power of two between 32 and 1024, "
            "and images are square. Prepare the images again with `size=256`."
        )
