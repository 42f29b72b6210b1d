"""Whether the source can be read, and whether the URIs that a run writes to can be written."""

import json
import os
import random
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regan.common.errors import CorruptFileError
from regan.common.text import one_line
from regan.preparation.listing import SourceListing
from regan.preparation.split import LEAST_TO_SPLIT, LEAST_TO_TEST, default_test_share
from regan.report.previous_verdict import VERDICT
from regan.runs.checks import Check
from regan.runs.costs import rounded_bytes
from regan.runs.settings import Plan
from regan.storage import fetch, fetch_latest, is_uri, push

PROBE = "preflight-probe"
_MOST_BYTES = 1_000_000  # of a verdict
_ATTEMPTS = 4  # another run's preflight may write its probe at the same moment
_ERRORS = (OSError, ValueError, ImportError, RuntimeError)


@dataclass(frozen=True)
class SourceFound:
    """Contents of the source.

    Attributes:
        checks: Lines of the table.
        version: Hash of the listing; empty where it cannot be read.
        num_images: Images of both classes; None where they cannot be counted.
    """

    checks: list[Check]
    version: str = ""
    num_images: int | None = None


def source_checks(source_uri: str, plan: Plan | None) -> SourceFound:
    """List the source and count its images.

    Args:
        source_uri: Folder, zip archive or URI.
        plan: Settings; None where they are wrong, and only the listing is checked.
    """
    expected = "a folder, archive or URI with images that can be read"
    try:
        listing = SourceListing.open(source_uri)
    except _ERRORS as error:
        advice = "Check source_uri, and that the service account may list and read it."
        return SourceFound([Check("source", one_line(str(error)), expected, "no", advice)])
    read = f"{len(listing.names):,} files, {rounded_bytes(listing.num_bytes)}"
    checks = [Check("source", read, expected, "yes")]
    if plan is None:
        return SourceFound(checks, listing.version)
    try:
        counts = listing.counts(plan.negative_class, plan.positive_class, plan.mask_pattern)
    except ValueError as error:
        expected = "two class folders with images"
        advice = "Set negative_class and positive_class to the folders of the source."
        return SourceFound([*checks, Check("images", one_line(str(error)), expected, "no", advice)], listing.version)
    if counts is None:
        uncounted = Check("images", "an archive at a URI: prepare_images counts them")
        return SourceFound([*checks, uncounted], listing.version)
    return SourceFound([*checks, _count_check(counts, plan)], listing.version, sum(counts.values()))


def write_checks(names: Sequence[str], uri: str) -> list[Check]:
    """Check a URI that one or several parameters hold, one after the other: two at once would conflict.

    Args:
        names: Names of the parameters.
        uri: URI or local folder.
    """
    return [write_check(name, uri) for name in names]


def write_check(name: str, uri: str) -> Check:
    """Write a small object below a URI, read it back and compare.

    Args:
        name: Name of the check, such as `checkpoint_uri`.
        uri: URI or local folder; that of `pipeline_root` may be one that only Kubeflow's launcher can reach.
    """
    expected = "a small object can be written below it and read back"
    if name == "pipeline_root" and ("?" in uri or (is_uri(uri) and not uri.startswith(("gs:", "s3:")))):
        return Check(name, "not checked: only the launcher of the cluster can reach it", detail=uri)
    if re.match(r"[a-z0-9]+:/", uri) and not is_uri(uri):  # a folder of that name would be made, and lost with the pod
        return Check(name, f"{uri}: no bucket", expected, "no", f"Write {name} as gs://bucket/folder.")
    try:
        same = _is_probed(f"{uri.rstrip('/')}/{PROBE}")
    except _ERRORS as error:
        advice = f"Check {name}, and that the service account may list, read, write and delete there."
        return Check(name, f"{uri}: {_reason(error)}", expected, "no", advice)
    if not same:
        return Check(name, f"{uri}: the bytes read differ from those written", expected, "no", "Try again.")
    return Check(name, "written and read back", expected, "yes", detail=uri)


def _reason(error: Exception) -> str:
    """The error in words; the operating system's own message does not say that a file was to be written."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        return f"no file can be written there ({error.strerror})"
    return one_line(str(error))


def previous_verdict(report_uri: str) -> dict[str, Any]:
    """The verdict of the last run at `report_uri`; empty where there is none.

    Raises:
        CorruptFileError: The file there is no verdict.
        OSError: As `regan.storage.list_files`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VERDICT
        if fetch_latest(report_uri, folder) is None or not path.is_file():
            return {}
        if path.is_symlink() or path.stat().st_size > _MOST_BYTES:
            raise CorruptFileError(
                f"{VERDICT} at {report_uri} is no verdict: it is a link or has {path.stat().st_size:,} bytes."
            )
        try:
            found = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise CorruptFileError(f"{VERDICT} at {report_uri} is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise CorruptFileError(f"{VERDICT} at {report_uri} is no JSON object, but {type(found).__name__}.")
    return found


def _count_check(counts: dict[str, int], plan: Plan) -> Check:
    least = plan.test_per_class + LEAST_TO_SPLIT - LEAST_TO_TEST
    found = ", ".join(f"{label} {count:,}" for label, count in counts.items())
    expected = f"{least:,} or more of each class: {plan.test_per_class:,} to test, and more to train and validate"
    rarer = min(counts.values())
    largest = default_test_share(rarer)
    advice = f"Set test_per_class to {largest} or less, or add images." if largest else "Add images."
    return Check.from_result("images", found, expected, rarer >= least, advice)


def _is_probed(place: str) -> bool:
    """Whether the bytes that are read are those that were written."""
    for attempt in range(_ATTEMPTS):
        with tempfile.TemporaryDirectory() as folder:
            written, read = Path(folder) / "written", Path(folder) / "read"
            written.mkdir()
            content = os.urandom(32)
            (written / "probe").write_bytes(content)
            try:
                push(written, place, replace=True)
                fetch(place, read)
                if (read / "probe").read_bytes() == content:
                    return True
            except ValueError:  # the probe of another run's preflight, half written
                if attempt == _ATTEMPTS - 1:
                    raise
        time.sleep(random.uniform(0.1, 0.5) * (attempt + 1))
    return False
