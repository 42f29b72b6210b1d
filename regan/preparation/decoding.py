"""Decoding of PNG and JPEG files that other programs wrote, and resizing to the square that networks take.

These files may be corrupt, mislabelled or hostile. Each one is either decoded completely or refused with a reason;
nothing is repaired silently.
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 40_000_000  # 160 MB as RGBA; digital mammograms have about 14 million
MIN_SIDE = 16  # pixels; smaller pictures are icons
MAX_ELONGATION = 4  # long side over short side; longer strips would be mostly padding

_LEAST_WHITE_16_BIT = 16384  # a 12-bit picture in 16-bit words stays below, and would become nearly black
_MODES_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


class RefusedFile(ValueError):  # noqa: N818  (a verdict on one file, not an error of the run)
    """A file that is not used.

    Attributes:
        reason: Why, in a few fixed words, so that files can be counted by reason.
        detail: What was found in this file.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def decode(data: bytes, channels: int) -> Image.Image:
    """Decode one PNG or JPEG file.

    The picture is rotated by its EXIF orientation. Transparent parts become black, like the background of ultrasound
    and X-ray. Colours become grey by ITU-R 601 luma. 16-bit grey is scaled by its full range: 65535 becomes 255.

    Args:
        data: The file's bytes.
        channels: 1 for grey, 3 for RGB.

    Returns:
        A picture of mode `L` or `RGB`.

    Raises:
        RefusedFile: It is not a complete PNG or JPEG picture of a usable size with more than two pixel values.
    """
    if not data:
        raise RefusedFile("empty file")
    if len(data) > MAX_FILE_BYTES:
        raise RefusedFile("too large", f"{len(data):,} bytes; the limit is {MAX_FILE_BYTES:,}")
    picture = _load(data)
    grey_or_rgb = _convert(picture, "L" if channels == 1 else "RGB")
    if grey_or_rgb.getcolors(maxcolors=2) is not None:
        raise RefusedFile("blank picture or mask", "it has at most two different pixel values")
    return grey_or_rgb


def resize_with_pad(picture: Image.Image, size: int) -> np.ndarray:
    """Resize a picture to fit into a square, and pad the shorter side with black on both ends.

    The aspect ratio stays, because "taller than wide" is a sign of malignancy (BI-RADS). Nothing is cropped, because a
    lesion may be at the edge. Resizing is antialiased (Lanczos).

    Args:
        picture: Picture of mode `L` or `RGB`.
        size: Height and width of the square, pixels.

    Returns:
        uint8 `(size, size, 1 or 3)`, 0-255.
    """
    scale = size / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    scaled = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
    square = np.zeros((size, size, len(picture.getbands())), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = scaled.reshape(height, width, -1)
    return square


def _load(data: bytes) -> Image.Image:
    """The decoded picture, rotated by its EXIF orientation, in any mode."""
    try:
        picture = _open(data)
        _check_kind_and_size(picture)
        if picture.format == "PNG":
            _open(data).verify()  # checksums and the end chunk, which decoding alone does not check
        picture.load()
        return ImageOps.exif_transpose(picture)
    except RefusedFile:
        raise
    except Image.UnidentifiedImageError as error:
        raise RefusedFile("not a PNG or JPEG picture", f"it begins with {data[:8]!r}") from error
    except Image.DecompressionBombError as error:
        raise RefusedFile("too many pixels", str(error)) from error
    except Exception as error:  # hostile bytes raise errors of many kinds in a decoder; all mean the same
        raise RefusedFile("corrupt", f"{type(error).__name__}: {error}") from error


def _open(data: bytes) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns at its own limit, which is above ours, and raises an error at twice that.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))


def _check_kind_and_size(picture: Image.Image) -> None:
    width, height = picture.size
    found = f"{width} x {height} pixels"
    if width * height > MAX_PIXELS:
        raise RefusedFile("too many pixels", f"{found}; the limit is {MAX_PIXELS:,}")
    if min(width, height) < MIN_SIDE:
        raise RefusedFile("too small", f"{found}; the minimum is {MIN_SIDE} on each side")
    if max(width, height) > MAX_ELONGATION * min(width, height):
        raise RefusedFile("too elongated", f"{found}; one side may be at most {MAX_ELONGATION} times the other")
    if picture.format == "PNG" and getattr(picture, "n_frames", 1) > 1:
        raise RefusedFile("animated picture", "it has several frames; save the one to use")


def _convert(picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode in _MODES_16_BIT:
        return _convert_16_bit(picture).convert(mode)
    if picture.has_transparency_data:
        coloured = picture.convert("RGBA")
        black = Image.new("RGBA", coloured.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, coloured).convert(mode)
    return picture.convert(mode)


def _convert_16_bit(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    brightest = int(values.max())
    if brightest < _LEAST_WHITE_16_BIT:
        raise RefusedFile(
            "16-bit range not used",
            f"its brightest value is {brightest} of 65535, so it would be nearly black; export it with its window",
        )
    # 65535 = 257 * 255, so that black and white stay exact.
    return Image.fromarray(np.rint(values / 257).clip(0, 255).astype(np.uint8))
