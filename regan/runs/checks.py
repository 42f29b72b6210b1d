"""One line of the preflight's table, and the table as text."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from regan.common import text
from regan.common.text import one_line

WIDTH = 95  # characters of a line in the log; with the launcher's indent it fits a terminal of 100 columns
_MARKS = {"yes": "ok  ", "no": "FAIL", "warn": "WARN", "info": "    "}


@dataclass(frozen=True)
class Check:
    """One check and its result.

    Attributes:
        name: What was checked.
        found: What was found, in few words.
        expected: What is needed; empty where nothing is.
        ok: "yes", "no", "warn" where the run can begin but should perhaps not, or "info" where nothing can fail.
        advice: What to do where it failed.
        detail: More about what was found, for the file of the table only.
    """

    name: str
    found: str
    expected: str = ""
    ok: Literal["yes", "no", "warn", "info"] = "info"
    advice: str = ""
    detail: str = ""

    @classmethod
    def from_result(cls, name: str, found: str, expected: str, passed: bool, advice: str, detail: str = "") -> "Check":
        """A check that passed or failed."""
        return cls(name, found, expected, "yes" if passed else "no", "" if passed else advice, detail)


def failures(checks: Iterable[Check]) -> list[Check]:
    """The checks that failed."""
    return [check for check in checks if check.ok == "no"]


def markdown_table(checks: Sequence[Check]) -> str:
    """The table with all that is known, one line for each check, in Markdown."""
    rows = [(check.name, _in_full(check), check.expected, check.ok) for check in checks]
    return text.markdown_table(("check", "found", "expected", "ok"), rows) + "\n"


def text_table(checks: Sequence[Check], width: int = WIDTH) -> str:
    """The table for a log: one short line for each check, and what to do below a warning.

    Args:
        checks: The checks.
        width: Characters of a line at most.
    """
    column = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        lines.append(one_line(check.found, width - column - 7))
        lines[-1] = f"{_MARKS[check.ok]} {check.name:<{column}}  {lines[-1]}"
        if check.ok == "warn":
            indent = " " * 5
            lines += textwrap.wrap(one_line(check.advice), width, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)


def _in_full(check: Check) -> str:
    return "; ".join(filter(None, [check.found, check.detail, check.advice if check.ok == "warn" else ""]))
