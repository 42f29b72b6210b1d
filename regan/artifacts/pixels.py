"""Pixels of one image: their hash, their PNG, the sizes that the project knows."""

import hashlib
import io

import numpy as np
from PIL import Image, UnidentifiedImageError


def pixel_hash(image: np.ndarray) -> str:
    """SHA-256 (hex) over shape and bytes of an image, uint8 `(height, width, channels)`."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def encode_png(image: np.ndarray) -> bytes:
    """PNG of an image, uint8 `(height, width, 1 or 3)`, without any metadata."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def read_png(png: bytes, where: str) -> np.ndarray:
    """Decode a PNG of ours to uint8 `(height, width, 1 or 3)`; `where` names it in the error."""
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
            pixels = np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"Every image must be a whole PNG file. {where} is none: {error}. Make the set again."
        ) from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def require_size(height: int, width: int) -> None:
    """ValueError unless the size is one that StyleGAN2 can make."""
    if height != width or height not in (32, 64, 128, 256, 512, 1024):
        raise ValueError(
            "`size` must be a power of two between 32 and 1024 and images square, because StyleGAN2 grows from 4 x 4 "
            f"by doubling. Received {height} x {width}. Prepare the images again with `size=256`."
        )
