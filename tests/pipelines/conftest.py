"""Runs a tiny pipeline the way the launcher runs the real one, and the container engine for it."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from kfp import components as kfp_components

from components._image import CPU_IMAGE, GPU_IMAGE
from pipelines import step_runner
from pipelines.compilation import compile_to_yaml
from pipelines.kfp_local import LocalRun


@dataclass
class Ran:
    """What one run did: its steps, and what it said."""

    run: LocalRun
    said: list[str]

    def titles(self, *, kept: bool) -> list[str]:
        return [step.title for step in self.run.steps if step.ran is not kept]


def run_in(
    output: Path,
    pipeline,
    *,
    runner=None,
    image="python-tiny",
    said=None,
    volumes=None,
    status=None,
    predict=None,
    **arguments,
) -> Ran:
    text = step_runner.for_this_machine(compile_to_yaml(pipeline), dict.fromkeys(("tiny", CPU_IMAGE, GPU_IMAGE), image))
    said = [] if said is None else said
    environment = step_runner.step_environment()
    options = {name: value for name, value in (("status", status), ("predict", predict)) if value}
    ran = Ran(LocalRun(output / "logs", said.append, environment=environment, volumes=volumes, **options), said)
    ran.run(
        kfp_components.load_component_from_text(text),
        arguments,
        runner=runner or step_runner.process_runner(),
        pipeline_root=output / "artifacts",
    )
    return ran


@pytest.fixture
def run_tiny(tmp_path):
    return partial(run_in, tmp_path)


TOOLS = ("podman", "runc", "debootstrap")
# The host of the tests may neither raise limits nor make networks.
SETTINGS = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=1000:1000"]
netns = "host"
[engine]
runtime = "runc"
"""


def call(*command: str | Path, **options) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}"
    return done.stdout


def require_tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.getuid() != 0:
        missing.append("root")
    if missing:
        reason = f"needs {', '.join(missing)} to run containers"
        pytest.fail(reason) if os.environ.get("REGAN_REQUIRE_TOOLS") == "1" else pytest.skip(reason)


@pytest.fixture(scope="session")
def debian(tmp_path_factory) -> Callable[..., None]:
    """Makes an image of Debian's packages without a registry, and keeps it for the next run of the tests."""

    def make(image: str, packages: str, prepare: Callable[[Path], None] = lambda root: None, changes=()) -> None:
        if subprocess.run(["podman", "image", "exists", image]).returncode == 0:
            return
        folder = tmp_path_factory.mktemp("debian")
        call("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", folder / "root")
        prepare(folder / "root")
        call("tar", "-C", folder / "root", "-cf", folder / "image.tar", ".")
        call("podman", "import", *(f"--change={change}" for change in changes), folder / "image.tar", image)
        shutil.rmtree(folder)

    return make


@pytest.fixture(scope="session")
def engine_settings(tmp_path_factory) -> Path:
    """Settings of the container engine with which it works inside a container too."""
    require_tools()
    path = tmp_path_factory.mktemp("engine") / "containers.conf"
    path.write_text(SETTINGS)
    return path


@pytest.fixture(scope="session")
def engine(engine_settings) -> Iterator[str]:
    """Address of a container engine."""
    folder = engine_settings.parent
    with (folder / "service.log").open("w") as log:
        service = subprocess.Popen(
            ["podman", "--runtime", "runc", "system", "service", "--time", "0", f"unix://{folder}/podman.sock"],
            env={**os.environ, "CONTAINERS_CONF": str(engine_settings)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(folder / "podman.sock", service)
            yield f"unix://{folder}/podman.sock"
        finally:
            service.terminate()
            service.wait(20)


def wait_for(path: Path, service: subprocess.Popen) -> None:
    for _ in range(200):
        assert service.poll() is None, (path.parent / "service.log").read_text()
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            return
        time.sleep(0.1)
    pytest.fail(f"podman's service did not answer: {(path.parent / 'service.log').read_text()}")
