"""Picture sheets of a history as images that stand inside the page."""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Sheet:
    """A picture for the page: its source as a data URI (empty where there is none), size and words.

    Attributes:
        caption: What stands below it.
        note: One line on what it means, or on why it is missing.
        source: `data:image/png;base64,...`, or nothing.
        width: Pixels.
        height: Pixels.
        alt: What it shows, for those who cannot see it.
    """

    caption: str
    note: str
    source: str = ""
    width: int = 0
    height: int = 0
    alt: str = ""


def sheet(thumbnails: Mapping[str, bytes], name: str, caption: str, note: str, missing: str) -> Sheet:
    """The thumbnail `name` as a sheet; where it is missing, or no PNG, `missing` says so in its place."""
    png = thumbnails.get(name, b"")
    if not is_png(png):
        return Sheet(caption, missing if not png else "This picture of the history cannot be read.")
    width, height = struct.unpack(">II", png[16:24])
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return Sheet(caption, note, source, width, height, f"{caption}: a sheet of sample images")


def is_png(data: bytes) -> bool:
    """Whether the bytes begin as a PNG file does, with a size that a page can show."""
    if len(data) < 33 or not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR":
        return False
    width, height = struct.unpack(">II", data[16:24])
    return 0 < width <= 4096 and 0 < height <= 4096
