"""What a local run takes from this machine: version of the code, images, environment, lock of the folder."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import yaml
from kfp import local

import regan
from components._image import CPU_IMAGE, GPU_IMAGE
from regan.common.errors import ConflictError, MissingImageError, OutputError, OutputExistsError
from regan.common.system import try_lock

PACKAGE = Path(regan.__file__).resolve().parent
USER = 65532  # of our images
_OF_A_RUN = {".lock", "parameters.json", "report.html"}  # one of these is in every output folder of a run
SHARED_MEMORY = "8g"  # of a container, as in pipelines/placement.py
_DEFAULTS = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"}


def code_version(package: Path = PACKAGE, rooms: Sequence[str] = (".",)) -> str:
    """Hash of every file of a package: a changed line gives another version.

    Args:
        package: Its folder.
        rooms: Folders in it that count.

    Returns:
        12 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted(path for room in rooms for path in (package / room).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def for_this_machine(text: str, images: Mapping[str, str]) -> str:
    """Change a compiled pipeline for a local run: other images, and no waiting between retries.

    Args:
        text: Compiled pipeline, YAML.
        images: New image of each image named in it.

    Returns:
        YAML without the part for Kubernetes.
    """
    specification = next(yaml.safe_load_all(text))
    for executor in specification["deploymentSpec"]["executors"].values():
        container = executor["container"]
        container["image"] = images.get(container["image"], container["image"])
        container.pop("resources", None)
    for dag in (specification["root"], *specification["components"].values()):
        for task in dag.get("dag", {}).get("tasks", {}).values():
            task.pop("retryPolicy", None)
    return yaml.safe_dump(specification)


def images_of_processes() -> dict[str, str]:
    """Images for steps that run as processes here: a name that changes with our code and the Keras backend.

    kfp.local starts no image then; it only takes the name into the cache's key, and expects "python" in it.
    """
    image = f"python-regan:{code_version()}-{step_environment()['KERAS_BACKEND']}"
    return {CPU_IMAGE: image, GPU_IMAGE: image}


def images_of_containers(image_cpu: str, image_gpu: str) -> dict[str, str]:
    """Images for steps that run as containers here: their ids, so that an image built anew runs again.

    Args:
        image_cpu: Image of the steps that run no network.
        image_gpu: Image of the steps that run a network.

    Raises:
        MissingImageError: There is no such image on this machine.
    """
    import docker

    client = docker.from_env()
    try:
        found = {CPU_IMAGE: client.images.get(image_cpu), GPU_IMAGE: client.images.get(image_gpu)}
        return {name: str(image.id) for name, image in found.items()}
    except docker.errors.ImageNotFound as error:
        raise MissingImageError(
            f"A container image is missing: {error.explanation}. The container runner needs {image_cpu} and "
            f"{image_gpu}. Build them as images/README.md says, or name others with --image-cpu and --image-gpu."
        ) from error
    finally:
        client.close()


def step_environment() -> dict[str, str]:
    """Environment of steps that run as processes.

    It sets no number of threads of its own: steps run one after the other, and each may use all available CPUs. Under a
    CPU limit, `import regan` has set it already, here and in each step (regan/common/cpus.py).
    """
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    return {**_DEFAULTS, **os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def process_runner() -> Any:
    """Runner of kfp.local for steps as processes in this environment."""
    return local.SubprocessRunner(use_venv=False)


def container_runner(writable: list[Path]) -> Any:
    """Runner of kfp.local for steps as containers.

    Args:
        writable: Folders that the containers write to. They belong to whoever starts the run, and so do the processes
            in the containers; root starts them as the image's own user instead, and gives it the folders.
    """
    # The images' own environment holds: one with JAX says so.
    settings: dict[str, Any] = {"environment": {"PYTHONUNBUFFERED": "1"}, "shm_size": SHARED_MEMORY}
    for folder in writable:
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            os.chown(folder, USER, USER)
            folder.chmod(0o700)
    if os.getuid() != 0:
        settings["user"] = f"{os.getuid()}:{os.getgid()}"
    return local.DockerRunner(**settings)


@contextlib.contextmanager
def alone_in(output: Path) -> Iterator[IO]:
    """Lock a folder against other runs.

    Args:
        output: The folder; it is created if needed.

    Yields:
        Open file that holds the lock, also for processes that inherit it.

    Raises:
        OutputExistsError: The folder holds something that no run wrote.
        ConflictError: Another run, or a step that it left behind, uses the folder.
        OutputError: The folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in output.iterdir()}
        if names and not names & _OF_A_RUN:
            raise OutputExistsError(
                f"{output} is not empty and is not the output of a run. Choose another folder with --output."
            )
        file = (output / ".lock").open("wb")
    except OutputExistsError:
        raise
    except OSError as error:
        raise OutputError(f"Cannot write to {output}: {error.strerror}. Choose another folder.") from error
    with file:
        if not try_lock(file.fileno()):
            raise ConflictError(
                f"Another run uses {output}. Wait for it or stop it, or choose another folder with --output."
            )
        yield file
