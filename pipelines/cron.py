"""Times of a schedule: cron expressions of six fields, and dates with a time."""

import re
from datetime import UTC, datetime

from regan.common.errors import SettingError

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("seconds", 0, 59, []),
    ("minutes", 0, 59, []),
    ("hours", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_EXAMPLE = "`0 0 2 * * SUN` is Sundays at 02:00"


def check_cron(text: str) -> str:
    """Check a cron expression as the scheduler of Kubeflow Pipelines parses it.

    Args:
        text: Seconds, minutes, hours, day of the month, month, day of the week (0-6 from Sunday, or names).

    Returns:
        The same with single spaces.

    Raises:
        SettingError: Not six fields, or a field that the scheduler cannot parse.

    References:
        https://pkg.go.dev/github.com/robfig/cron#hdr-CRON_Expression_Format
    """
    fields = text.split()
    if len(fields) == 5:
        # The scheduler would accept it as seconds to month: `0 2 * * *` would start a run every hour.
        raise SettingError(
            f"--cron {text!r} has five fields, as in crontab; Kubeflow needs six. Put the seconds first: "
            f"'0 {' '.join(fields)}'."
        )
    if len(fields) != len(_FIELDS):
        raise SettingError(
            f"--cron {text!r} does not have six fields. Use seconds, minutes, hours, day of the month, month, day of "
            f"the week ({_EXAMPLE})."
        )
    for field, (name, least, most, words) in zip(fields, _FIELDS):
        for part in field.split(","):
            _check_part(part, name, least, most, words)
    if not fields[0].isdecimal():
        raise SettingError(
            f"--cron {text!r} would start several runs a minute: its seconds are {fields[0]!r}. Use one number, such "
            "as 0."
        )
    return " ".join(fields)


def _check_part(part: str, name: str, least: int, most: int, words: list[str]) -> None:
    fits = re.fullmatch(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
    ends = [_number(end, least, words) for end in fits.groups()[:2] if end] if fits else []
    if not fits or any(not least <= end <= most for end in ends) or ends != sorted(ends) or fits[3] == "0":
        also = f" or {words[0]} to {words[-1]}" if words else ""
        raise SettingError(
            f"--cron has an invalid {name} field: {part!r}. Use {least} to {most}{also}, *, a range or a list of these "
            f"({_EXAMPLE})."
        )


def _number(text: str, least: int, words: list[str]) -> int:
    if text.isdecimal():
        return int(text)
    return words.index(text.upper()) + least if text.upper() in words else -1


def parse_time(text: str, option: str) -> datetime | None:
    """Parse a date and time.

    Args:
        text: ISO 8601 with its offset from UTC; empty = none.
        option: Name of the option, for the message.

    Returns:
        The time in UTC, or None.

    Raises:
        SettingError: Not a date and time, or one without an offset.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SettingError(
            f"{option} {text!r} is not a date and time with its offset from UTC. Use such as 2027-01-31T02:00:00Z or "
            "2027-01-31T02:00:00+01:00."
        )
    return moment.astimezone(UTC)
