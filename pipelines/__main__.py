"""Compile the pipeline, or run it on this machine."""

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import IO

from pipelines.client import add_schedule, add_submit
from pipelines.job import add_graph, graph_of, settings_in, two_classes
from pipelines.parameters import PRESETS
from regan.common.errors import ReganError, with_code

INTERRUPTED = 130
_ERASE_LINE = "\r\x1b[K"  # back to the first column, and erase to the end of the line (ECMA-48)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line; None = those of the process.

    Returns:
        Exit status: 0, 1 after a failure that was explained, or 130 after an interrupt.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_compile(commands)
    _add_local(commands)
    add_submit(commands)
    add_schedule(commands)
    parsed = parser.parse_args(arguments)
    return parsed.run(parsed)


def _add_compile(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("compile", help="write the pipeline and the components as YAML for Kubeflow")
    parser.add_argument("--output", type=Path, default=Path("manifests"), help="folder (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the files there differ")
    add_graph(parser)
    parser.set_defaults(run=_compile)


def _add_local(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("local", help="run the pipeline on this machine; run again to resume")
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--source", default="", help="folder, zip, gs:// or s3:// URI with one folder for each class")
    images.add_argument("--phantom", action="store_true", help="make phantom images and use them")
    parser.add_argument("--classes", default="", metavar="NEGATIVE,POSITIVE", help="names of the two classes' folders")
    parser.add_argument("--preset", choices=PRESETS, default="demo", help="sizes and lengths (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any pipeline parameter")
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="folder (default: %(default)s)")
    parser.add_argument("--runner", choices=("subprocess", "docker"), default="subprocess", help="how steps run")
    add_graph(parser)
    parser.set_defaults(run=_local)


def _compile(parsed: argparse.Namespace) -> int:
    from pipelines.compilation import manifests

    say = Terminal()
    try:
        fresh = manifests(**graph_of(parsed))
        files = {parsed.output / name: text for name, text in fresh.items()}
        if parsed.check:
            stale = [
                path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text
            ]
            say(*(f"{path} differs from a fresh compile. Run `python -m pipelines compile`." for path in stale))
            return 1 if stale else 0
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            say(str(path))
    except OSError as error:
        say(f"Cannot write to --output: {error.filename}: {error.strerror}. Choose another folder.")
        return 1
    except ValueError as error:
        say(with_code(error))
        return 1
    return 0


def _local(parsed: argparse.Namespace) -> int:
    from pipelines.kfp_local import StepError
    from pipelines.local import Request, run

    say = Terminal()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        request = Request(
            output=parsed.output,
            source=parsed.source,
            classes=two_classes(parsed.classes),
            preset=parsed.preset,
            settings=settings_in(parsed.set),
            **graph_of(parsed),
            runner=parsed.runner,
        )
        run(request, say, say.status)
    except StepError as error:
        cause = error.cause.replace("\n", "\n  ")
        say(
            "",
            f"Step {error.step.number}, {error.step.title}, failed:",
            f"  {cause}",
            f"Its log: {os.path.relpath(error.step.log)}",
            "Run the same command again to resume after the finished steps.",
        )
        return 1
    except (ReganError, ValueError, OSError) as error:
        say(with_code(error))
        return 1
    except KeyboardInterrupt:
        say("", "Interrupted. Run the same command again to resume after the finished steps.")
        return INTERRUPTED
    return 0


class Terminal:
    """Writes lines, and below them, on a terminal only, one line for the whole run that changes in place.

    Args:
        stream: Where to write; None = the process's output of now, because kfp.local's own output is sent elsewhere
            while the pipeline runs.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream, self._status = stream or sys.stdout, ""

    def __call__(self, *lines: str) -> None:
        """Write lines above the line for the whole run."""
        self._write("".join(f"{line}\n" for line in lines))

    def status(self, line: str) -> None:
        """Change the line for the whole run; empty = remove it."""
        if self._stream.isatty():
            self._write("", line)

    def _write(self, text: str, status: str | None = None) -> None:
        erase = _ERASE_LINE if self._status else ""
        self._status = self._status if status is None else status[: shutil.get_terminal_size().columns - 1]
        self._stream.write(f"{erase}{text}{self._status}")
        self._stream.flush()


if __name__ == "__main__":
    sys.exit(main())
