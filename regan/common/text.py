"""Values as text that a log, a page or a table can show, wherever the value came from."""

import math
import re
from collections.abc import Sequence
from typing import TypeGuard

UNKNOWN = "not known"
LONGEST_LINE = 500  # characters of one line of a log or one cell of a table
# Larger than any count of bytes, images or operations here. A JSON integer may have hundreds of digits, and
# `math.isfinite` and `format` raise OverflowError for one above 1.8e308.
_LARGEST = 1e18


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value that was read from a file is a finite number that can be shown or drawn; `True` is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < _LARGEST


def duration(seconds: object) -> str:
    """A length of time in two units: `42 s`, `3 min 10 s`, `5 h 20 min`; `not known` for anything but a number."""
    if not is_number(seconds):
        return UNKNOWN
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 1 or seconds == 0 else "under 1 s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,d} h {whole % 3600 // 60} min"


def printable(text: object) -> str:
    """The same text with `?` for each character that a terminal, a log or an SVG might act on."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


def one_line(text: object, longest: int | None = LONGEST_LINE) -> str:
    """Printable text on one line.

    Args:
        text: Any text; it may come from a program, a server or a file.
        longest: Number of characters after which it is cut and ends in ` ...`; None for no limit.
    """
    shown = printable(" ".join(str(text).split()))
    return shown if longest is None or len(shown) <= longest else shown[: longest - 4] + " ..."


def markdown_text(text: object, longest: int | None = LONGEST_LINE) -> str:
    """One line that Markdown shows as it is, in a table too: no markup, no links, no HTML.

    Args:
        text: Any text.
        longest: As for `one_line`; escapes do not count.
    """
    escaped = one_line(text, longest).replace("\\", "\\\\")
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # An underscore inside a word is no markup, so that `prepare_images` stays readable in the source of a page.
    return re.sub(r"[|`*\[\]~]|^#|(?<!\w)_|_(?!\w)", r"\\\g<0>", escaped)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, one line a row, without a line break at its end."""
    cells = [[markdown_text(text) for text in row] for row in [head, *rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in [cells[0], ["---"] * len(head), *cells[1:]])
