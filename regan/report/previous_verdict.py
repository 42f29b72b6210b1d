"""The verdict of the previous run: the record that is kept of one, and how the next report shows it.

It is shown next to the new verdict for comparison only. No figure of a comparison ever depends on it.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from regan.artifacts.entries import CompareClassifiersEntry
from regan.artifacts.entry import as_record, read_record
from regan.common.errors import CorruptFileError
from regan.common.text import UNKNOWN
from regan.report import formatting as fmt
from regan.report.lineage import Lineage

_LOG = logging.getLogger("regan")
FORMAT = 1
VERDICT = "verdict.json"


@dataclass(frozen=True)
class VerdictRecord:
    """What is kept of a comparison; the fields are those of `CompareClassifiersEntry`, besides date and version.

    Attributes:
        date: Day of the comparison, `2026-10-01`.
        regan: Version of regan.
    """

    verdict: str
    sentence: str
    endpoint: str
    positive_class: str
    data_version: str
    run_key: str
    test_set: str
    margin: float
    difference: float
    lower: float
    upper: float
    num_images: int
    num_positive: int
    num_negative: int
    date: str
    regan: str

    @classmethod
    def of(cls, comparison: CompareClassifiersEntry, *, date: str, regan: str) -> "VerdictRecord":
        """The record of a comparison."""
        names = [one.name for one in fields(cls) if one.name not in ("date", "regan")]
        # A comparison of bare folders has no run key and no data version, and the record has empty ones.
        own: dict[str, Any] = {name: "" if (value := getattr(comparison, name)) is None else value for name in names}
        return cls(**own, date=date, regan=regan)


def test_set_name(sha256: Iterable[str]) -> str:
    """A name for a set of test images, the same for the same images in any order: SHA-256 of their sorted hashes."""
    return hashlib.sha256("\n".join(sorted(sha256)).encode()).hexdigest()


def write_verdict(folder: Path, record: VerdictRecord, previous: VerdictRecord | None, *, finished: bool) -> None:
    """Write `verdict.json`.

    Args:
        folder: Folder to write to.
        record: The new verdict.
        previous: The verdict before it, which is kept for a run that is repeated.
        finished: Whether nothing is left to be done for this run; False where a release may follow.
    """
    content = as_record(record) | {
        "format": FORMAT,
        "before": as_record(previous) if previous else None,
        "finished": finished,
    }
    _write(folder / VERDICT, content)


def finish_verdict(folder: Path, run_key: str) -> bool:
    """Mark a run as finished.

    Args:
        folder: Folder with `verdict.json`.
        run_key: Key of the run.

    Returns:
        Whether the file was changed: not where the verdict is another run's, or is marked already.
    """
    path = folder / VERDICT
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if found.get("run_key") != run_key or found.get("finished"):
        return False
    _write(path, found | {"finished": True})
    return True


def read_verdict(folder: Path, run_key: str) -> VerdictRecord | None:
    """Read the previous verdict of another run.

    Args:
        folder: Folder with `verdict.json`.
        run_key: Key of the present run. Where the verdict is its own, as when a run is repeated, the one before counts.

    Returns:
        The verdict; None where there was none.

    Raises:
        CorruptFileError: The file cannot be read, or another version of regan wrote it.
    """
    try:
        found = json.loads((folder / VERDICT).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"it has format {found['format']!r}")
        if run_key and found["run_key"] == run_key:
            found = found["before"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(f"{VERDICT} is not a verdict of format {FORMAT}: {error}") from error
    if found is None:
        return None
    return read_record(VerdictRecord, found, f"{VERDICT} is not a verdict of format {FORMAT}: it")


def previous_verdict(lineage: Lineage) -> dict[str, Any] | None:
    """For the page: both verdicts line by line and their differences; None where no previous verdict was read."""
    comparison = lineage.comparison
    if comparison.previous_verdict is None:
        return None
    if not comparison.previous_verdict:
        return {"rows": [], "date": "", "differs": ""}
    try:
        previous = read_record(VerdictRecord, comparison.previous_verdict, "The previous verdict in the comparison")
    except CorruptFileError as error:  # it decides nothing, so that it must not stop the report either
        _LOG.warning("The previous verdict is not shown. %s", error)
        return None
    new = VerdictRecord.of(comparison, date="", regan=lineage.compare.versions.get("regan", UNKNOWN))
    rows = [
        {"term": term, "new": write(new), "previous": write(previous), "differs": write(new) != write(previous)}
        for term, write in _ROWS.items()
    ]
    shown = [row for row in rows if {row["new"], row["previous"]} != {_NOT_GIVEN}]
    return {"rows": shown, "date": previous.date, "differs": _differs(new, previous)}


_NOT_GIVEN = "not given"


def _difference(of: VerdictRecord) -> str:
    return f"{fmt.signed(of.difference)} ({fmt.interval(of.lower, of.upper, sign=True)})"


_ROWS = {
    "Verdict": lambda of: fmt.sentence_case(of.verdict),
    "Difference, 95 % interval": _difference,
    "Endpoint": lambda of: fmt.MEASURES.get(of.endpoint, of.endpoint),
    "Margin": lambda of: fmt.number(of.margin, 2),
    "Test images": lambda of: f"{fmt.number(of.num_images)} ({fmt.number(of.num_positive)} {of.positive_class})",
    "Data version": lambda of: of.data_version or _NOT_GIVEN,
    "RaGAN": lambda of: of.regan,
}


def _differs(new: VerdictRecord, previous: VerdictRecord) -> str:
    """One or two sentences: what besides the classifiers differs, and what that means."""
    pairs = {
        "the endpoint": (new.endpoint, previous.endpoint),
        "the margin": (new.margin, previous.margin),
        "the data": (new.data_version, previous.data_version),
    }
    changed = [name for name, (now, before) in pairs.items() if now != before]
    if new.test_set == previous.test_set:
        others = f"What differs: {' and '.join(changed)}. " if changed else ""
        return f"{others}Both verdicts rest on the same test images."
    more = new.num_images - previous.num_images
    number = f"{fmt.plural(abs(more), 'image')} {'more' if more > 0 else 'fewer'}" if more else "as many"
    listed = ", ".join([*changed, f"the test images ({number})"])
    return f"What differs: {listed}. So the verdict may have changed because of the test images alone."


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
