"""Times of a schedule: cron expressions of six fields, and moments."""

import re
from datetime import UTC, datetime

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


def checked_cron(text: str) -> str:
    """Check a cron expression as the scheduler of Kubeflow Pipelines reads it.

    Args:
        text: Seconds, minutes, hours, day of the month, month, day of the week (0-6 from Sunday, or names).

    Returns:
        The same with single spaces.

    Raises:
        ValueError: Not six fields, or a field that the scheduler could not read.

    References:
        https://pkg.go.dev/github.com/robfig/cron#hdr-CRON_Expression_Format
    """
    fields = text.split()
    if len(fields) == 5:
        # The scheduler would take it, as seconds to month: `0 2 * * *` would start a run every hour.
        raise ValueError(
            "--cron expects six fields, because Kubeflow counts from the seconds. Received five, as crontab has them: "
            f"{text!r}. Put the seconds first: '0 {' '.join(fields)}'."
        )
    if len(fields) != len(_FIELDS):
        raise ValueError(
            "--cron expects six fields: seconds, minutes, hours, day of the month, month, day of the week "
            f"({_EXAMPLE}). Received {text!r}."
        )
    for field, (name, least, most, words) in zip(fields, _FIELDS):
        for part in field.split(","):
            _check_part(part, name, least, most, words)
    if not fields[0].isdecimal():
        raise ValueError(
            "--cron expects one number for the seconds, such as 0, because nobody retrains several times a minute. "
            f"Received {fields[0]!r} in {text!r}."
        )
    return " ".join(fields)


def _check_part(part: str, name: str, least: int, most: int, words: list[str]) -> None:
    fits = re.fullmatch(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
    ends = [_number(end, least, words) for end in fits.groups()[:2] if end] if fits else []
    if not fits or any(not least <= end <= most for end in ends) or ends != sorted(ends) or fits[3] == "0":
        also = f" or {words[0]} to {words[-1]}" if words else ""
        raise ValueError(
            f"--cron expects {least} to {most}{also}, *, a range or a list of these for the {name} ({_EXAMPLE}). "
            f"Received {part!r}."
        )


def _number(text: str, least: int, words: list[str]) -> int:
    if text.isdecimal():
        return int(text)
    return words.index(text.upper()) + least if text.upper() in words else -1


def checked_moment(text: str, option: str) -> datetime | None:
    """Read a moment.

    Args:
        text: ISO 8601 with its offset from UTC; empty = none.
        option: Name of the option, for the message.

    Returns:
        The moment in UTC, or None.

    Raises:
        ValueError: No moment, or one without an offset.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(
            f"{option} expects a date and time with its offset from UTC, such as 2027-01-31T02:00:00Z or "
            f"2027-01-31T02:00:00+01:00. Received {text!r}."
        )
    return moment.astimezone(UTC)
