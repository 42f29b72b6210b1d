"""Two real steps in containers, against the same in processes. `make test-images` does it with the whole demo.

The image is Debian's Python; this environment's packages and our code are mounted, so that nothing is downloaded.
"""

import hashlib
import os
import sysconfig
from pathlib import Path

import pytest
from kfp import dsl

import regan
from components.prepare_images import prepare_images
from components.train_classifier import train_classifier
from pipelines import step_runner
from regan.artifacts.image_set import ImageSet
from regan.artifacts.model import weights_hash

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(900)]

PACKAGES = (sysconfig.get_path("purelib"), str(Path(regan.__file__).parents[1]))
CHANGES = (
    "USER 65532:65532",
    f"ENV PYTHONPATH={os.pathsep.join(PACKAGES)}",
    "ENV HOME=/tmp",
    "ENV KERAS_BACKEND=tensorflow",
    "ENV MPLBACKEND=Agg",
)
IMAGE = f"localhost/regan-test-two-steps:{hashlib.sha256(repr(CHANGES).encode()).hexdigest()[:12]}"


@dsl.pipeline(name="two-steps")
def two_steps(source: str):
    prepared = prepare_images(source=source, size=32, test_per_class=4)
    train_classifier(
        images=prepared.outputs["train"],
        validation=prepared.outputs["validation"],
        backbone="small",
        weights="none",
        epochs=1,
    )


@pytest.fixture
def source(tmp_path) -> str:
    regan.phantom(tmp_path / "phantoms", per_class=24, size=32)
    return str(tmp_path / "phantoms")


def hashes(ran) -> tuple[dict[str, list[str]], str]:
    prepared, trained = ran.run.steps
    sets = {name: ImageSet.open(prepared.outputs[name].path).rows for name in ("train", "validation", "test")}
    pixels = {name: [row.sha256 for row in rows] for name, rows in sets.items()}
    return pixels, weights_hash(trained.outputs["classifier"].path)


def test_containers_prepare_and_learn_what_processes_do(run_tiny, engine, debian, source, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", engine)
    debian(IMAGE, "python3", changes=CHANGES)
    image = next(iter(step_runner.images_of_containers(IMAGE, IMAGE).values()))
    volumes = dict.fromkeys((source, *PACKAGES), "ro")
    runner = step_runner.container_runner([tmp_path / "containers" / "artifacts"])
    run_in = run_tiny.func
    in_containers = run_in(
        tmp_path / "containers", two_steps, runner=runner, image=image, volumes=volumes, source=source
    )
    in_processes = run_in(tmp_path / "processes", two_steps, source=source)
    written = Path(in_containers.run.steps[1].outputs["classifier"].path, "weights.safetensors")
    assert written.stat().st_uid == 65532
    assert hashes(in_containers) == hashes(in_processes)
