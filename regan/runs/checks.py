"""One line of the preflight's table, and the table as text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from regan.common import text
from regan.common.text import one_line


@dataclass(frozen=True)
class Check:
    """What was looked at.

    Attributes:
        name: What.
        found: What was found.
        expected: What is needed; empty where nothing is.
        ok: "yes", "no", or "told" where there is nothing to fail.
        advice: What to do where it failed.
    """

    name: str
    found: str
    expected: str = ""
    ok: Literal["yes", "no", "told"] = "told"
    advice: str = ""

    @classmethod
    def judged(cls, name: str, found: str, expected: str, passed: bool, advice: str) -> "Check":
        """A check that passed or did not."""
        return cls(name, found, expected, "yes" if passed else "no", "" if passed else advice)


def failed(checks: Iterable[Check]) -> list[Check]:
    """Those that did not pass."""
    return [check for check in checks if check.ok == "no"]


def markdown_table(checks: Sequence[Check]) -> str:
    """The table, one line a check."""
    rows = [(check.name, check.found, check.expected, check.ok) for check in checks]
    return text.markdown_table(("check", "found", "expected", "ok"), rows) + "\n"


def text_table(checks: Sequence[Check]) -> str:
    """The same for a log."""
    width = max((len(check.name) for check in checks), default=0)
    marks = {"yes": "ok  ", "no": "FAIL", "told": "    "}
    return "\n".join(
        f"{marks[check.ok]} {check.name:<{width}}  {one_line(check.found)}"
        + (f"  (expected: {one_line(check.expected)})" if check.expected else "")
        for check in checks
    )
