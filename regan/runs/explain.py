"""A short page on how a run ended, made from what its steps left: which finished, which failed, and what to do.

It is written after every run, whatever happened, so it never fails itself: what cannot be read is told in the page.
Nothing of what it reads is trusted, and neither pictures nor names of the source's files get into it.
"""

import json
import logging
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from regan.common.files import atomic_write
from regan.common.text import duration, is_number, markdown_table, markdown_text, one_line, printable
from regan.runs.error_table import CANCELLED, CAUSES, UNKNOWN, Cause
from regan.storage import fetch, list_files

_LOG = logging.getLogger("regan")
_STEP = re.compile(r"((?P<folder>.+)/)?history/(?P<id>(?P<number>\d\d)-(?P<verb>[a-z_]{1,40})-[0-9a-f]{8})\.json")
_MOST_FILES = 5_000  # histories; each output has those of all steps before it
_MOST_BYTES = 1_000_000  # of a step; `write_step` keeps pictures and curves below 200 kB
_MOST_SECONDS = 120.0  # for all steps together
_MOST_FIGURES = 5
_MOST_ERROR = 16_000  # characters that are searched for causes
_LONGEST_ERROR = 4_000  # of those, shown
_GOOD, _STOPPED = ("SUCCEEDED", "COMPLETE", "COMPLETED"), ("CANCELLED", "CANCELED", "CANCELLING")

# Stage, its verb, how many of its steps make it complete, and the stages before it. Rounds and networks a class add
# steps; then the least number counts.
_STAGES: tuple[tuple[str, str, int, tuple[str, ...]], ...] = (
    ("preflight", "preflight", 1, ()),
    ("prepare images", "prepare_images", 1, ("preflight",)),
    ("train teacher", "train_classifier", 1, ("prepare images",)),
    ("train GAN", "train_gan", 1, ("prepare images",)),
    ("select snapshot", "select_snapshot", 1, ("train GAN",)),
    ("generate images", "generate_images", 2, ("select snapshot",)),
    ("filter images", "filter_images", 2, ("generate images", "train teacher")),
    ("train student and control", "train_classifier", 3, ("filter images",)),
    ("test classifiers", "evaluate_classifier", 3, ("train student and control",)),
    ("audit images", "audit_images", 1, ("filter images",)),
    ("compare classifiers", "compare_classifiers", 1, ("test classifiers", "audit images")),
    ("publish images", "publish_images", 1, ("compare classifiers",)),
)
_FIGURES = {
    "prepare_images": ("num_refused", "num_duplicates", "num_label_conflicts"),
    "train_gan": ("kimg", "images_per_second"),
    "select_snapshot": ("kimg", "kernel_distance", "frechet_distance"),
    "train_classifier": ("validation_auc", "num_epochs", "num_images"),
    "evaluate_classifier": ("auc", "accuracy", "sensitivity", "specificity"),
    "audit_images": ("num_memorised", "precision", "recall", "coverage"),
    "compare_classifiers": ("difference", "lower", "upper"),
}
# What stands between the last sign and the suffix goes too: names of files may have spaces, and may name patients.
_IMAGE_FILE = re.compile(r"[^\n:;\"'`()\[\]]{0,300}\.(?:png|jpe?g|bmp|tiff?|dcm|dicom|gif|zip)\b", re.IGNORECASE)
_SECRET = re.compile(
    r"((?:token|secret|password|signature|credential|access_?key)[a-z_-]{0,20}\s{0,3}[=:]\s{0,3})\S+", re.IGNORECASE
)


@dataclass(frozen=True)
class Explanation:
    """How a run ended.

    Attributes:
        path: The page.
        failed_step: The step that failed, or those that may have; empty where none did, or none can be told.
        sentence: The outcome in words.
    """

    path: Path
    failed_step: str
    sentence: str


@dataclass(frozen=True)
class _Finished:
    id: str
    number: int
    verb: str
    task: str
    seconds: float | None
    figures: dict[str, float]
    words: dict[str, str]


@dataclass
class _Trace:
    """What the steps left, as far as it can be read."""

    finished: list[_Finished] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)  # id of each step in any history -> verb
    notes: list[str] = field(default_factory=list)


def explain_run(run_root: str, page: str | Path, *, state: str, error: str = "", run_name: str = "") -> Explanation:
    """Write a short page on how a run ended. It never fails: what goes wrong is told in the page.

    Args:
        run_root: Folder or address below which the artifacts of this run lie.
        page: Markdown file to write.
        state: How the run ended, as Kubeflow tells it: SUCCEEDED, FAILED or CANCELLED.
        error: The error text, as far as there is one.
        run_name: Name of the run.

    Returns:
        The page, the step that failed (told by the error text, or inferred from what finished), and a sentence.
    """
    trace = _Trace()
    try:
        trace = _traced(run_root)
    except Exception as problem:  # whatever it is, the page must be written
        trace.notes.append(f"What lies at the run's root cannot be read: {type(problem).__name__}: {problem}")
    error = error[:_MOST_ERROR]
    failed_step, sentence = _outcome(trace, state.strip().upper(), error)
    text = _page(trace, sentence, state=state, error=error, run_name=run_name)
    try:
        _write(Path(page), text)
    except OSError as problem:
        _LOG.error("The page %s cannot be written: %s", page, problem)
    _LOG.info("%s", sentence)
    return Explanation(path=Path(page), failed_step=failed_step, sentence=sentence)


def _traced(run_root: str) -> _Trace:
    if not run_root:
        raise ValueError("no root of the run was given")
    trace, last = _Trace(), {}
    sizes: dict[str, int] = {}
    for file in sorted(list_files(run_root), key=lambda file: file.name):
        match = _STEP.fullmatch(file.name)
        if match and len(sizes) == _MOST_FILES:
            trace.notes.append(f"There are more than {_MOST_FILES:,} histories; the others are left out.")
            break
        if match:
            trace.seen[match["id"]] = match["verb"]
            sizes[file.name] = file.size
            last[match["folder"] or ""] = file.name  # sorted by name: the highest number of each folder stays
    own = {_matched(name)["id"]: name for name in sorted(last.values(), reverse=True)}
    until = time.monotonic() + _MOST_SECONDS
    for name in sorted(own.values(), key=lambda name: _matched(name)["id"]):
        if time.monotonic() > until:
            trace.notes.append("Reading took too long: the figures of the last steps are left out.")
        trace.finished.append(_step(run_root, name, sizes[name], trace.notes, time.monotonic() <= until))
    return trace


def _matched(name: str) -> re.Match[str]:
    match = _STEP.fullmatch(name)
    if match is None:
        raise ValueError(f"no step: {name}")
    return match


def _step(run_root: str, name: str, size: int, notes: list[str], read: bool) -> _Finished:
    match = _matched(name)
    content: Mapping[str, object] = {}
    try:
        if size > _MOST_BYTES:
            raise ValueError(f"{size:,} bytes are more than a step writes")
        content = _content(f"{run_root.rstrip('/')}/{name}") if read else {}
    except Exception as problem:  # a damaged or hostile file is one line of the page
        notes.append(f"The figures of {match['verb']} cannot be read: {type(problem).__name__}: {problem}")
    settings, seconds = content.get("settings"), content.get("seconds")
    words = settings if isinstance(settings, dict) else {}
    return _Finished(
        id=match["id"],
        number=int(match["number"]),
        verb=match["verb"],
        task=(match["folder"] or match["verb"]).partition("/")[0],
        seconds=float(seconds) if is_number(seconds) and seconds >= 0 else None,
        figures=_figures(match["verb"], content.get("figures")),
        words={key: text for key in ("go", "sentence", "verdict") if isinstance(text := words.get(key), str)},
    )


def _content(address: str) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        found = json.loads(fetch(address, folder).read_bytes())
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _figures(verb: str, found: object) -> dict[str, float]:
    if not isinstance(found, dict):
        return {}
    names = [name for name in _FIGURES.get(verb, tuple(found)) if re.fullmatch(r"[a-z0-9_]{1,40}", name)]
    return {name: found[name] for name in [name for name in names if is_number(found.get(name))][:_MOST_FIGURES]}


def _outcome(trace: _Trace, state: str, error: str) -> tuple[str, str]:
    """The step that failed, and the sentence."""
    if state in _GOOD:
        return "", _good_sentence(trace)
    how = "was stopped" if state in _STOPPED else "failed" if state == "FAILED" else f"ended as {_plain(state, 40)}"
    done = _done(trace)
    open_stages = [title for title, _, _, needs in _STAGES if title not in done and set(needs) <= done]
    named = _named_in(error, done)
    if named:
        return named, f"The run {how} at {named}, as the error text says."
    if not open_stages:
        return "", f"The run {how}, although every step left its history: look at the log of the last one."
    likely = " or ".join(open_stages)
    after = f"the last of the steps that finished is {trace.finished[-1].verb}" if trace.finished else "none finished"
    return likely, (
        f"The run {how}, probably at {likely}: {after}. This is inferred from what lies below the run's root; steps "
        "from the cache leave nothing there, so it may also be a later one."
    )


def _good_sentence(trace: _Trace) -> str:
    words = {step.verb: step.words for step in trace.finished}
    preflight = words.get("preflight", {})
    if preflight.get("go") == "no" and len(words) == 1:
        return f"The run ended early, which is no failure. {_plain(preflight.get('sentence', ''), 600)}"
    compared = words.get("compare_classifiers", {})
    if "verdict" in compared:
        return (
            f"The run finished. Verdict: {_plain(compared['verdict'], 40)}. {_plain(compared.get('sentence', ''), 600)}"
        )
    return f"The run finished; {len(trace.finished)} of its steps left their history here."


def _done(trace: _Trace) -> set[str]:
    """Stages of which enough steps are seen, and all that must have come before them."""
    counts = Counter(trace.seen.values())
    done: set[str] = set()
    for title, verb, least, needs in reversed(_STAGES):
        if title in done or counts[verb] >= least:
            done |= {title, *needs}
    return done


def _named_in(error: str, done: set[str]) -> str:
    """The stage whose step the error text names, where it names one alone."""
    verbs = {verb for _, verb, _, _ in _STAGES if re.search(rf"\b{verb.replace('_', '[-_ ]')}\b", error, re.IGNORECASE)}
    if len(verbs) != 1:
        return ""
    titles = [title for title, verb, _, _ in _STAGES if verb in verbs]
    return next((title for title in titles if title not in done), titles[-1])


def _causes(state: str, error: str) -> list[Cause]:
    known = [cause for cause in CAUSES if re.search(cause.pattern, error, re.IGNORECASE)]
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
        parts += ["## The error text", "\n".join(f"    {line}" for line in _hidden(error).splitlines())]
    parts.append("## Steps that finished")
    steps = [(str(s.number), _hidden(s.task), s.verb, duration(s.seconds), _shown(s.figures)) for s in trace.finished]
    head = ("number", "task", "step", "time", "figures")
    parts.append(markdown_table(head, steps) if steps else "None left a history here.")
    own = {step.id for step in trace.finished}
    earlier = [verb for id, verb in sorted(trace.seen.items()) if id not in own]
    if earlier:
        parts.append(f"Taken from the cache of an earlier run, or of another root: {_cell(', '.join(earlier), 500)}.")
    parts.append("Steps from the cache leave no trace of their own here.")
    if trace.notes:
        parts += ["## What could not be read", "\n".join(f"- {_cell(note, 400)}" for note in trace.notes[:20])]
    return "\n\n".join(parts) + "\n"


def _plain(text: str, longest: int) -> str:
    return one_line(_hidden(text), longest)


def _cell(text: str, longest: int) -> str:
    return markdown_text(_hidden(text), longest)


def _hidden(text: str) -> str:
    """Without names of image files, secrets and what a terminal might act on."""
    shown = "\n".join(printable(line) for line in text.expandtabs(4).splitlines())
    shown = _SECRET.sub(r"\1[left out]", _IMAGE_FILE.sub(" [a file]", shown[:_MOST_ERROR]))
    return shown if len(shown) <= _LONGEST_ERROR else shown[:_LONGEST_ERROR] + " ..."


def _shown(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _write(page: Path, text: str) -> None:
    with atomic_write(page) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace", newline="\n")
