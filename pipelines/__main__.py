"""Compile the pipeline, or run it on this machine."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components._image import CPU_IMAGE, GPU_IMAGE
from pipelines.client import add_schedule, add_submit
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
    _add_graph(parser)
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
    _add_graph(parser)
    parser.set_defaults(run=_local)


def _add_graph(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--per-class", action="store_true", help="one GAN a class, not one class-conditional GAN")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of new images for the student (default: 1)")
    parser.add_argument("--generation-shards", type=int, default=1, help="steps that share a class's images, to 16")
    parser.add_argument("--image-cpu", default=CPU_IMAGE, metavar="REF", help="best name@sha256 (default: %(default)s)")
    parser.add_argument("--image-gpu", default=GPU_IMAGE, metavar="REF", help="best name@sha256 (default: %(default)s)")


def graph_of(parsed: argparse.Namespace) -> dict[str, Any]:
    """What `synthetic_training_set` takes, from the words of a command line."""
    return {
        "conditional": not parsed.per_class,
        "rounds": parsed.rounds,
        "generation_shards": parsed.generation_shards,
    }


def _compile(parsed: argparse.Namespace) -> int:
    from pipelines.compilation import manifests

    say = _speaker()
    fresh = manifests(**graph_of(parsed), image_cpu=parsed.image_cpu, image_gpu=parsed.image_gpu)
    files = {parsed.output / name: text for name, text in fresh.items()}
    if parsed.check:
        stale = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
        say(*(f"{path} differs from a fresh compile. Run `python -m pipelines compile`." for path in stale))
        return 1 if stale else 0
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        say(str(path))
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
            classes=_classes(parsed.classes),
            preset=parsed.preset,
            settings=_settings(parsed.set),
            **graph_of(parsed),
            runner=parsed.runner,
            image_cpu=parsed.image_cpu,
            image_gpu=parsed.image_gpu,
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


def _classes(text: str) -> tuple[str, ...]:
    classes = tuple(name.strip() for name in text.split(",")) if text else ()
    if classes and (len(set(classes)) != 2 or not all(classes)):
        raise ValueError(f"--classes expects two names, the positive class last: benign,malignant. Received {text!r}.")
    return classes


def _settings(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"--set expects NAME=VALUE, such as gan_kimg=100. Received {pair!r}.")
    return dict(pair.split("=", 1) for pair in pairs)


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
