"""`regan <verb>`: a command line made from the verbs' own signatures and docstrings."""

import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import regan
from regan.artifacts.output_folder import exit_on_sigterm
from regan.common.errors import with_code

_COMMANDS = (*regan.VERBS, "phantom", "preflight", "explain_run", "import_nvidia")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: The command line without the program's name; by default that of the process.

    Returns:
        Exit status: 0 when the verb is done, 1 when it failed. A command line that cannot be parsed ends the process
        with status 2, and help with 0, as argparse does.
    """
    words = [_with_underscores(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    debug, given = "--debug" in words, [word for word in words if word != "--debug"]
    given[:1] = [_command(word) for word in given[:1]]
    chosen = _parser(given).parse_args(given)
    verb = chosen.pop("verb")
    settings = chosen.pop(verb).as_dict()
    settings.pop("config", None)
    try:
        with _log_on_stderr(), exit_on_sigterm():
            result = getattr(regan, verb)(**settings)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if debug:
            raise
        sys.stderr.write(f"regan {verb}: {with_code(error)}\n")
        return 1
    sys.stdout.write(_fields_text(result))
    return 0


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Log warnings and progress to stderr while a verb runs."""
    handler, root = logging.StreamHandler(sys.stderr), logging.getLogger()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("regan").setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _parser(given: Sequence[str]) -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog="regan",
        description="Turn labelled medical images into a synthetic training set, and test how good it is. "
        "For research, not a medical device.",
        epilog="Help on a verb: regan <verb> --help. Add --debug to any verb to print the traceback of an error.",
    )
    parser.add_argument("--version", action="version", version=f"regan {regan.__version__}")
    verbs = parser.add_subcommands(required=True, dest="verb", title="verbs", metavar="<verb>")
    # Only the verb on the command line is loaded, so that its help is quick.
    chosen = [name for name in _COMMANDS if name in given[:1]]
    for name in chosen or _COMMANDS:
        function = getattr(regan, name)
        verb_parser = ArgumentParser(description=_first_line(function))
        if chosen:
            verb_parser.add_argument("--config", action="config", help="YAML file with settings of this verb.")
            verb_parser.add_function_arguments(function, as_group=False, as_positional=True)
        verbs.add_subcommand(name, verb_parser, help=_first_line(function))
    return parser


def _with_underscores(word: str) -> str:
    """`--per-class=3` as `--per_class=3`: both spellings of an option are accepted."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def _command(word: str) -> str:
    """`import-nvidia` as `import_nvidia`: both spellings of a command are accepted."""
    name = word.replace("-", "_")
    return name if name in _COMMANDS else word


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _fields_text(result: Any) -> str:
    return "".join(f"{field.name}: {getattr(result, field.name)}\n" for field in fields(result))


if __name__ == "__main__":
    sys.exit(main())
