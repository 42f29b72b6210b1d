"""Preflight: check what a run needs before it begins, so that it fails in the first minute and not on the third day.

It runs without any deep-learning framework.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regan.common.errors import PreflightError
from regan.common.version import __version__

if TYPE_CHECKING:
    from regan.runs.checks import Check
    from regan.runs.costs import Bytes
    from regan.runs.settings import Plan
    from regan.runs.time_estimate import TimeEstimate
    from regan.runs.uri_checks import SourceFound

_LOG = logging.getLogger("regan")


@dataclass(frozen=True)
class PreflightResult:
    """What the preflight found.

    Attributes:
        path: Folder with `preflight.json` and `preflight.md`.
        go: "yes", or "no" where nothing changed since the last run.
        data_version: Text that changes with the source.
        run_key: Stays as long as a run would compute the same: data, settings and version of regan.
        checkpoint_uri: Where this run keeps its checkpoints; empty where none was named.
        sentence: The outcome in words.
    """

    path: Path
    go: str
    data_version: str
    run_key: str
    checkpoint_uri: str
    sentence: str


@dataclass(frozen=True)
class Needs:
    """Bytes that the run writes and how long it takes, as far as known."""

    bytes: "Bytes | None"
    time: "TimeEstimate | None"


def preflight(
    source_uri: str,
    report: str | Path,
    *,
    settings: str = "",
    pipeline_root: str = "",
) -> PreflightResult:
    """Check GPU, driver, shared memory, disk, source, URIs, weights and settings before a run begins.

    All failures are reported at once. The table of all checks is logged, with an estimate of the bytes and GPU hours
    that the settings need. A small object is left at `<URI>/preflight-probe` of each URI that was tried.

    Args:
        source_uri: URI or path of the real images: a folder or zip archive with one subfolder for each class.
        report: Folder to write, with the table.
        settings: Parameters of the pipeline, one `name=value` per line; the others have the pipeline's defaults. URIs,
            weights and GPUs are checked where a line names them, such as `report_uri=gs://bucket/reports`,
            `classifier_weights=imagenet` and `gpu_count=1`.
        pipeline_root: URI or folder of the artifacts; empty = not checked.

    Returns:
        Whether to run, the version of the data, the keys made of it, and a sentence.

    Raises:
        PreflightError: A check failed; the message lists for each what was expected, what was found and what to do.
        OutputExistsError: `report` is not empty.
    """
    from regan.artifacts.output_folder import atomic_folder, require_empty_output
    from regan.runs.checks import failures, text_table
    from regan.runs.settings import run_key, training_key

    started = time.perf_counter()
    require_empty_output(Path(report))
    given, values, checks, source, needed = _inspection(source_uri, settings, pipeline_root)
    version = values["data_version"] or source.version
    key = run_key(version, given, __version__)
    how = "given" if values["data_version"] else "from the listing of the source"
    checks.insert(0, _note("data version", f"{version or 'unknown'} ({how})", f"run key {key}"))
    report_uri = values["report_uri"]
    last, line = _previous_verdict(report_uri, checks)
    checks.append(line)
    for text in text_table(checks).splitlines():
        _LOG.info("%s", text)
    if failures(checks):
        raise PreflightError(_complaint(failures(checks)))
    go, sentence = _decision(last, key, report_uri, values["data_unchanged"], checks)
    _LOG.info("%s", sentence)
    base = values["gpu_checkpoint_uri"].rstrip("/")
    found = PreflightResult(
        path=Path(report),
        go=go,
        data_version=version,
        run_key=key,
        checkpoint_uri=f"{base}/{training_key(version, given)}" if base else "",
        sentence=sentence,
    )
    with atomic_folder(report) as folder:
        _write(folder, found, checks, source, needed, time.perf_counter() - started)
    return found


def _inspection(
    source_uri: str, text: str, pipeline_root: str
) -> "tuple[dict[str, str], dict[str, str], list[Check], SourceFound, Needs]":
    """Given settings, all settings, the table, what the source holds and what the run needs; never raises."""
    from regan.runs.settings import complete, parse_settings, settings_checks
    from regan.runs.uri_checks import source_checks, write_checks

    try:
        given, wrong = parse_settings(text), []
    except ValueError as error:
        given, wrong = {}, [_failure("settings", "a line that cannot be read", "lines `name=value`", str(error))]
    values = complete(given)
    checks, plan = settings_checks(given)
    # Network and processes are slow to answer, so all checks run at the same time.
    looks: list[Callable[[], Any]] = [
        lambda: source_checks(source_uri, plan),
        lambda: _weights(given, values),
        lambda: _gpus(values),
        *(lambda names=names, uri=uri: write_checks(names, uri) for uri, names in _places(values, pipeline_root)),
    ]
    with ThreadPoolExecutor(len(looks)) as pool:
        source, weights, (gpus, gpu), *written = pool.map(lambda look: look(), looks)
    costs, needed = _costs(pipeline_root, plan, source, gpu)
    # The machine is timed when all else has ended, so that the checks do not slow it down.
    times, estimate = _times(plan, values, source, gpu)
    tried = [check for checks in written for check in checks]
    table = [*wrong, *checks, *source.checks, *gpus, *times, *costs, *tried, weights]
    return given, values, table, source, Needs(needed, estimate)


def _places(values: Mapping[str, str], pipeline_root: str) -> Iterable[tuple[str, list[str]]]:
    """URIs that the run writes to, each with the names of the parameters that hold it."""
    from regan.runs.parameters import PARAMETERS

    named = {"pipeline_root": pipeline_root}
    named |= {name: uri for name, uri in values.items() if name in PARAMETERS and PARAMETERS[name].is_uri}
    found: dict[str, list[str]] = {}
    for name, uri in named.items():
        if uri:
            found.setdefault(uri.rstrip("/") or uri, []).append(name)
    return found.items()


def _weights(given: Mapping[str, str], values: Mapping[str, str]) -> "Check":
    from regan.runs.weights_check import weights_check

    if "classifier_weights" not in given:
        return _note("classifier weights", "not checked: classifier_weights is not set")
    return weights_check(values["classifier_weights"], values["classifier_backbone"])


def _gpus(values: Mapping[str, str]) -> "tuple[list[Check], str | None]":
    """The checks, and the name of the first GPU: empty where none is requested, None where none was found."""
    from regan.runs.machine_checks import gpu_checks, query_gpus, shared_memory_check
    from regan.runs.parameter_row import Digits

    counts = [values[name] for name in ("gpu_count", "gpu_count_gan")]
    # A text that is not a number has already failed the checks of the settings.
    count = max(int(text) if Digits().allows(text) else 0 for text in counts)
    if not count:
        why = "gpu_count is 0" if any(counts) else "gpu_count is not set"
        return [_note("GPU", f"not checked: {why}"), shared_memory_check(False)], ""
    gpus = query_gpus()
    return [*gpu_checks(gpus, count), shared_memory_check(True)], gpus.names[0] if gpus.names else None


def _costs(
    pipeline_root: str, plan: "Plan | None", source: "SourceFound", gpu: str | None
) -> "tuple[list[Check], Bytes | None]":
    from regan.runs.costs import cost_checks
    from regan.runs.machine_checks import disk_check, temporary_folder
    from regan.storage import is_uri

    if plan is None:
        return [], None
    costs, needed = cost_checks(plan, source.num_images, gpu)
    disks = [disk_check("temporary disk", temporary_folder(), needed.largest_step, "the largest step")]
    if pipeline_root and not is_uri(pipeline_root):
        disks.append(disk_check("disk of pipeline_root", pipeline_root, needed.total, "the whole run"))
    return [*costs, *disks], needed


def _times(
    plan: "Plan | None", values: Mapping[str, str], source: "SourceFound", gpu: str | None
) -> "tuple[list[Check], TimeEstimate | None]":
    from regan.runs.costs import gpu_hours
    from regan.runs.time_estimate import Workload, estimate_time, matrix_rate, on_gpu, time_checks

    if plan is None:
        return [], None
    matrix = matrix_rate()
    estimate: TimeEstimate | None = estimate_time(Workload.of(plan, values, source.num_images), matrix)
    if estimate and gpu != "":
        estimate = on_gpu(estimate, gpu, gpu_hours(plan, gpu), plan.networks) if gpu else None
    return time_checks(estimate, matrix, gpu), estimate


def _previous_verdict(report_uri: str, checks: "Sequence[Check]") -> "tuple[dict[str, Any], Check]":
    from regan.common.text import one_line
    from regan.runs.uri_checks import previous_verdict

    name = "previous verdict"
    if not report_uri:
        return {}, _note(name, "not read: report_uri is not set")
    if any(check.name == "report_uri" and check.ok != "yes" for check in checks):
        return {}, _note(name, "not read: report_uri cannot be used")
    try:
        found = previous_verdict(report_uri)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        return {}, _note(name, f"cannot be read, so this counts as the first run: {one_line(str(error))}")
    state = "finished" if found.get("finished") is True else "not finished"
    return found, _note(name, f"run key {found.get('run_key')}, {state}" if found else "none yet")


def _decision(
    last: dict[str, Any], key: str, report_uri: str, unchanged: str, checks: "Sequence[Check]"
) -> tuple[str, str]:
    """Whether to run, and the sentence."""
    from regan.common.text import one_line

    found = {check.name: check.found for check in checks}
    # A verdict is kept before the images are released: the run may have failed after it.
    if last.get("run_key") != key or last.get("finished") is not True:
        warnings = sum(check.ok == "warn" for check in checks)
        passed = f"Ready, with {warnings} warning{'s' * (warnings > 1)}" if warnings else "Ready: all checks passed"
        return "yes", f"{passed}. The run writes {found['bytes of the run']}. Time: {found['time of the run']}."
    when, verdict = (one_line(str(last.get(name) or "unknown")) for name in ("date", "verdict"))
    same = f"Data, settings and version are those of the run of {when}, whose verdict was {verdict}"
    if unchanged == "run":
        return "yes", f"{same}; it runs again, as data_unchanged=run asks."
    words = one_line(str(last.get("sentence") or "")).rstrip(".")
    return "no", (
        f"{same}{f' ({words})' if words else ''}: nothing is computed again. Its report is at {report_uri}. "
        "Set data_unchanged=run to run nevertheless."
    )


def _complaint(failures: "Sequence[Check]") -> str:
    lines = [f"The run would fail: {len(failures)} of the checks did not pass."]
    lines += [f"- {c.name}: expected {c.expected}; found {c.found.rstrip('.')}. To do: {c.advice}" for c in failures]
    return "\n".join(lines)


def _write(
    folder: Path,
    found: PreflightResult,
    checks: "Sequence[Check]",
    source: "SourceFound",
    needed: Needs,
    seconds: float,
) -> None:
    from regan.artifacts.entries import PreflightEntry
    from regan.artifacts.entry import write_entry
    from regan.common.text import markdown_text
    from regan.runs.checks import markdown_table

    outcome = {name: value for name, value in asdict(found).items() if name != "path"}
    bytes_needed = {**asdict(needed.bytes), "total": needed.bytes.total} if needed.bytes else {}
    time_needed = asdict(needed.time) if needed.time else {}
    table = [asdict(check) for check in checks]
    needs = {"bytes": bytes_needed, "time": time_needed}
    content = {"format": 1, "regan": __version__, **outcome, **needs, "checks": table}
    (folder / "preflight.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
    page = f"# Preflight\n\n{markdown_text(found.sentence)}\n\n{markdown_table(checks)}"
    (folder / "preflight.md").write_text(page, encoding="utf-8", newline="\n")
    entry = PreflightEntry(**outcome, images=source.num_images, bytes=needed.bytes.total if needed.bytes else None)
    write_entry(folder, entry, {}, seconds=seconds)


def _note(name: str, found: str, detail: str = "") -> "Check":
    from regan.runs.checks import Check

    return Check(name, found, detail=detail)


def _failure(name: str, found: str, expected: str, advice: str) -> "Check":
    from regan.runs.checks import Check

    return Check(name, found, expected, "no", advice)
