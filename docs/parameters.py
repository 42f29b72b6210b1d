"""Write the tables of docs/parameters.md and of README's parameters from the code: `python docs/parameters.py`."""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from regan.runs.parameter_row import NETWORKS, Kind, OneOf, Parameter  # noqa: E402
from regan.runs.parameters import PARAMETERS, STAGES  # noqa: E402
from regan.runs.verb_parameters import VERB_PARAMETERS  # noqa: E402

PAGES = (HERE / "parameters.md", HERE.parent / "README.md")
_TYPES = {str: "text", int: "integer", float: "number", bool: "true or false", dict: "JSON object", list: "JSON list"}
_NEW = {Kind.TRAINING: "training, run", Kind.RESULT: "run"}


def stage_table(stage: str) -> str:
    """Parameters of one stage."""
    rows = [row for row in PARAMETERS.values() if row.stage == stage]
    return _table(
        ("parameter", "type", "default", "allowed", "description", "another value starts a new", "used by"),
        [
            (
                f"`{row.name}`",
                _TYPES[row.type],
                _default(row),
                _allowed_values(row),
                row.about,
                _NEW.get(row.kind, ""),
                _uses(row),
            )
            for row in rows
        ],
    )


def verbs_table() -> str:
    """Parameters of verbs that the pipeline does not expose."""
    return _table(
        ("parameter", "type", "default", "allowed", "description", "used by"),
        [
            (
                f"`{name.partition('.')[2]}`",
                _TYPES[row.type],
                _default(row),
                _allowed_values(row),
                row.about,
                _uses(row),
            )
            for name, row in VERB_PARAMETERS.items()
        ],
    )


def prefixes_table() -> str:
    """What the first word of a parameter's name says, for README."""
    rows = []
    for stage, about in STAGES.items():
        names = [row.name for row in PARAMETERS.values() if row.stage == stage]
        words = dict.fromkeys(name.partition("_")[0] for name in names)
        if stage != "graph":  # options of the command line, not parameters of the compiled pipeline
            rows.append((", ".join(f"`{word}_`" for word in words), about))
    return _table(("begins with", "about"), rows)


TABLES = {f"parameters {stage}": lambda stage=stage: stage_table(stage) for stage in STAGES}
TABLES |= {"parameters of verbs": verbs_table, "parameter prefixes": prefixes_table}


def with_tables(page: str) -> str:
    """The page with its tables made again.

    Args:
        page: Text with `<!-- table: NAME -->` and `<!-- end -->` around each table; other names stay as they are.
    """

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}" if match[2] in TABLES else match[0]

    return re.sub(r"(<!-- table: ([\w ]+) -->).*?(<!-- end -->)", fill, page, flags=re.DOTALL)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _default(row: Parameter) -> str:
    if row.default is None:
        return "required"
    return f"`{json.dumps(row.default)}`" if row.default != "" else "empty"


def _allowed_values(row: Parameter) -> str:
    if row.allowed is None:
        return ""
    if isinstance(row.allowed, OneOf) and set(NETWORKS) <= set(row.allowed.words):
        return "`small` or a network of keras.applications"  # 38 names, which the preflight lists
    return row.allowed.expected


def _uses(row: Parameter) -> str:
    targets = row.feeds or ((row.name,) if not row.stage else ())
    return ", ".join(f"`{target}`" for target in targets)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
