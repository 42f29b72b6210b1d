"""The demo in the images, against the same in processes: `make test-images`; with FULL=1 all of it.

Needs what tests/pipelines/test_containers.py needs, and package indexes. The base is the one of the Dockerfile where a
registry can be reached, otherwise it is made of Debian's packages. Debian's docker-registry, where it is installed,
takes the push.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from kfp import dsl

import regan
from pipelines.kfp_local import Step
from pipelines.local import Request, run
from regan.artifacts.image_set import ImageSet

pytestmark = [pytest.mark.containers, pytest.mark.pipeline, pytest.mark.slow, pytest.mark.timeout(10_800)]

ROOT = Path(__file__).resolve().parents[2]
BASE_IMAGE = "python:3.11-slim-bookworm"
BASE_OF_DEBIAN = "localhost/regan-test-base:bookworm"
FULL = os.environ.get("REGAN_FULL_DEMO") == "1"
REDUCED = {
    "gan_kimg": "0.5",
    "gan_seeds": "1-200",
    "gan_selection_images": "200",
    "classifier_epochs": "4",
    "test_per_class": "30",
    "report_margin": "0.2",
}
# What the package installer of this machine needs to reach its indexes.
FILES_OF_THE_INSTALLER = ("/etc/ssl/certs", "/etc/pip.conf")
USER = 65532


@dataclass(frozen=True)
class Images:
    cpu: str
    gpu: str


@pytest.fixture(scope="module")
def base(engine_settings, debian) -> str:
    with contextlib.suppress(subprocess.TimeoutExpired):
        if subprocess.run(["podman", "pull", BASE_IMAGE], capture_output=True, timeout=300).returncode == 0:
            return BASE_IMAGE
    debian(BASE_OF_DEBIAN, "python3,python3-venv,ca-certificates")
    return BASE_OF_DEBIAN


@pytest.fixture(scope="module")
def make_images(base, engine_settings, tmp_path_factory):
    """`make images` for machines without a GPU; gives what it said."""
    settings = tmp_path_factory.mktemp("build") / "containers.conf"
    volumes = [f"{path}:{path}:ro" for path in FILES_OF_THE_INSTALLER if Path(path).exists()]
    added = f"[containers]\nvolumes = {json.dumps(volumes)}\n"
    settings.write_text(engine_settings.read_text().replace("[containers]\n", added))
    environment = {**os.environ, "CONTAINERS_CONF": str(settings), "BUILDAH_ISOLATION": "chroot"}

    def make(*variables: str) -> str:
        words = ["ENGINE=podman", f"BASE_IMAGE={base}", "ACCELERATOR=none", f"PYTHON={sys.executable}", *variables]
        done = subprocess.run(
            ["make", "images", *words],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    return make


@pytest.fixture(scope="module")
def images(make_images) -> Images:
    return told(make_images())


def told(said: str) -> Images:
    """The references in the command that `make images` ends with."""
    return Images(*re.search(r"--image-cpu (\S+) --image-gpu (\S+)$", said.strip()).groups())


def inspected(image: str) -> dict:
    return json.loads(subprocess.run(["podman", "image", "inspect", image], capture_output=True, check=True).stdout)[0]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> str:
    if FULL:
        return ""  # the launcher makes the demo's phantoms
    folder = tmp_path_factory.mktemp("source") / "phantoms"
    regan.phantom(folder, per_class=120, size=32)
    return str(folder)


def run_demo(output: Path, source: str, **how) -> dict[str, Step]:
    classes = ("benign", "malignant") if source else ()
    request = Request(output=output, source=source, classes=classes, settings={} if FULL else REDUCED, **how)
    shown = sys.stdout  # kfp.local's own output is sent elsewhere while the pipeline runs
    return {step.title: step for step in run(request, lambda line: print(line, file=shown))}


@pytest.fixture(scope="module")
def in_processes(source, tmp_path_factory) -> dict[str, Step]:
    return run_demo(tmp_path_factory.mktemp("processes") / "run", source)


@pytest.fixture(scope="module")
def in_containers(source, images, engine, tmp_path_factory) -> dict[str, Step]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine)
        output = tmp_path_factory.mktemp("containers") / "run"
        return run_demo(output, source, runner="docker", image_cpu=images.cpu, image_gpu=images.gpu)


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def predictions(steps: dict[str, Step]) -> dict[str, str]:
    folders = {title: Path(step.outputs["predictions"].path) for title, step in steps.items() if title[:5] == "test "}
    return {title: file_hash(folder / "predictions.csv") for title, folder in folders.items()}


def pixels(steps: dict[str, Step], title: str) -> list[tuple[str, str]]:
    return [(row.name, row.sha256) for row in ImageSet.open(steps[title].outputs["images"].path).rows]


def test_every_step_runs_in_its_image_as_the_images_user(in_containers, in_processes):
    assert in_containers.keys() == in_processes.keys()
    assert all(step.ran for step in in_containers.values())
    outputs = [output for step in in_containers.values() for output in step.outputs.values()]
    owners = {Path(output.path).stat().st_uid for output in outputs if isinstance(output, (dsl.Dataset, dsl.Model))}
    assert owners == {USER}


@pytest.mark.parametrize("title", ["generate negative", "generate positive", "filter", "draw control"])
def test_generated_images_have_the_hashes_of_the_run_in_processes(in_containers, in_processes, title):
    assert pixels(in_containers, title)
    assert pixels(in_containers, title) == pixels(in_processes, title)


def test_predictions_have_the_hashes_of_the_run_in_processes(in_containers, in_processes):
    assert predictions(in_containers).keys() == {"test teacher", "test student", "test control"}
    assert predictions(in_containers) == predictions(in_processes)


def test_the_verdict_is_that_of_the_run_in_processes(in_containers, in_processes):
    first, second = (steps["compare classifiers"].outputs for steps in (in_containers, in_processes))
    assert first["sentence"] == second["sentence"]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_tells_its_version_commit_and_base(images, target):
    labels = inspected(getattr(images, target))["Labels"]
    assert labels["org.opencontainers.image.version"] == regan.__version__
    assert re.fullmatch(r"[0-9a-f]{40}(-changed)?", labels["org.opencontainers.image.revision"])
    assert re.search(r"@sha256:[0-9a-f]{64}$", labels["org.opencontainers.image.base.name"])


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_nothing_of_the_build_is_in_an_image(images, engine_settings, target):
    command = "id -u; ls -d /src /build /wheels /code /etc/pip.conf /root/.cache 2>&1 | grep -v 'No such file'; true"
    done = subprocess.run(
        ["podman", "run", "--rm", getattr(images, target), "sh", "-c", command],
        env={**os.environ, "CONTAINERS_CONF": str(engine_settings)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [str(USER), "ls: cannot access '/root/.cache': Permission denied"], done.stderr


@pytest.fixture
def registry(tmp_path):
    """Address of a registry on this machine."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs Debian's docker-registry to push to")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(settings))
    with (tmp_path / "registry.log").open("w") as log:
        service = subprocess.Popen([program, "serve", tmp_path / "registry.yml"], stdout=log, stderr=log)
    try:
        wait_for(f"http://{address}/v2/", service, tmp_path / "registry.log")
        yield address
    finally:
        service.terminate()
        service.wait(20)


def wait_for(url: str, service: subprocess.Popen, log: Path) -> None:
    for _ in range(200):
        assert service.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.1)
    pytest.fail(f"the registry did not answer: {log.read_text()}")


def manifest(reference: str) -> bytes:
    """What a registry holds under `host/path/name@sha256:...`."""
    host, _, rest = reference.partition("/")
    name, _, digest = rest.partition("@")
    kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    asked = urllib.request.Request(f"http://{host}/v2/{name}/manifests/{digest}", headers={"Accept": kinds})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return answer.read()


def test_a_push_tells_the_digests_that_the_registry_holds_and_the_pipeline_takes(
    images, make_images, registry, tmp_path
):
    try:
        pushed = told(make_images(f"REGISTRY={registry}/regan", "PUSH=1"))
    finally:
        made = [f"{registry}/regan/{name.rpartition('/')[2]}" for name in (images.cpu, images.gpu)]
        subprocess.run(["podman", "rmi", *made], capture_output=True)
    for target in ("cpu", "gpu"):
        reference = getattr(pushed, target)
        assert reference.startswith(f"{registry}/regan/regan-{target}@sha256:")
        assert hashlib.sha256(manifest(reference)).hexdigest() == reference.partition("@sha256:")[2]
    command = [sys.executable, "-m", "pipelines", "compile", "--output", tmp_path / "build"]
    command += ["--image-cpu", pushed.cpu, "--image-gpu", pushed.gpu]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (pipeline,) = (tmp_path / "build").rglob("synthetic_training_set.yaml")
    assert set(re.findall(r"image: (\S+)", pipeline.read_text())) == {pushed.cpu, pushed.gpu}
