"""Preflight: what a run needs is looked at before it begins, so that it fails in the first minute, not on day three.

It runs without any deep-learning framework.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regan.common.version import __version__

if TYPE_CHECKING:
    from regan.runs.address_checks import SourceFound
    from regan.runs.checks import Check
    from regan.runs.costs import Bytes
    from regan.runs.settings import Plan

_LOG = logging.getLogger("regan")


class PreflightError(RuntimeError):
    """A run with these settings would fail on this machine."""


@dataclass(frozen=True)
class Readiness:
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
class _Asked:
    source_uri: str
    checkpoint_uri: str
    report_uri: str
    release_uri: str
    start_uri: str
    split_uri: str
    pipeline_root: str
    gpu_counts: tuple[tuple[str, str], ...]
    backbone: str
    weights: str


def preflight(
    source_uri: str,
    report: str | Path,
    *,
    settings: str = "",
    data_version: str = "",
    checkpoint_uri: str = "",
    report_uri: str = "",
    release_uri: str = "",
    start_uri: str = "",
    split_uri: str = "",
    pipeline_root: str = "",
    gpu_count: str = "0",
    gpu_count_gan: str = "0",
    backbone: str = "small",
    weights: str = "none",
    unchanged: Literal["stop", "run"] = "stop",
) -> Readiness:
    """Check GPU, driver, shared memory, disk, source, addresses, weights and settings before a run begins.

    All that fails is told at once. The table of all checks is logged, and what the settings will need in bytes and GPU
    hours is estimated. A small object is left at `<address>/preflight-probe` of each address that was tried.

    Args:
        source_uri: Folder, zip archive or gs:// or s3:// address of the images.
        report: Folder to write, with the table.
        settings: Parameters of the pipeline, a line `name=value` each; the others have the pipeline's defaults.
        data_version: Text that changes with the source; empty = a hash of its listing.
        checkpoint_uri: Folder or address for the state of training; empty = none.
        report_uri: Folder or address where the last verdict is kept; empty = none.
        release_uri: Folder or address that the release is copied to; empty = none.
        start_uri: Folder or address where generators are kept and GAN training starts; needs `split_uri`, because a
            split that is made anew tests with images that have trained the kept generator; empty = none.
        split_uri: Folder or address where the split is kept; empty = none.
        pipeline_root: Folder or address of the artifacts; empty = not tried.
        gpu_count: GPUs that a step asks for, as text; "0" = none are looked for.
        gpu_count_gan: GPUs that GAN training asks for, as text; as many as the larger of both are looked for.
        backbone: Network of the classifiers: "small" or a name of keras.applications.
        weights: "none", "imagenet", or path or address of a `.weights.h5` file.
        unchanged: What follows where data, settings and version are those of the last verdict, whose run left nothing
            to be done: "stop" or "run".

    Returns:
        Whether to go on, the version of the data, the keys made of it, and a sentence.

    Raises:
        PreflightError: A check failed; the text tells what was expected, what was found and what to do, for each.
        ValueError: `unchanged` is another word.
        FileExistsError: `report` holds something already.
    """
    from regan.artifacts.output_folder import require_free, writing
    from regan.runs.checks import failed, text_table
    from regan.runs.settings import run_key, training_key

    started = time.perf_counter()
    if unchanged not in ("stop", "run"):
        raise ValueError(f"`unchanged` must be 'stop' or 'run'. Received unchanged={unchanged!r}.")
    require_free(Path(report))
    asked = _Asked(
        source_uri=source_uri,
        checkpoint_uri=checkpoint_uri,
        report_uri=report_uri,
        release_uri=release_uri,
        start_uri=start_uri,
        split_uri=split_uri,
        pipeline_root=pipeline_root,
        gpu_counts=(("gpu_count", gpu_count), ("gpu_count_gan", gpu_count_gan)),
        backbone=backbone,
        weights=weights,
    )
    given, checks, source, needed = _looked(asked, settings)
    version = data_version or source.version
    key = run_key(version, given, __version__)
    how = "given" if data_version else "from the listing of the source"
    checks.insert(0, _told("data version", f"{version or 'unknown'} ({how}), run key {key}"))
    last, told = _last_verdict(report_uri, checks)
    checks.append(told)
    for line in text_table(checks).splitlines():
        _LOG.info("%s", line)
    if failed(checks):
        raise PreflightError(_complaint(failed(checks)))
    go, sentence = _decision(last, key, report_uri, unchanged, checks)
    _LOG.info("%s", sentence)
    base = checkpoint_uri.rstrip("/")
    found = Readiness(
        path=Path(report),
        go=go,
        data_version=version,
        run_key=key,
        checkpoint_uri=f"{base}/{training_key(version, given)}" if checkpoint_uri else "",
        sentence=sentence,
    )
    with writing(report) as folder:
        _write(folder, found, checks, source, needed, time.perf_counter() - started)
    return found


def _looked(asked: _Asked, text: str) -> "tuple[dict[str, str], list[Check], SourceFound, Bytes | None]":
    """The settings, the table, what the source holds and the bytes needed; nothing is raised."""
    from regan.runs.address_checks import source_checks, write_checks
    from regan.runs.settings import parsed, settings_checks
    from regan.runs.weights_check import weights_check

    try:
        given, wrong = parsed(text), []
    except ValueError as error:
        given, wrong = {}, [_failure("settings", "a line that cannot be read", "lines `name=value`", str(error))]
    # A run that shall release is another than one that shall not; where to, is all the same.
    given = given | {"release": "yes" if asked.release_uri else "no"}
    kept = {"gan_start_uri": asked.start_uri, "data_split_uri": asked.split_uri}
    checks, plan = settings_checks(given | {name: uri for name, uri in kept.items() if uri})
    # Network and processes answer when they do: all are asked at once.
    looks: list[Callable[[], Any]] = [
        lambda: source_checks(asked.source_uri, plan),
        lambda: weights_check(asked.weights, asked.backbone),
        lambda: _gpus(asked.gpu_counts),
        *(lambda names=names, uri=uri: write_checks(names, uri) for uri, names in _places(asked).items()),
    ]
    with ThreadPoolExecutor(len(looks)) as pool:
        source, weights, (gpus, gpu), *written = pool.map(lambda look: look(), looks)
    costs, needed = _costs(asked, plan, source, gpu)
    tried = [check for checks in written for check in checks]
    return given, [*wrong, *checks, *source.checks, *gpus, *costs, *tried, weights], source, needed


def _places(asked: _Asked) -> dict[str, list[str]]:
    """Addresses that the run writes to, each with the names of the parameters that hold it."""
    named = {
        "pipeline_root": asked.pipeline_root,
        "checkpoint_uri": asked.checkpoint_uri,
        "report_uri": asked.report_uri,
        "report_release_uri": asked.release_uri,
        "gan_start_uri": asked.start_uri,
        "data_split_uri": asked.split_uri,
    }
    found: dict[str, list[str]] = {}
    for name, uri in named.items():
        if uri:
            found.setdefault(uri.rstrip("/") or uri, []).append(name)
    return found


def _gpus(gpu_counts: Sequence[tuple[str, str]]) -> "tuple[list[Check], str | None]":
    """The checks, and the name of the first GPU: empty where none is asked for, None where none was found."""
    from regan.runs.machine_checks import gpu_checks, look_for_gpus, shared_memory_check

    wrong = [
        _failure(name, repr(text), "a whole number as text", f'Set {name} to "0", "1", ...')
        for name, text in gpu_counts
        if not text.isascii() or not text.isdecimal() or len(text) > 4
    ]
    if wrong:
        return [*wrong, shared_memory_check(False)], ""
    count = max(int(text) for _, text in gpu_counts)
    if not count:
        return [_told("GPU", "not looked for, because gpu_count is 0"), shared_memory_check(False)], ""
    gpus = look_for_gpus()
    return [*gpu_checks(gpus, count), shared_memory_check(True)], gpus.names[0] if gpus.names else None


def _costs(
    asked: _Asked, plan: "Plan | None", source: "SourceFound", gpu: str | None
) -> "tuple[list[Check], Bytes | None]":
    from regan.runs.costs import cost_checks
    from regan.runs.machine_checks import disk_check, temporary_folder
    from regan.storage import is_uri

    if plan is None:
        return [], None
    costs, needed = cost_checks(plan, source.num_images, asked.backbone, gpu)
    disks = [disk_check("temporary disk", temporary_folder(), needed.largest_step, "the largest step")]
    if asked.pipeline_root and not is_uri(asked.pipeline_root):
        disks.append(disk_check("disk of pipeline_root", asked.pipeline_root, needed.total, "the whole run"))
    return [*costs, *disks], needed


def _last_verdict(report_uri: str, checks: "Sequence[Check]") -> "tuple[dict[str, Any], Check]":
    from regan.common.text import one_line
    from regan.runs.address_checks import last_verdict

    name = "last verdict"
    if not report_uri:
        return {}, _told(name, "not looked for, because there is no report_uri")
    if any(check.name == "report_uri" and check.ok != "yes" for check in checks):
        return {}, _told(name, "not looked for, because report_uri cannot be used")
    try:
        found = last_verdict(report_uri)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        return {}, _told(name, f"cannot be read, so this counts as the first run: {one_line(str(error))}")
    state = "finished" if found.get("finished") is True else "not finished"
    return found, _told(name, f"run key {found.get('run_key')}, {state}" if found else "none yet")


def _decision(
    last: dict[str, Any], key: str, report_uri: str, unchanged: str, checks: "Sequence[Check]"
) -> tuple[str, str]:
    """Whether to go on, and the sentence."""
    from regan.common.text import one_line

    hours = next(check.found for check in checks if check.name == "GPU hours of GAN training")
    size = next(check.found for check in checks if check.name == "bytes of the run").partition(" (")[0]
    # A verdict is kept before the images are released: the run may have failed after it.
    if last.get("run_key") != key or last.get("finished") is not True:
        return "yes", f"Ready: all checks passed. The run will write {size}; GPU hours: {hours}."
    when, verdict = (one_line(str(last.get(name) or "unknown")) for name in ("date", "verdict"))
    same = f"Data, settings and version are those of the run of {when}, whose verdict was {verdict}"
    if unchanged == "run":
        return "yes", f"{same}; it runs again, as asked by unchanged=run."
    words = one_line(str(last.get("sentence") or "")).rstrip(".")
    return "no", (
        f"{same}{f' ({words})' if words else ''}: nothing is computed again. Its report lies at {report_uri}. "
        "Set unchanged=run to run nevertheless."
    )


def _complaint(failures: "Sequence[Check]") -> str:
    lines = [f"The run would fail: {len(failures)} of the checks did not pass."]
    lines += [f"- {c.name}: expected {c.expected}; found {c.found.rstrip('.')}. To do: {c.advice}" for c in failures]
    return "\n".join(lines)


def _write(
    folder: Path,
    found: Readiness,
    checks: "Sequence[Check]",
    source: "SourceFound",
    needed: "Bytes | None",
    seconds: float,
) -> None:
    from regan.artifacts.history import write_step
    from regan.common.text import markdown_text
    from regan.runs.checks import markdown_table

    outcome = {name: value for name, value in asdict(found).items() if name != "path"}
    bytes_needed = {**asdict(needed), "total": needed.total} if needed else {}
    table = [asdict(check) for check in checks]
    content = {"format": 1, "regan": __version__, **outcome, "bytes": bytes_needed, "checks": table}
    (folder / "preflight.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
    page = f"# Preflight\n\n{markdown_text(found.sentence)}\n\n{markdown_table(checks)}"
    (folder / "preflight.md").write_text(page, encoding="utf-8", newline="\n")
    counts = {} if source.num_images is None else {"images": source.num_images}
    figures = {"bytes": needed.total} if needed else {}
    write_step(folder, "preflight", {}, settings=outcome, counts=counts, figures=figures, seconds=seconds)


def _told(name: str, found: str) -> "Check":
    from regan.runs.checks import Check

    return Check(name, found)


def _failure(name: str, found: str, expected: str, advice: str) -> "Check":
    from regan.runs.checks import Check

    return Check(name, found, expected, "no", advice)
