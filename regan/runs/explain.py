"""A short page on how a run ended, made from the histories of its steps: which finished, which failed, what to do.

It is written after every run, whatever happened, so it never fails itself: the page lists what could not be read.
Nothing that it reads is trusted, and neither pictures nor names of the source's files get into it.
"""

import json
import logging
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regan.artifacts.entries import ENTRIES
from regan.common.files import atomic_write
from regan.common.text import duration, is_number, markdown_table, markdown_text, one_line, printable
from regan.runs.error_table import CANCELLED, UNKNOWN, Cause, causes_in
from regan.runs.stages import STAGES, least_steps
from regan.storage import fetch, list_files

_LOG = logging.getLogger("regan")
_HISTORY_FILE = re.compile(
    r"((?P<folder>.+)/)?history/(?P<id>(?P<number>\d\d)-(?P<verb>[a-z_]{1,40})-[0-9a-f]{8})\.json"
)
_MOST_FILES = 5_000  # histories; each output holds those of all steps before it
_MOST_BYTES = 1_000_000  # of a step; `write_step` keeps pictures and curves below 200 kB
_MOST_SECONDS = 120.0  # for all steps together
_MOST_FIGURES = 5
_MOST_ERROR = 16_000  # characters of the error text that are searched for causes
_LONGEST_ERROR = 4_000  # of those, printed
_GOOD, _STOPPED = ("SUCCEEDED", "COMPLETE", "COMPLETED"), ("CANCELLED", "CANCELED", "CANCELLING")

# All text between the last punctuation mark and the suffix is removed: file names may have spaces, and name patients.
_IMAGE_FILE = re.compile(r"[^\n:;\"'`()\[\]]{0,300}\.(?:png|jpe?g|bmp|tiff?|dcm|dicom|gif|zip)\b", re.IGNORECASE)
_SECRET = re.compile(
    r"((?:token|secret|password|signature|credential|access_?key)[a-z_-]{0,20}\s{0,3}[=:]\s{0,3})\S+", re.IGNORECASE
)


@dataclass(frozen=True)
class Explanation:
    """How a run ended.

    Attributes:
        path: The page.
        failed_step: The stage that failed, or those that may have failed; empty where none did or can be inferred.
        sentence: The outcome in words.
    """

    path: Path
    failed_step: str
    sentence: str


@dataclass(frozen=True)
class _Step:
    """A step that finished, from its history."""

    id: str
    number: int
    verb: str
    task: str
    seconds: float | None
    figures: dict[str, float]
    words: dict[str, str]


@dataclass
class _Trace:
    """What the steps wrote below the run's root, as far as it can be read."""

    finished: list[_Step] = field(default_factory=list)
    verbs: dict[str, str] = field(default_factory=dict)  # of every step in any history, by id
    notes: list[str] = field(default_factory=list)


def explain_run(run_root: str, page: str | Path, *, state: str, error: str = "", run_name: str = "") -> Explanation:
    """Write a short page on how a run ended. It never fails: problems are listed in the page.

    Args:
        run_root: Folder or URI that contains the artifacts of this run.
        page: Markdown file to write.
        state: How the run ended, as Kubeflow reports it: SUCCEEDED, FAILED or CANCELLED.
        error: The error text, if there is one.
        run_name: Name of the run.

    Returns:
        The page, the stage that failed (named by the error text, or inferred from what finished), and a sentence.
    """
    trace = _Trace()
    try:
        trace = _read_trace(run_root)
    except Exception as problem:  # whatever it is, the page must be written
        trace.notes.append(f"The run's root cannot be read: {type(problem).__name__}: {problem}")
    error = error[:_MOST_ERROR]
    failed_step, sentence = _outcome(trace, state.strip().upper(), error)
    text = _page(trace, sentence, state=state, error=error, run_name=run_name)
    try:
        _write(Path(page), text)
    except OSError as problem:
        _LOG.error("The page %s cannot be written: %s", page, problem)
    _LOG.info("%s", sentence)
    return Explanation(path=Path(page), failed_step=failed_step, sentence=sentence)


def _read_trace(run_root: str) -> _Trace:
    if not run_root:
        raise ValueError("the run has no root")
    trace, last = _Trace(), {}
    sizes: dict[str, int] = {}
    for file in sorted(list_files(run_root), key=lambda file: file.name):
        match = _HISTORY_FILE.fullmatch(file.name)
        if match and len(sizes) == _MOST_FILES:
            trace.notes.append(f"There are more than {_MOST_FILES:,} histories; the rest is left out.")
            break
        if match:
            trace.verbs[match["id"]] = match["verb"]
            sizes[file.name] = file.size
            last[match["folder"] or ""] = file.name  # sorted by name, so that the highest number of each folder remains
    own = {_match(name)["id"]: name for name in sorted(last.values(), reverse=True)}
    until = time.monotonic() + _MOST_SECONDS
    for name in sorted(own.values(), key=lambda name: _match(name)["id"]):
        if time.monotonic() > until:
            trace.notes.append("Reading took too long: the figures of the last steps are left out.")
        trace.finished.append(_read_step(run_root, name, sizes[name], trace.notes, time.monotonic() <= until))
    return trace


def _match(name: str) -> re.Match[str]:
    match = _HISTORY_FILE.fullmatch(name)
    if match is None:
        raise ValueError(f"not the history of a step: {name}")
    return match


def _read_step(run_root: str, name: str, size: int, notes: list[str], read: bool) -> _Step:
    match = _match(name)
    content: Mapping[str, object] = {}
    try:
        if size > _MOST_BYTES:
            raise ValueError(f"{size:,} bytes are more than a step writes")
        content = _read_json(f"{run_root.rstrip('/')}/{name}") if read else {}
    except Exception as problem:  # a corrupt or hostile file is one line of the page
        notes.append(f"The figures of {match['verb']} cannot be read: {type(problem).__name__}: {problem}")
    settings, seconds = content.get("settings"), content.get("seconds")
    words = settings if isinstance(settings, dict) else {}
    return _Step(
        id=match["id"],
        number=int(match["number"]),
        verb=match["verb"],
        task=(match["folder"] or match["verb"]).partition("/")[0],
        seconds=float(seconds) if is_number(seconds) and seconds >= 0 else None,
        figures=_figures(match["verb"], content.get("figures")),
        words={key: text for key in ("go", "sentence", "verdict") if isinstance(text := words.get(key), str)},
    )


def _read_json(uri: str) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        found = json.loads(fetch(uri, folder).read_bytes())
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    return found


def _figures(verb: str, found: object) -> dict[str, float]:
    if not isinstance(found, dict):
        return {}
    wanted = ENTRIES[verb].headline if verb in ENTRIES else ()
    names = [name for name in wanted or tuple(found) if re.fullmatch(r"[a-z0-9_]{1,40}", name)]
    return {name: found[name] for name in [name for name in names if is_number(found.get(name))][:_MOST_FIGURES]}


def _outcome(trace: _Trace, state: str, error: str) -> tuple[str, str]:
    """The stage that failed, and the sentence."""
    if state in _GOOD:
        return "", _good_sentence(trace)
    how = "was stopped" if state in _STOPPED else "failed" if state == "FAILED" else f"ended as {_line(state, 40)}"
    done = _complete_stages(trace)
    named = _named_stage(error, done)
    if named:
        return named, f"The run {how} at {named}, as the error text says."
    ready = [stage.name for stage in STAGES if stage.name not in done and set(stage.after) <= done]
    if not ready:
        return "", f"The run {how}, although every step wrote its history: read the log of the last step."
    likely = " or ".join(ready)
    last = f"the last step that finished is {trace.finished[-1].verb}" if trace.finished else "no step finished"
    return likely, (
        f"The run {how}, probably at {likely}: {last}. This is inferred from the files below the run's root; steps "
        "from the cache write nothing there, so it may also be a later step."
    )


def _good_sentence(trace: _Trace) -> str:
    words = {step.verb: step.words for step in trace.finished}
    preflight = words.get("preflight", {})
    if preflight.get("go") == "no" and len(words) == 1:
        return f"The run ended early, which is not a failure. {_line(preflight.get('sentence', ''), 600)}"
    compared = words.get("compare_classifiers", {})
    if "verdict" in compared:
        return (
            f"The run finished. Verdict: {_line(compared['verdict'], 40)}. {_line(compared.get('sentence', ''), 600)}"
        )
    return f"The run finished; {len(trace.finished)} of its steps wrote their history here."


def _complete_stages(trace: _Trace) -> set[str]:
    """Stages that have enough finished steps, and all stages before them.

    Networks for each class, rounds and shards add steps that a history does not tell apart, so the counts are
    those of the smallest pipeline; in a larger one, a stage may be taken for complete too early.
    """
    counts = Counter(trace.verbs.values())
    done: set[str] = set()
    for stage in reversed(STAGES):
        if stage.name in done or counts[stage.verb] >= least_steps(stage):
            done |= {stage.name, *stage.after}
    return done


def _named_stage(error: str, done: set[str]) -> str:
    """The stage whose verb the error text names, if it names one only; of several, the first that is not complete."""
    verbs = {stage.verb for stage in STAGES}
    named = [verb for verb in verbs if re.search(rf"\b{verb.replace('_', '[-_ ]')}\b", error, re.IGNORECASE)]
    if len(named) != 1:
        return ""
    stages = [stage.name for stage in STAGES if stage.verb == named[0]]
    return next((stage for stage in stages if stage not in done), stages[-1])


def _causes(state: str, error: str) -> list[Cause]:
    known = causes_in(error)
    if state.strip().upper() in _STOPPED:
        return [CANCELLED, *known]
    return known or [UNKNOWN]


def _page(trace: _Trace, sentence: str, *, state: str, error: str, run_name: str) -> str:
    parts = ["# How the run ended", f"**{_cell(state, 40) or 'state unknown'}**. {_cell(sentence, 900)}"]
    if run_name:
        parts.append(f"Run: {_cell(run_name, 100)}")
    if state.strip().upper() not in _GOOD:
        rows = [(cause.name, cause.meaning, cause.advice) for cause in _causes(state, error)]
        parts += ["## What to do", markdown_table(("cause", "what it means", "what to do"), rows)]
    if error.strip():
        parts += ["## The error text", "\n".join(f"    {line}" for line in _redact(error).splitlines())]
    parts += ["## Steps that finished", _table_of_steps(trace.finished)]
    own = {step.id for step in trace.finished}
    earlier = [verb for id, verb in sorted(trace.verbs.items()) if id not in own]
    if earlier:
        parts.append(f"Taken from the cache of an earlier run, or from another root: {_cell(', '.join(earlier), 500)}.")
    parts.append("Steps from the cache write no history of their own here.")
    if trace.notes:
        parts += ["## What could not be read", "\n".join(f"- {_cell(note, 400)}" for note in trace.notes[:20])]
    return "\n\n".join(parts) + "\n"


def _table_of_steps(steps: Sequence[_Step]) -> str:
    if not steps:
        return "No step wrote a history here."
    rows = [(s.number, _redact(s.task), s.verb, duration(s.seconds), _figures_text(s.figures)) for s in steps]
    return markdown_table(("number", "task", "step", "time", "figures"), rows)


def _line(text: str, longest: int) -> str:
    return one_line(_redact(text), longest)


def _cell(text: str, longest: int) -> str:
    return markdown_text(_redact(text), longest)


def _redact(text: str) -> str:
    """The text without names of image files, without secrets and without control characters."""
    shown = "\n".join(printable(line) for line in text.expandtabs(4).splitlines())
    shown = _SECRET.sub(r"\1[left out]", _IMAGE_FILE.sub(" [a file]", shown[:_MOST_ERROR]))
    return shown if len(shown) <= _LONGEST_ERROR else shown[:_LONGEST_ERROR] + " ..."


def _figures_text(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _write(page: Path, text: str) -> None:
    with atomic_write(page) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace", newline="\n")
