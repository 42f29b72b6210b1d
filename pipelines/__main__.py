"""Command line of the pipelines: `python -m pipelines compile`."""

import argparse
import sys

from components._image import CPU_IMAGE, GPU_IMAGE
from pipelines.compilation import write_manifests


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line; None = those of the process.

    Returns:
        Exit status: 0, or 1 after a failure that was explained.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_compile(commands)
    parsed = parser.parse_args(arguments)
    return parsed.run(parsed)


def _add_compile(commands) -> None:
    parser = commands.add_parser("compile", help="write the pipeline and the components as YAML for Kubeflow")
    parser.add_argument("--output", default="manifests", help="folder to write to (default: %(default)s)")
    parser.add_argument("--per-class", action="store_true", help="one GAN a class, not one class-conditional GAN")
    parser.add_argument("--image-cpu", default=CPU_IMAGE, metavar="REF", help="best name@sha256 (default: %(default)s)")
    parser.add_argument("--image-gpu", default=GPU_IMAGE, metavar="REF", help="best name@sha256 (default: %(default)s)")
    parser.set_defaults(run=_compile)


def _compile(parsed: argparse.Namespace) -> int:
    written = write_manifests(
        parsed.output, conditional=not parsed.per_class, image_cpu=parsed.image_cpu, image_gpu=parsed.image_gpu
    )
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
