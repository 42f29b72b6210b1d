"""Build the images of the pipeline's steps, and push them: `make images REGISTRY=... PUSH=1`."""

import argparse
import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENGINES = ("podman", "buildah", "docker")
TARGETS = ("cpu", "gpu")
FRAMEWORKS = ("tensorflow", "jax")
ACCELERATORS = ("cuda", "none")
BASE_IMAGE = "python:3.11-slim-bookworm"
IN_THE_IMAGES = ("images/Dockerfile", "locks", "regan", "pyproject.toml", "README.md", "LICENSE")


class BuildError(RuntimeError):
    """A command of the engine failed, or what was asked for cannot be built."""


@dataclass(frozen=True)
class Build:
    """What is asked for.

    Attributes:
        engine: "podman", "buildah" or "docker".
        base_image: Debian or Ubuntu with Python 3.11 and its `venv` module.
        targets: Which of the two images.
        registry: Registry and path before the name; empty = the images stay on this machine.
        push: Push them there.
        framework: "tensorflow" or "jax", of the `gpu` image.
        accelerator: "cuda" or "none", of the `gpu` image.
        options: More words for the engine's `build`.
    """

    engine: str
    base_image: str = BASE_IMAGE
    targets: Sequence[str] = TARGETS
    registry: str = ""
    push: bool = False
    framework: str = "tensorflow"
    accelerator: str = "cuda"
    options: Sequence[str] = ()

    def reference(self, target: str) -> str:
        """Name and tag of one image: the package's version, and the variant where it is not the usual one."""
        variant = f"{self.framework}-{self.accelerator}"
        usual = target == "cpu" or variant == "tensorflow-cuda"
        tag = version() if usual else f"{version()}-{variant}"
        return f"{self.registry.rstrip('/')}/regan-{target}:{tag}".lstrip("/")


def version() -> str:
    """Version of the package, read without importing it: nothing need be installed here."""
    _, _, text = (ROOT / "regan/common/version.py").read_text().partition("__version__ = ")
    return ast.literal_eval(text)


def commit() -> str:
    """Commit of the checkout, with "-changed" where the images would hold something else; "unknown" without git."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", *IN_THE_IMAGES], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-changed" if changed else head


def engine_of_this_machine() -> str:
    """The first of podman, buildah and docker that is installed.

    Raises:
        BuildError: There is none.
    """
    for engine in ENGINES:
        if shutil.which(engine):
            return engine
    raise BuildError(f"Building images needs one of {', '.join(ENGINES)}. None was found on PATH. Install one of them.")


def build(asked: Build) -> dict[str, str]:
    """Build the images, and push them if asked.

    Args:
        asked: What is asked for.

    Returns:
        Target -> reference for the compiled pipeline: `name@sha256:...` after a push, otherwise name and tag.

    Raises:
        BuildError: A command of the engine failed, or pushing was asked without a registry.
    """
    if asked.push and not asked.registry:
        raise BuildError("PUSH=1 needs REGISTRY=..., such as REGISTRY=europe-docker.pkg.dev/project/images.")
    base = pin_digest(asked.engine, asked.base_image)
    _say(f"Base image: {base}")
    references = {}
    for target in asked.targets:
        reference = references[target] = asked.reference(target)
        _say(f"Building {reference} with {asked.engine}")
        _call(build_command(asked, target, base), shown=True)
    return {target: _push(asked, name) for target, name in references.items()} if asked.push else references


def build_command(asked: Build, target: str, base_image: str) -> list[str]:
    """The engine's command that builds one image.

    Args:
        asked: What is asked for.
        target: "cpu" or "gpu".
        base_image: Base image, best with its digest.

    Returns:
        Words of the command.
    """
    arguments = {"BASE_IMAGE": base_image, "VERSION": version(), "COMMIT": commit()}
    if target == "gpu":
        arguments |= {"FRAMEWORK": asked.framework, "ACCELERATOR": asked.accelerator}
    # podman and buildah rebuild the stages of both targets without --layers.
    layers = ["--layers"] if asked.engine == "buildah" else []
    words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    tagged = ["--target", target, "--tag", asked.reference(target)]
    return [asked.engine, "build", *layers, *asked.options, *words, *tagged, "--file", "images/Dockerfile", "."]


def pin_digest(engine: str, image: str) -> str:
    """An image by its digest, pulled where it is not here yet.

    Args:
        engine: The engine.
        image: Name, with a tag or a digest.

    Returns:
        `name@sha256:...`; the name as it was given where the engine knows no digest (docker, of an image made here).

    Raises:
        BuildError: The image cannot be had.
    """
    if "@sha256:" in image:
        return image
    forms = {"podman": "{{.Digest}}", "buildah": "{{.FromImageDigest}}", "docker": "{{json .RepoDigests}}"}
    look = ["inspect", "--type", "image"] if engine == "buildah" else ["image", "inspect"]
    command = [engine, *look, "--format", forms[engine], image]
    if subprocess.run(command, capture_output=True).returncode != 0:
        try:
            _call([engine, "pull", image])
        except BuildError as error:
            raise BuildError(
                f"{error}\nThe base image {image} is neither on this machine nor in a registry that can be reached. "
                "Name another by BASE_IMAGE=..., or make one as images/README.md says."
            ) from error
    found = _call(command).strip()
    if engine == "docker":
        return next(iter(json.loads(found) or []), image)
    return f"{_without_tag(image)}@{found}" if found.startswith("sha256:") else image


def _push(asked: Build, reference: str) -> str:
    _say(f"Pushing {reference}")
    if asked.engine == "docker":
        # The image's own list of digests may hold others than the one that was pushed now.
        said = _call(["docker", "push", reference])
        return f"{_without_tag(reference)}@{re.findall(r'digest: (sha256:[0-9a-f]{64})', said)[-1]}"
    # A registry on this machine has no certificate; every other one must have one.
    plain = ["--tls-verify=false"] if _host(asked.registry) in ("localhost", "127.0.0.1", "[::1]") else []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "digest")
        _call([asked.engine, "push", *plain, "--digestfile", str(file), reference], shown=True)
        return f"{_without_tag(reference)}@{file.read_text().strip()}"


def _host(registry: str) -> str:
    host = registry.split("/")[0]
    return host[: host.index("]") + 1] if host.startswith("[") else host.split(":")[0]


def _without_tag(reference: str) -> str:
    folder, slash, name = reference.rpartition("/")
    return folder + slash + name.split(":")[0]


def _call(command: list[str], *, shown: bool = False) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        text=True,
        stdout=None if shown else subprocess.PIPE,
        stderr=None if shown else subprocess.PIPE,
    )
    if done.returncode != 0:
        said = "" if shown else f"\n{done.stderr.strip()}"
        raise BuildError(f"{shlex.join(command)} ended with status {done.returncode}.{said}")
    return done.stdout or ""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def parser() -> argparse.ArgumentParser:
    """Reader of the command line."""
    words = argparse.ArgumentParser(prog="images/build.py", description=__doc__)
    words.add_argument("--registry", default="", help="registry and path before the names of the images")
    words.add_argument("--push", action="store_true", help="push them there, and tell the digests")
    words.add_argument("--engine", choices=ENGINES, help="default: the first of them that is installed")
    words.add_argument("--base-image", default=BASE_IMAGE, help="best name@sha256 (default: %(default)s)")
    words.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS, help="default: both")
    words.add_argument("--framework", choices=FRAMEWORKS, default="tensorflow", help="default: %(default)s")
    words.add_argument("--accelerator", choices=ACCELERATORS, default="cuda", help="default: %(default)s")
    words.add_argument("--options", default=[], type=shlex.split, metavar="WORDS", help="more for the engine's `build`")
    return words


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Its words; None = those of the process.

    Returns:
        Exit status: 0, or 1 after a failure that was explained.
    """
    words = vars(parser().parse_args(arguments))
    try:
        made = build(Build(**{**words, "engine": words["engine"] or engine_of_this_machine()}))
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for reference in made.values():
        _say(reference)
    named = " ".join(f"--image-{target} {reference}" for target, reference in made.items())
    _say(f"python -m pipelines compile --output build {named}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
