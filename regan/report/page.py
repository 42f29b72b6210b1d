"""The report page, written from history alone: one file that needs no network and runs no script."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from regan.artifacts.history import Step
from regan.common.text import UNKNOWN, duration
from regan.report import formatting as fmt
from regan.report import provenance_sections, results
from regan.report.control_reading import read_control
from regan.report.lineage import Lineage
from regan.report.previous_verdict import previous_verdict
from regan.report.redaction import without_private

TEMPLATES = Path(__file__).parent / "templates"


def write_report(steps: Mapping[str, Step], output_html: Path, *, include_private: bool = True) -> None:
    """Write the report of the last comparison in a history.

    All text of a history is escaped. Parts that are missing are said to be missing.

    Args:
        steps: Every step by id, as `regan.artifacts.history.read_history` gives them.
        output_html: The file to write, UTF-8. The same steps give the same bytes.
        include_private: Whether to show images of patients, and names of files and folders. False for publication.

    Raises:
        CorruptFileError: A step of the history cannot be read.
        WrongArtifactError: No step of the history compared classifiers.
    """
    shown = dict(steps) if include_private else without_private(steps)
    Path(output_html).write_text(
        render_report(shown, private_left_out=not include_private), encoding="utf-8", newline="\n"
    )


def render_report(steps: Mapping[str, Step], *, private_left_out: bool = False) -> str:
    """The report as HTML text; `private_left_out` says that images of patients were taken out before."""
    lineage = Lineage.of(steps)
    negative, positive = results.classes(lineage)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            style=Markup(style),
            policy=_policy(style),
            lineage=lineage,
            negative=negative,
            positive=positive,
            private_left_out=private_left_out,
            verdict=results.verdict(lineage),
            cards=results.cards(lineage),
            rests_on=results.rests_on(lineage),
            differences=Markup(results.difference_svg(lineage)),
            readings=read_control(lineage),
            previous=previous_verdict(lineage),
            roc=Markup(results.roc_svg(lineage)),
            confusions=results.confusions(lineage),
            measures=results.measures(lineage),
            tests=results.tests(lineage),
            **_as_markup(provenance_sections.sections(lineage, private_left_out=private_left_out)),
            provenance=provenance_sections.provenance(steps, lineage),
        )
    )


def environment() -> Environment:
    """Templates of the report: HTML is always escaped, and a missing value is shown as not known."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is None or ".html" in name,
        undefined=StrictUndefined,  # a name that no entry has is an error, never an empty cell
        finalize=lambda value: UNKNOWN if value is None else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (
        fmt.number,
        fmt.signed,
        fmt.percent,
        fmt.significant,
        fmt.p_value,
        duration,
    ):
        env.filters[function.__name__] = function
    env.filters |= {
        "typographic": fmt.typographic,
        "sentence_case": fmt.sentence_case,
        "plural": fmt.plural,
    }
    env.filters["plain"] = fmt.plain
    env.globals["interval"] = fmt.interval
    return env


def _policy(style: str) -> str:
    # Nothing is loaded and no script runs; the one style sheet is allowed by its hash.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _as_markup(value: Any) -> Any:
    """The same with SVG of this package marked as safe; everything else is escaped."""
    if isinstance(value, provenance_sections.Svg):
        return Markup(value)
    if isinstance(value, dict):
        return {key: _as_markup(item) for key, item in value.items()}
    return [_as_markup(item) for item in value] if isinstance(value, list) else value
