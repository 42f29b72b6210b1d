"""The verdict of the run before: the record that is kept of one, and how the next report shows it.

It stands beside the new verdict for the eye alone. No figure of a comparison ever depends on it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from regan.common.text import UNKNOWN, is_number
from regan.report import formatting as fmt
from regan.report.lineage import Lineage

FORMAT = 1
VERDICT = "verdict.json"
_TEXTS = ("verdict", "sentence", "endpoint", "positive_class", "date", "data_version", "run_key", "regan", "test_set")
_NUMBERS = ("margin", "difference", "lower", "upper")
_COUNTS = ("num_images", "num_positive", "num_negative")


def test_set_name(sha256: Iterable[str]) -> str:
    """A name for a set of test images, the same for the same images in any order: SHA-256 of their sorted hashes."""
    return hashlib.sha256("\n".join(sorted(sha256)).encode()).hexdigest()


def write_verdict(folder: Path, record: Mapping[str, Any], last: Mapping[str, Any] | None, *, finished: bool) -> None:
    """Write `verdict.json`.

    Args:
        folder: Where to.
        record: Settings, counts and figures of a comparison, `date` and version of `regan`; what is no part of a
            verdict stays out.
        last: The verdict before it, which is kept for a run that is repeated.
        finished: Whether nothing is left to be done for this run: a release may still follow.
    """
    before = dict(last) if last else None
    told = _checked(record) | {"format": FORMAT, "before": before, "finished": finished}
    (folder / VERDICT).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def finish_verdict(folder: Path, run_key: str) -> bool:
    """Note that a run left nothing to be done.

    Args:
        folder: Where `write_verdict` wrote its verdict.
        run_key: Key of the run.

    Returns:
        Whether the note was made: not where the verdict is another run's, or has the note.
    """
    path = folder / VERDICT
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if found.get("run_key") != run_key or found.get("finished"):
        return False
    path.write_text(
        json.dumps(found | {"finished": True}, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
    )
    return True


def read_verdict(folder: Path, run_key: str) -> dict[str, Any] | None:
    """Read the last verdict of another run.

    Args:
        folder: Where `write_verdict` wrote it.
        run_key: Key of the present run. Where the verdict is its own, as when a run is repeated, the one before counts.

    Returns:
        Its fields, or None where there was none.

    Raises:
        ValueError: It cannot be read, or another version of regan wrote it.
    """
    try:
        found = json.loads((folder / VERDICT).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"it has format {found['format']!r}")
        if run_key and found["run_key"] == run_key:
            found = found["before"]
        return None if found is None else _checked(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"`{VERDICT}` must be a verdict of format {FORMAT}: {error}") from error


def last_verdict(lineage: Lineage) -> dict[str, Any] | None:
    """For the page: both verdicts line by line and what differs; None where no last verdict was looked for."""
    now, counts, figures = lineage.compare.settings, lineage.compare.counts, lineage.compare.figures
    if "last_verdict" not in now:
        return None
    last = now["last_verdict"]
    if not last:
        return {"rows": [], "date": "", "differs": ""}
    new = dict(now) | dict(counts) | dict(figures) | {"regan": lineage.compare.versions.get("regan", UNKNOWN)}
    rows = [
        {"term": term, "new": write(new), "last": write(last), "differs": write(new) != write(last)}
        for term, write in _ROWS.items()
    ]
    told = [row for row in rows if {row["new"], row["last"]} != {"not told"}]
    return {"rows": told, "date": str(last.get("date", UNKNOWN)), "differs": _differs(new, last)}


def _checked(found: Mapping[str, Any]) -> dict[str, Any]:
    """The known fields; ValueError where one is of another kind, because the page and the history show them."""
    record = {name: found[name] for name in (*_TEXTS, *_NUMBERS, *_COUNTS)}
    wrong = [name for name in _TEXTS if not isinstance(record[name], str)]
    wrong += [name for name in (*_NUMBERS, *_COUNTS) if not is_number(record[name])]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} is not what it should be")
    return record


def _difference(of: Mapping[str, Any]) -> str:
    return f"{fmt.signed(of.get('difference'))} ({fmt.interval(of.get('lower'), of.get('upper'), sign=True)})"


def _test_images(of: Mapping[str, Any]) -> str:
    return f"{fmt.number(of.get('num_images'))} ({fmt.number(of.get('num_positive'))} {of.get('positive_class')})"


_ROWS = {
    "Verdict": lambda of: fmt.sentence_case(str(of.get("verdict"))),
    "Difference, 95 % interval": _difference,
    "Endpoint": lambda of: fmt.MEASURES.get(str(of.get("endpoint")), str(of.get("endpoint"))),
    "Margin": lambda of: fmt.number(of.get("margin"), 2),
    "Test images": _test_images,
    "Data version": lambda of: str(of.get("data_version") or "not told"),
    "RaGAN": lambda of: str(of.get("regan")),
}


def _differs(new: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """One or two sentences: what else than the classifiers is not the same, and what that means."""
    changed = [
        name
        for name, key in (("the endpoint", "endpoint"), ("the margin", "margin"), ("the data", "data_version"))
        if new.get(key) != last.get(key)
    ]
    if new.get("test_set") == last.get("test_set"):
        told = f"What differs: {' and '.join(changed)}. " if changed else ""
        return f"{told}Both rest on the same test images."
    more = new.get("num_images", 0) - last["num_images"]
    number = f"{fmt.plural(abs(more), 'image')} {'more' if more > 0 else 'fewer'}" if more else "as many"
    listed = ", ".join([*changed, f"the test images ({number})"])
    return f"What differs: {listed}. So a change from one verdict to the other may come from the test images alone."
