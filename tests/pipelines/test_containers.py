"""Steps as containers: a failure is a failure. Needs podman, runc and debootstrap, and the right to use them."""

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

import pytest
from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from pipelines import step_runner
from pipelines.kfp_local import StepError

pytestmark = pytest.mark.pipeline
IMAGE = f"localhost/regan-test-step:kfp-{importlib.metadata.version('kfp')}"


@dsl.component(base_image="tiny", install_kfp_package=False)
def make(data: Output[Dataset], metrics: Output[Metrics]):
    import logging
    import os

    with open(data.path, "w") as file:
        file.write(str(os.getuid()))
    metrics.log_metric("auc", 0.5)
    logging.getLogger("regan").info("Wrote a größer file")


@dsl.component(base_image="tiny", install_kfp_package=False)
def fail(data: Input[Dataset]):
    raise ValueError("`data` must be better.")


@dsl.component(base_image="tiny", install_kfp_package=False)
def read(folder: str, data: Input[Dataset], found: Output[Artifact]):
    import os

    with open(found.path, "w") as file:
        file.write(" ".join(sorted(os.listdir(folder))))


@dsl.pipeline(name="fails")
def fails():
    fail(data=make().outputs["data"])


@dsl.pipeline(name="reads")
def reads(folder: str):
    read(folder=folder, data=make().outputs["data"])


def add_kfp(root: Path) -> None:
    """Lay what a component needs of KFP where Debian's Python finds it."""
    for name in ("kfp", "typing_extensions"):
        found = Path(importlib.util.find_spec(name).origin)
        target = root / "usr/lib/python3/dist-packages"
        if found.name == "__init__.py":
            shutil.copytree(found.parent, target / name)
        else:
            shutil.copy(found, target)


@pytest.fixture
def image(engine, debian, monkeypatch) -> str:
    debian(IMAGE, "python3", add_kfp, ["USER 65532:65532"])
    monkeypatch.setenv("DOCKER_HOST", engine)
    return next(iter(step_runner.images_of_containers(IMAGE, IMAGE).values()))


@pytest.fixture
def runner(tmp_path):
    return step_runner.container_runner([tmp_path / "artifacts"])


def containers() -> list[str]:
    import docker

    client = docker.from_env()
    try:
        return [container.id for container in client.containers.list(all=True)]
    finally:
        client.close()


def test_a_failing_container_fails_the_run_and_names_itself_and_the_cause(run_tiny, image, runner):
    before = containers()
    with pytest.raises(StepError) as raised:
        run_tiny(fails, runner=runner, image=image)
    assert raised.value.step.title == "fail"
    assert raised.value.cause == "ValueError: `data` must be better."
    assert "Traceback" in raised.value.step.log.read_text()
    assert containers() == before


def test_steps_write_as_the_images_own_user_and_are_kept_for_the_next_run(run_tiny, image, runner):
    first = run_tiny(reads, runner=runner, image=image, folder="/")
    assert first.titles(kept=False) == ["make", "read"]
    assert "    Wrote a größer file" in first.said
    made = Path(first.run.steps[0].outputs["data"].path)
    assert made.read_text() == "65532"
    assert run_tiny(reads, runner=runner, image=image, folder="/").titles(kept=False) == []


def test_folders_of_this_machine_are_seen_where_they_are(run_tiny, image, runner, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "one.png").touch()
    volumes = {str(source): "ro"}
    seen = run_tiny(reads, runner=runner, image=image, volumes=volumes, folder=str(source)).run.steps[1]
    assert Path(seen.outputs["found"].path).read_text() == "one.png"


def test_an_image_that_is_not_there_is_explained(engine, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", engine)
    with pytest.raises(FileNotFoundError, match=r"Build them as images/README\.md says"):
        step_runner.images_of_containers(IMAGE, "localhost/regan-gpu:absent")
