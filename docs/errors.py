"""The page of errors: `python docs/errors.py` writes docs/errors.md from the error classes and the error table."""

from pathlib import Path

from regan.common.errors import ReganError
from regan.common.text import markdown_table
from regan.runs.error_table import CANCELLED, SIGNS, UNKNOWN, Cause, cause_of, error_classes

PAGE = Path(__file__).with_suffix(".md")

WORDS = ("what it means", "what to do")
HEAD = """# Errors

An error that a user can cause has a code, the name of its class. `regan <verb>` prints it before the message, it ends \
the traceback in the log of a step, and the page on how a run ended (`regan explain_run`) finds it there. In Python, \
catch the class, the built-in class in brackets, or all of them as `regan.common.errors.ReganError`. A plain \
`ValueError` or `TypeError` without a code is a wrong call, such as an array of the wrong shape.

The tables are made from `regan/common/errors.py` and `regan/runs/error_table.py` by `python docs/errors.py`."""


def page() -> str:
    """The whole page, Markdown."""
    ours = [(f"{name} ({_built_in(error)})", *_words(cause_of(error))) for name, error in error_classes().items()]
    others = [(sign.name, sign.texts[0][1], *_words(sign)) for sign in SIGNS]
    neither = [(cause.name, *_words(cause)) for cause in (CANCELLED, UNKNOWN)]
    parts = (
        HEAD,
        "## Errors of regan",
        markdown_table(("code", *WORDS), ours),
        "## Errors of other programs",
        "What Kubernetes, CUDA, Linux, storage clients and Python write is recognised by sentences such as these.",
        markdown_table(("cause", "sentence", *WORDS), others),
        "## Neither",
        markdown_table(("cause", *WORDS), neither),
    )
    return "\n\n".join(parts) + "\n"


def _built_in(error: type[ReganError]) -> str:
    return next(base.__name__ for base in error.__mro__ if base.__module__ == "builtins")


def _words(cause: Cause) -> tuple[str, str]:
    return cause.meaning, cause.advice


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
