"""Compare two classifiers that answered the same test images."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from regan.artifacts.history import Step
    from regan.statistics.comparison import Comparison
    from regan.statistics.predictions import Predictions
    from regan.storage import Version

_LOG = logging.getLogger("regan")
FORMAT = 1
REPORT, FIGURES = "report.html", "comparison.json"


@dataclass(frozen=True)
class ComparedClassifiers:
    """What a comparison found, candidate minus reference.

    Attributes:
        path: Folder with `report.html`, `comparison.json` and the history.
        verdict: `superior`, `non-inferior`, `inferior` or `inconclusive`.
        sentence: The verdict in plain words.
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
    """Compare two classifiers that answered the same test images, and write the report.

    Answers are paired by the images' pixel hashes. The verdict rests on the one endpoint and margin that were declared
    before the run: superior, non-inferior, inferior or inconclusive.

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
        The verdict, the sentence that says it, and the difference with its 95 % interval.

    Raises:
        FileNotFoundError: A folder holds no predictions.
        ValueError: The classifiers answered different images or know different classes, decisions do not follow one
            threshold, the audit is about other images, the endpoint or the margin is out of range, or something else
            lies at `report_uri`.
        RuntimeError: Other runs have kept a report at `report_uri` twice meanwhile.
        OSError: The storage does not answer as it should.
    """
    from regan.statistics.predictions import Predictions
    from regan.storage import latest

    started = time.monotonic()
    if report_uri:
        latest(report_uri)  # an address that does not answer is told before the work
    folders = {"candidate": Path(candidate), "reference": Path(reference)}
    folders |= {"control": Path(control)} if control else {}
    _require_different(folders)
    answers = {role: Predictions.read(folder) for role, folder in folders.items()}
    for role, predictions in answers.items():
        _require_one_threshold(role, predictions)
    names = _names(folders)
    if audit:
        folders["audit"] = _require_audit(Path(audit), folders["candidate"])
    comparisons = _compare_all(answers, names, endpoint, margin)
    main = comparisons[0][2]
    record = _record(main, comparisons, names)
    record["settings"] |= _kept_settings(answers["candidate"], run_key, data_version)
    _write(Path(report), folders, names, comparisons, record, report_uri, started)
    _LOG.info("%s", main.sentence)
    return ComparedClassifiers(Path(report), main.verdict, main.sentence, main.difference, main.lower, main.upper)


_Compared = tuple[str, str, "Comparison"]  # role of the first, role of the second, first against second


def _write(
    report: Path,
    folders: Mapping[str, Path],
    names: Mapping[str, str],
    comparisons: "list[_Compared]",
    record: Mapping[str, Any],
    report_uri: str,
    started: float,
    *,
    once_more: bool = True,
) -> None:
    """Write the report and, where there is an address, keep it there: once more where another run was faster."""
    from regan.artifacts.history import read_history, write_step
    from regan.artifacts.output_folder import atomic_folder
    from regan.common.errors import ConflictError
    from regan.report.page import write_report

    previous, last = _last_verdict(report_uri, record["settings"]["run_key"]) if report_uri else (None, None)
    settings = record["settings"] | ({"last_verdict": last or {}} if report_uri else {})
    try:
        with atomic_folder(report) as folder:
            _write_json(folder / FIGURES, names, comparisons)
            told = dict(record) | {"settings": settings}
            write_step(folder, "compare_classifiers", folders, **told, seconds=time.monotonic() - started)
            write_report(read_history(folder), folder / REPORT)
            if report_uri:
                _keep(folder, record, last, report_uri, previous)
    except ConflictError as error:
        if not once_more:
            raise ConflictError(
                f"One run at a time may keep its report. Others have changed {report_uri} twice while this one was "
                f"writing: {error} Compare again when they are done."
            ) from error
        _LOG.warning("Another run has kept its report meanwhile: writing once more")
        _write(report, folders, names, comparisons, record, report_uri, started, once_more=False)


def _last_verdict(report_uri: str, run_key: str) -> "tuple[Version | None, dict[str, Any] | None]":
    """What lies at the address, and the verdict in it; none where it cannot be read, as the old one decides nothing."""
    from regan.report.previous_verdict import read_verdict
    from regan.storage import fetch_latest, latest

    previous = latest(report_uri)
    if previous is None:
        return None, None
    with tempfile.TemporaryDirectory() as folder:
        try:
            return fetch_latest(report_uri, folder), read_verdict(Path(folder), run_key)
        except ValueError as error:
            _LOG.warning("The last verdict at %s is not shown: %s", report_uri, error)
            return previous, None


def _keep(
    folder: Path,
    record: Mapping[str, Any],
    last: Mapping[str, Any] | None,
    report_uri: str,
    previous: "Version | None",
) -> None:
    """Push the report and its verdict as the newest version."""
    from regan.artifacts.model import versions
    from regan.report.previous_verdict import write_verdict
    from regan.storage import push_latest

    told = dict(record["settings"]) | dict(record["counts"]) | dict(record["figures"])
    today = {"date": datetime.now(UTC).date().isoformat(), "regan": versions().get("regan", "")}
    with tempfile.TemporaryDirectory() as kept:
        shutil.copyfile(folder / REPORT, Path(kept) / REPORT)
        write_verdict(Path(kept), told | today, last, finished=not _may_be_released(folder))
        push_latest(kept, report_uri, previous)


def _may_be_released(report: Path) -> bool:
    """Whether the audit of the images passed: `publish_images` then has the last word."""
    from regan.artifacts.history import read_history

    audits = [step for step in read_history(report).values() if step.verb == "audit_images"]
    return bool(audits) and audits[-1].settings.get("verdict", audits[-1].figures.get("verdict")) == "passed"


def _kept_settings(candidate: "Predictions", run_key: str, data_version: str) -> dict[str, str]:
    from regan.report.previous_verdict import test_set_name

    return {
        "test_set": test_set_name(candidate.sha256.tolist()),
        "run_key": run_key,
        "data_version": data_version,
    }


def _require_different(folders: Mapping[str, Path]) -> None:
    places = [folder.resolve() for folder in folders.values()]
    if len(set(places)) < len(places):
        given = ", ".join(f"{role}={folder}" for role, folder in folders.items())
        raise ValueError(
            "Candidate, reference and control must be predictions of different classifiers. "
            f"Received the same folder twice: {given}. Name the folder that `evaluate_classifier` wrote for each."
        )


def _require_one_threshold(role: str, predictions: "Predictions") -> None:
    called, cleared = predictions.probability[predictions.predicted], predictions.probability[~predictions.predicted]
    if called.size and cleared.size and called.min() <= cleared.max():
        raise ValueError(
            "Every decision of a classifier must follow one threshold, fixed on validation images before the test. "
            f"Received {role} predictions where an image at probability {called.min():.6g} is called "
            f"{predictions.positive_class} and one at {cleared.max():.6g} is not. Evaluate the classifier again."
        )


def _require_audit(audit: Path, candidate: Path) -> Path:
    from regan.artifacts.history import last_step, read_history
    from regan.report.lineage import arms

    step = last_step(audit)
    if step is None or step.verb != "audit_images":
        raise ValueError(
            f"`audit` must be a folder that `audit_images` wrote, with its history. Received audit={audit}, "
            + ("which has no history." if step is None else f"which {step.verb} wrote.")
        )
    learned_from = {s.id for s in arms(read_history(candidate), last_step(candidate), None)[0].image_steps}
    audited = set(step.inputs.get("synthetic", []))
    if learned_from and audited and not learned_from & audited:
        raise ValueError(
            "`audit` must be about the images that trained the candidate: the report shows it beside the verdict. "
            f"Received audit={audit} of {', '.join(sorted(audited))}, and a candidate trained on "
            f"{', '.join(sorted(learned_from))}. Audit the candidate's images, or leave `audit` out."
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
    answers: Mapping[str, "Predictions"], names: Mapping[str, str], endpoint: Any, margin: float
) -> list[_Compared]:
    from regan.statistics.comparison import compare_predictions

    pairs = [("candidate", "reference"), ("candidate", "control"), ("control", "reference")]
    return [
        (
            first,
            second,
            compare_predictions(
                answers[first], answers[second], endpoint=endpoint, margin=margin, names=(names[first], names[second])
            ),
        )
        for first, second in pairs
        if first in answers and second in answers
    ]


def _record(main: "Comparison", comparisons: list[_Compared], names: Mapping[str, str]) -> dict[str, Any]:
    """What the history keeps of a comparison: all that the report's verdict and tests need."""
    alone = {"candidate": main.candidate, "reference": main.reference}
    alone |= {second: comparison.reference for _, second, comparison in comparisons if second == "control"}
    return {
        "settings": {
            "endpoint": main.endpoint,
            "margin": main.margin,
            "verdict": main.verdict,
            "sentence": main.sentence,
            "unit": main.unit,
            "positive_class": main.positive_class,
            "negative_class": main.negative_class,
            "names": {role: names[role] for role in alone},
            "notes": list(main.notes),
        },
        "counts": {
            "num_images": main.num_images,
            "num_positive": main.num_positive,
            "num_negative": main.num_negative,
            "num_units": main.num_units,
        },
        "figures": {
            "difference": main.difference,
            "lower": main.lower,
            "upper": main.upper,
            "p": main.p,
            "p_noninferiority": main.p_noninferiority,
        },
        "tables": {
            "tests": [row for compared in comparisons for row in _test_rows(*compared, names)],
            "differences": [row for compared in comparisons for row in _difference_rows(*compared)],
            "measures": [row for role, one in alone.items() for row in _measure_rows(role, one)],
            "confusion": [{"classifier": role} | _confusion(one) for role, one in alone.items()],
        },
    }


def _test_rows(first: str, second: str, comparison: "Comparison", names: Mapping[str, str]) -> list[dict[str, Any]]:
    told = f"{names[first]} minus {names[second]}"
    return [
        row | {"comparison": f"{first} - {second}", "name": row["name"].replace("candidate minus reference", told)}
        for row in comparison.tests()
    ]


def _difference_rows(first: str, second: str, comparison: "Comparison") -> list[dict[str, Any]]:
    return [
        {
            "comparison": f"{first} - {second}",
            "endpoint": one.endpoint,
            "value": one.interval.estimate,
            "lower": one.interval.lower,
            "upper": one.interval.upper,
            "outcome": one.outcome,
        }
        for one in comparison.differences
    ]


def _measure_rows(role: str, performance: Any) -> list[dict[str, Any]]:
    from regan.statistics.comparison import ENDPOINTS

    intervals = [(name, getattr(performance, name)) for name in ENDPOINTS]
    rows = [
        {"classifier": role, "measure": name, "value": one.estimate, "lower": one.lower, "upper": one.upper}
        for name, one in intervals
    ]
    return [*rows, {"classifier": role, "measure": "brier", "value": performance.brier, "lower": None, "upper": None}]


def _confusion(performance: Any) -> dict[str, int]:
    cells = ("true_positive", "false_negative", "true_negative", "false_positive")
    return {cell: int(getattr(performance, cell)) for cell in cells}


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
