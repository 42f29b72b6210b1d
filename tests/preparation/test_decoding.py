import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regan.preparation.decoding import MAX_PIXELS, RefusedFile, decode, resize_with_pad

# A grey ramp with a step, so that turning and mirroring show.
GREY = np.add.outer(np.arange(24) * 3, np.arange(40) * 4).astype(np.uint8)
GREY[:6, :10] = 250


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width, height, *extra):
    """A PNG whose header is right, with next to nothing in it."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + png_chunk(b"IDAT", zlib.compress(b"\0" * 100)) + IEND


IEND = png_chunk(b"IEND", b"")
PNG = encoded(Image.fromarray(GREY))
JPEG = encoded(Image.fromarray(GREY), "JPEG", quality=95)


def pixels(data, channels=1):
    return np.asarray(decode(data, channels))


def refusal(data):
    with pytest.raises(RefusedFile) as caught:
        decode(data, 1)
    return caught.value


def test_grey_and_colour_files_give_the_same_grey():
    for mode in ("L", "RGB", "RGBA", "LA"):
        assert np.array_equal(pixels(encoded(Image.fromarray(GREY).convert(mode))), GREY), mode


def test_a_palette_is_resolved():
    palette = Image.fromarray(GREY).quantize(256)
    assert np.abs(pixels(encoded(palette)).astype(int) - GREY).max() <= 2
    assert pixels(encoded(palette), channels=3).shape == (24, 40, 3)


def test_a_jpeg_is_decoded_and_a_wrong_suffix_does_not_matter():
    assert np.abs(pixels(JPEG).astype(int) - GREY).mean() < 3
    assert pixels(encoded(Image.fromarray(GREY).convert("CMYK"), "JPEG"), channels=3).shape == (24, 40, 3)


def test_colour_becomes_grey_by_luma():
    colours = np.zeros((20, 30, 3), np.uint8)
    colours[:, :10, 0], colours[:, 10:20, 1], colours[:, 20:, 2] = 255, 255, 255
    # ITU-R BT.601: 0.299, 0.587, 0.114.
    assert pixels(encoded(Image.fromarray(colours)))[0, [5, 15, 25]].tolist() == [76, 150, 29]


def test_transparent_parts_become_black():
    colours = np.full((20, 20, 4), 200, np.uint8)
    colours[:, :5, 3], colours[:, 5:10, 3], colours[:, 10:, 3] = 0, 128, 255
    assert pixels(encoded(Image.fromarray(colours)))[0, [2, 7, 15]].tolist() == [0, 100, 200]


@pytest.mark.parametrize("transparent", [0, 10])
def test_a_transparent_palette_entry_becomes_black(transparent):
    palette = Image.fromarray(GREY // 16)
    palette = palette.convert("P", palette=Image.Palette.ADAPTIVE)
    index = np.asarray(palette)
    data = encoded(palette, transparency=transparent)
    assert (pixels(data)[index == transparent] == 0).all()


def test_16_bit_grey_keeps_its_white():
    wide = (GREY.astype(np.uint16) * 257).astype(np.uint16)
    assert np.array_equal(pixels(encoded(Image.fromarray(wide))), GREY)


def test_a_12_bit_picture_in_16_bit_words_is_refused_and_not_shown_black():
    narrow = GREY.astype(np.uint16) * 16
    found = refusal(encoded(Image.fromarray(narrow)))
    assert found.reason == "16-bit range not used"
    assert "4000 of 65535" in found.detail


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(orientation, kind):
    # The table of the EXIF standard: what must be done to the stored picture.
    upright = {
        1: GREY,
        2: GREY[:, ::-1],
        3: GREY[::-1, ::-1],
        4: GREY[::-1],
        5: GREY.T,
        6: np.rot90(GREY, -1),
        7: GREY[::-1, ::-1].T,
        8: np.rot90(GREY),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(GREY), kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    found = pixels(data)
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 3


def test_no_metadata_is_carried_on():
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    picture = decode(encoded(Image.fromarray(GREY), exif=exif), 1)
    assert b"Jane" not in encoded(Image.fromarray(resize_with_pad(picture, 32)[..., 0]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"This is a text file.\n", "not a PNG or JPEG picture"),
        (encoded(Image.fromarray(GREY), "GIF"), "not a PNG or JPEG picture"),
        (encoded(Image.fromarray(GREY), "TIFF"), "not a PNG or JPEG picture"),
        (PNG[:-12], "corrupt"),
        (PNG[: len(PNG) // 2], "corrupt"),
        (JPEG[: len(JPEG) // 2], "corrupt"),
        (png_of_size(60_000, 60_000), "too many pixels"),
        (png_of_size(MAX_PIXELS // 4000 + 1, 4000), "too many pixels"),
        (png_of_size(40, 40), "corrupt"),
        (encoded(Image.fromarray(GREY[:10])), "too small"),
        (encoded(Image.fromarray(np.tile(GREY, (1, 4)))), "too elongated"),
        (encoded(Image.new("L", (40, 40), 7)), "blank picture or mask"),
        (encoded(Image.fromarray(GREY > 100)), "blank picture or mask"),
        (
            encoded(Image.fromarray(GREY), save_all=True, append_images=[Image.fromarray(GREY.T).resize((40, 24))]),
            "animated picture",
        ),
    ],
)
def test_what_is_no_whole_picture_is_refused_with_its_reason(data, reason):
    assert refusal(data).reason == reason


def test_too_many_bytes_are_not_even_looked_at(monkeypatch):
    monkeypatch.setattr("regan.preparation.decoding.MAX_FILE_BYTES", 100)
    assert refusal(b"x" * 101).reason == "too large"


def test_a_text_chunk_that_unpacks_to_gigabytes_is_refused():
    bomb = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(50_000_000)))
    data = PNG[:33] + bomb + PNG[33:]
    assert refusal(data).reason == "corrupt"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([PNG, JPEG]), st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_damaged_files_are_decoded_or_refused_but_never_fail_otherwise(data, place, noise):
    place %= len(data)
    try:
        picture = decode(data[:place] + noise + data[place + len(noise) :], 1)
    except RefusedFile:
        return
    assert picture.mode == "L"


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", PNG[:33], b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xe0"]), st.binary())
def test_random_bytes_are_refused(start, rest):
    with pytest.raises(RefusedFile):
        decode(start + rest, 1)


@pytest.mark.parametrize("shape", [(64, 64), (64, 32), (30, 100), (33, 64), (200, 77)])
def test_a_square_keeps_proportions_and_pads_with_black(shape):
    image = np.full(shape, 200, np.uint8)
    square = resize_with_pad(Image.fromarray(image), 32)
    assert square.shape == (32, 32, 1)
    inside = square[..., 0] == 200
    height, width = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert (max(height, width), inside.sum()) == (32, height * width)
    assert height / width == pytest.approx(shape[0] / shape[1], rel=0.06)
    assert (square[..., 0][~inside] == 0).all()
    # Centred to within one pixel.
    rows, columns = np.nonzero(inside)
    assert abs(rows[0] - (31 - rows[-1])) <= 1
    assert abs(columns[0] - (31 - columns[-1])) <= 1


def test_scaling_down_is_antialiased():
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    small = resize_with_pad(Image.fromarray(stripes), 32).astype(int)
    assert np.abs(small[:, 2:-2] - 127.5).max() < 3


def test_colour_is_kept_where_it_is_asked_for():
    colours = np.zeros((40, 20, 3), np.uint8)
    colours[..., 1] = 90
    square = resize_with_pad(Image.fromarray(colours), 32)
    assert square.shape == (32, 32, 3)
    assert square[16, 16].tolist() == [0, 90, 0]
