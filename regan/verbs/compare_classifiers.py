"""Compare two classifiers that were tested on the same images."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regan.common.errors import WrongArtifactError

if TYPE_CHECKING:
    from regan.artifacts.entries import CompareClassifiersEntry
    from regan.artifacts.history import Step
    from regan.artifacts.rows import ConfusionRow, DifferenceRow, MeasureRow, PairedTest
    from regan.report.previous_verdict import VerdictRecord
    from regan.statistics.comparison import Comparison, Performance
    from regan.statistics.predictions import Predictions
    from regan.storage import Version

_LOG = logging.getLogger("regan")
FORMAT = 1
REPORT, FIGURES = "report.html", "comparison.json"


@dataclass(frozen=True)
class ComparedClassifiers:
    """Result of `compare_classifiers`, candidate minus reference.

    Attributes:
        path: Folder with `report.html`, `comparison.json` and the history.
        verdict: `superior`, `non-inferior`, `inferior` or `inconclusive`.
        sentence: The verdict as a sentence.
        difference: Candidate minus reference at the endpoint.
        lower: Lower end of its 95 % interval.
        upper: Upper end of its 95 % interval.
    """

    path: Path
    verdict: str
    sentence: str
    difference: float
    lower: float
    upper: float


def compare_classifiers(
    candidate: str | Path,
    reference: str | Path,
    report: str | Path,
    *,
    control: str | Path = "",
    audit: str | Path = "",
    endpoint: Literal["auc", "accuracy", "sensitivity", "specificity"] = "auc",
    margin: float = 0.05,
    report_uri: str = "",
    run_key: str = "",
    data_version: str = "",
) -> ComparedClassifiers:
    """Compare two classifiers that were tested on the same images, and write the report.

    Predictions are paired by the images' pixel hashes. The verdict is determined by one endpoint and one
    non-inferiority margin, both fixed before the run: superior, non-inferior, inferior or inconclusive.

    Args:
        candidate: Predictions of the classifier under test, such as the student trained on synthetic images.
        reference: Predictions of the classifier that it is compared with, such as the teacher trained on real images.
        report: Folder to write: `report.html`, `comparison.json` and history.
        control: Predictions of a student trained on equally many unfiltered synthetic images. Without it nobody can
            know whether the filter or the generator taught the student.
        audit: Audit of the synthetic images, shown in the report.
        endpoint: Endpoint of the comparison: "auc", "accuracy", "sensitivity" or "specificity".
        margin: Non-inferiority margin: the largest loss that counts as no worse, declared before the test, above 0 and
            below 1.
        report_uri: Stable URI where report and verdict are kept from run to run; empty = they are not kept. The
            previous verdict there is shown beside the new one and decides nothing. The report shows images of patients:
            use a URI or folder that stays within the institution.
        run_key: Key of the run, the same when the run is repeated.
        data_version: Version of the real images, as the preflight returned it.

    Returns:
        The verdict, its sentence, and the difference with its 95 % interval.

    Raises:
        NoFilesError: A folder contains no predictions.
        SettingError: The endpoint is unknown, or the margin is out of range.
        WrongArtifactError: The classifiers were tested on different images or have different classes, predictions do
            not follow one threshold, or the audit is of other images.
        CorruptFileError: `report_uri` contains something else than a report.
        ConflictError: Other runs changed `report_uri` twice in the meantime.
        StorageAccessError: Object storage refuses access.
        StorageUnavailableError: Object storage does not answer.
    """
    from regan.report.previous_verdict import test_set_name
    from regan.statistics.predictions import Predictions
    from regan.storage import latest

    started = time.monotonic()
    if report_uri:
        latest(report_uri)  # fail before the work if the URI cannot be read
    folders = {"candidate": Path(candidate), "reference": Path(reference)}
    folders |= {"control": Path(control)} if control else {}
    _require_different(folders)
    predictions = {role: Predictions.read(folder) for role, folder in folders.items()}
    for role, table in predictions.items():
        _require_one_threshold(role, table)
    names = _names(folders)
    if audit:
        folders["audit"] = _require_audit(Path(audit), folders["candidate"])
    comparisons = _compare_all(predictions, names, endpoint, margin)
    main = comparisons[0][2]
    entry = replace(
        _entry(main, comparisons, names),
        test_set=test_set_name(predictions["candidate"].sha256.tolist()),
        run_key=run_key,
        data_version=data_version,
    )
    _write(Path(report), folders, names, comparisons, entry, report_uri, started)
    _LOG.info("%s", main.sentence)
    return ComparedClassifiers(Path(report), main.verdict, main.sentence, main.difference, main.lower, main.upper)


_Compared = tuple[str, str, "Comparison"]  # role of the first, role of the second, first against second


def _write(
    report: Path,
    folders: Mapping[str, Path],
    names: Mapping[str, str],
    comparisons: "list[_Compared]",
    entry: "CompareClassifiersEntry",
    report_uri: str,
    started: float,
    *,
    once_more: bool = True,
) -> None:
    """Write the report and push it to `report_uri`; try again once if another run pushed in between."""
    from regan.artifacts.entry import as_record, write_entry
    from regan.artifacts.history import read_history
    from regan.artifacts.output_folder import atomic_folder
    from regan.common.errors import ConflictError
    from regan.report.page import write_report

    version, previous = _previous_verdict(report_uri, entry.run_key or "") if report_uri else (None, None)
    written = replace(entry, previous_verdict=as_record(previous) if previous else {}) if report_uri else entry
    try:
        with atomic_folder(report) as folder:
            _write_json(folder / FIGURES, names, comparisons)
            write_entry(folder, written, folders, seconds=time.monotonic() - started)
            write_report(read_history(folder), folder / REPORT)
            if report_uri:
                _push(folder, entry, previous, report_uri, version)
    except ConflictError as error:
        if not once_more:
            raise ConflictError(
                f"Other runs changed {report_uri} twice while this one was writing its report: {error} Compare again "
                "when they have finished."
            ) from error
        _LOG.warning("Another run has pushed its report to %s meanwhile: writing the report again", report_uri)
        _write(report, folders, names, comparisons, entry, report_uri, started, once_more=False)


def _previous_verdict(report_uri: str, run_key: str) -> "tuple[Version | None, VerdictRecord | None]":
    """The version at the URI and its verdict; None where it cannot be read, since it decides nothing."""
    from regan.report.previous_verdict import read_verdict
    from regan.storage import fetch_latest, latest

    version = latest(report_uri)
    if version is None:
        return None, None
    with tempfile.TemporaryDirectory() as folder:
        try:
            return fetch_latest(report_uri, folder), read_verdict(Path(folder), run_key)
        except ValueError as error:
            _LOG.warning("The previous verdict at %s cannot be read and is not shown: %s", report_uri, error)
            return version, None


def _push(
    folder: Path,
    entry: "CompareClassifiersEntry",
    previous: "VerdictRecord | None",
    report_uri: str,
    version: "Version | None",
) -> None:
    """Push the report and its verdict as the latest version."""
    from regan.artifacts.model import versions
    from regan.report.previous_verdict import VerdictRecord, write_verdict
    from regan.storage import push_latest

    record = VerdictRecord.of(entry, date=datetime.now(UTC).date().isoformat(), regan=versions().get("regan", ""))
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copyfile(folder / REPORT, Path(scratch) / REPORT)
        write_verdict(Path(scratch), record, previous, finished=not _may_be_released(folder))
        push_latest(scratch, report_uri, version)


def _may_be_released(report: Path) -> bool:
    """Whether the audit of the images passed: then `publish_images` finishes the run."""
    from regan.artifacts.entries import AuditImagesEntry
    from regan.artifacts.history import read_history

    audits = [step for step in read_history(report).values() if step.verb == AuditImagesEntry.verb]
    return bool(audits) and AuditImagesEntry.field(audits[-1], "verdict") == "passed"


def _require_different(folders: Mapping[str, Path]) -> None:
    places = [folder.resolve() for folder in folders.values()]
    if len(set(places)) < len(places):
        given = ", ".join(f"{role}={folder}" for role, folder in folders.items())
        raise WrongArtifactError(
            f"Candidate, reference and control are not different: the same folder was passed twice ({given}). Pass the "
            "folder that evaluate_classifier wrote for each classifier."
        )


def _require_one_threshold(role: str, predictions: "Predictions") -> None:
    called, cleared = predictions.probability[predictions.predicted], predictions.probability[~predictions.predicted]
    # The verdict's sensitivity is at one threshold; predictions that were changed by hand may follow none.
    if called.size and cleared.size and called.min() <= cleared.max():
        raise WrongArtifactError(
            f"The {role} predictions do not follow one threshold: an image with probability {called.min():.6g} is "
            f"classified as {predictions.positive_class} and one with {cleared.max():.6g} is not. Run "
            "evaluate_classifier again."
        )


def _require_audit(audit: Path, candidate: Path) -> Path:
    from regan.artifacts.entries import AuditImagesEntry
    from regan.artifacts.history import last_step, read_history
    from regan.report.lineage import arms

    step = last_step(audit)
    if step is None or step.verb != AuditImagesEntry.verb:
        wrote = "it has no history" if step is None else f"{step.verb} wrote it"
        raise WrongArtifactError(f"{audit} is not an audit: {wrote}. Pass the folder that audit_images wrote.")
    trained_on = {s.id for s in arms(read_history(candidate), last_step(candidate), None)[0].image_steps}
    audited = set(step.inputs.get("synthetic", []))
    if trained_on and audited and not trained_on & audited:
        raise WrongArtifactError(
            f"The audit in {audit} is of {', '.join(sorted(audited))}, but the candidate was trained on "
            f"{', '.join(sorted(trained_on))}. Audit the candidate's images, or leave `audit` out."
        )
    return audit


def _names(folders: Mapping[str, Path]) -> dict[str, str]:
    from regan.artifacts.history import last_step, read_history
    from regan.report.lineage import arms

    steps: dict[str, Step] = {}
    for folder in folders.values():
        steps |= read_history(folder)
    candidate, reference = arms(steps, last_step(folders["candidate"]), last_step(folders["reference"]))
    return {"candidate": candidate.name, "reference": reference.name, "control": "control"}


def _compare_all(
    predictions: Mapping[str, "Predictions"], names: Mapping[str, str], endpoint: Any, margin: float
) -> list[_Compared]:
    from regan.statistics.comparison import compare_predictions

    # The first pair gives the verdict; the others are exploratory.
    pairs = [("candidate", "reference"), ("candidate", "control"), ("control", "reference")]
    return [
        (
            first,
            second,
            compare_predictions(
                predictions[first],
                predictions[second],
                endpoint=endpoint,
                margin=margin,
                names=(names[first], names[second]),
            ),
        )
        for first, second in pairs
        if first in predictions and second in predictions
    ]


def _entry(main: "Comparison", comparisons: list[_Compared], names: Mapping[str, str]) -> "CompareClassifiersEntry":
    """The history entry of a comparison: all that the report's verdict and tests need."""
    from regan.artifacts.entries import CompareClassifiersEntry

    alone = {"candidate": main.candidate, "reference": main.reference}
    alone |= {second: comparison.reference for _, second, comparison in comparisons if second == "control"}
    return CompareClassifiersEntry(
        endpoint=main.endpoint,
        margin=main.margin,
        verdict=main.verdict,
        sentence=main.sentence,
        unit=main.unit,
        positive_class=main.positive_class,
        negative_class=main.negative_class,
        names={role: names[role] for role in alone},
        notes=tuple(main.notes),
        num_images=main.num_images,
        num_positive=main.num_positive,
        num_negative=main.num_negative,
        num_units=main.num_units,
        difference=main.difference,
        lower=main.lower,
        upper=main.upper,
        p=main.p,
        p_noninferiority=main.p_noninferiority,
        tests=tuple(row for compared in comparisons for row in _test_rows(*compared, names)),
        differences=tuple(row for compared in comparisons for row in _difference_rows(*compared)),
        measures=tuple(row for role, one in alone.items() for row in _measure_rows(role, one)),
        confusion=tuple(_confusion(role, one) for role, one in alone.items()),
    )


def _test_rows(first: str, second: str, comparison: "Comparison", names: Mapping[str, str]) -> "list[PairedTest]":
    from regan.artifacts.rows import PairedTest

    pair, words = f"{first} - {second}", f"{names[first]} minus {names[second]}"
    return [
        PairedTest(**row | {"comparison": pair, "name": row["name"].replace("candidate minus reference", words)})
        for row in comparison.tests()
    ]


def _difference_rows(first: str, second: str, comparison: "Comparison") -> "list[DifferenceRow]":
    from regan.artifacts.rows import DifferenceRow

    return [
        DifferenceRow(
            comparison=f"{first} - {second}",
            endpoint=one.endpoint,
            value=one.interval.estimate,
            lower=one.interval.lower,
            upper=one.interval.upper,
            outcome=one.outcome,
        )
        for one in comparison.differences
    ]


def _measure_rows(role: str, performance: "Performance") -> "list[MeasureRow]":
    from regan.artifacts.rows import MeasureRow
    from regan.statistics.comparison import ENDPOINTS

    intervals = [(name, getattr(performance, name)) for name in ENDPOINTS]
    rows = [MeasureRow(role, name, one.estimate, one.lower, one.upper) for name, one in intervals]
    return [*rows, MeasureRow(role, "brier", performance.brier, None, None)]


def _confusion(role: str, performance: "Performance") -> "ConfusionRow":
    from regan.artifacts.rows import ConfusionRow

    return ConfusionRow(
        classifier=role,
        true_positive=int(performance.true_positive),
        false_negative=int(performance.false_negative),
        true_negative=int(performance.true_negative),
        false_positive=int(performance.false_positive),
    )


def _write_json(path: Path, names: Mapping[str, str], comparisons: list[_Compared]) -> None:
    main = comparisons[0][2]
    summary = {
        "format": FORMAT,
        "verdict": main.verdict,
        "sentence": main.sentence,
        "endpoint": main.endpoint,
        "margin": main.margin,
        "difference": main.difference,
        "lower": main.lower,
        "upper": main.upper,
        "names": dict(names),
        "comparisons": [
            {"first": first, "second": second} | comparison.as_dict() for first, second, comparison in comparisons
        ],
    }
    path.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8", newline="\n")
