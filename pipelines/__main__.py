"""Compile the pipeline, or run it on this machine."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.client import add_schedule, add_submit
from pipelines.job import add_graph, graph_of, settings_in, two_classes
from pipelines.parameters import PRESETS

INTERRUPTED = 130


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
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the files there are others")
    add_graph(parser)
    parser.set_defaults(run=_compile)


def _add_local(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("local", help="run the pipeline on this machine; again to go on where it stopped")
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--source", default="", help="folder, zip, gs:// or s3:// address with one folder a class")
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

    say = _speaker()
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
        say(f"--output expects a folder that can be written. {error.filename}: {error.strerror}.")
        return 1
    except ValueError as error:
        say(str(error))
        return 1
    return 0


def _local(parsed: argparse.Namespace) -> int:
    from pipelines.kfp_local import StepError
    from pipelines.local import Request, run

    say = _speaker()
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
        run(request, say)
    except StepError as error:
        cause = error.cause.replace("\n", "\n  ")
        say(
            "",
            f"Step {error.step.number}, {error.step.title}, failed:",
            f"  {cause}",
            f"All that it printed: {os.path.relpath(error.step.log)}",
            "The same command goes on after the finished steps.",
        )
        return 1
    except (ValueError, OSError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("", "Interrupted. The same command goes on after the finished steps.")
        return INTERRUPTED
    return 0


def _speaker() -> Callable[..., None]:
    # Taken now, because kfp.local's own output is sent elsewhere while the pipeline runs.
    stream = sys.stdout

    def say(*lines: str) -> None:
        for line in lines:
            stream.write(f"{line}\n")
            stream.flush()

    return say


if __name__ == "__main__":
    sys.exit(main())
