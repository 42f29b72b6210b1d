"""What ties a local run to this machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines import step_runner
from pipelines.compilation import compile_to_yaml
from pipelines.synthetic_training_set import synthetic_training_set
from regan.common.errors import ConflictError, OutputError, OutputExistsError

ROOT = Path(__file__).resolve().parents[2]

TINY = """
import json, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import conftest
from kfp import dsl
from kfp.dsl import Output, Artifact
from components._image import CPU_IMAGE
from pipelines import step_runner

@dsl.component(base_image="tiny", install_kfp_package=False)
def read(found: Output[Artifact]):
    import regan
    with open(found.path, "w") as file:
        file.write(regan.__version__)

@dsl.pipeline(name="reads")
def reads():
    read()

ran = conftest.run_in(Path(sys.argv[1]), reads, image=step_runner.images_of_processes()[CPU_IMAGE])
(step,) = ran.run.steps
print(json.dumps([step.ran, Path(step.outputs["found"].path).read_text()]))
"""


def test_a_changed_line_in_the_package_runs_the_steps_again(tmp_path):
    package = tmp_path / "copy" / "regan"
    shutil.copytree(step_runner.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tiny.py").write_text(TINY.format(here=str(Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT)])}

    def run():
        command = [sys.executable, "tiny.py", tmp_path / "output"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first = run()
    assert first[0] is True
    assert run() == [False, first[1]]
    version = package / "common" / "version.py"
    version.write_text(version.read_text().replace(f'__version__ = "{first[1]}"', '__version__ = "9.9.9"'))
    assert run() == [True, "9.9.9"]


def test_the_version_of_the_code_covers_every_file_but_what_python_caches(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "page.html").write_text("one")
    first = step_runner.code_version(tmp_path)
    (tmp_path / "room" / "__pycache__").mkdir()
    (tmp_path / "room" / "__pycache__" / "x.pyc").write_text("cached")
    assert step_runner.code_version(tmp_path) == first
    (tmp_path / "room" / "page.html").write_text("two")
    second = step_runner.code_version(tmp_path)
    (tmp_path / "room" / "page.html").rename(tmp_path / "page.html")
    assert len({first, second, step_runner.code_version(tmp_path)}) == 3


def test_the_version_of_some_rooms_does_not_change_with_the_others(tmp_path):
    for room in ("gan", "report"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_text("one")
    first = step_runner.code_version(tmp_path, ["gan"])
    (tmp_path / "report" / "a.py").write_text("two")
    assert step_runner.code_version(tmp_path, ["gan"]) == first
    (tmp_path / "gan" / "a.py").write_text("two")
    assert step_runner.code_version(tmp_path, ["gan"]) != first


def test_another_keras_backend_is_another_image(monkeypatch):
    images = []
    for backend in ("tensorflow", "jax"):
        monkeypatch.setenv("KERAS_BACKEND", backend)
        images += set(step_runner.images_of_processes().values())
    assert len(set(images)) == 2


def test_a_local_run_waits_for_no_retry_and_asks_for_no_gpu():
    text = step_runner.for_this_machine(compile_to_yaml(synthetic_training_set()), step_runner.images_of_processes())
    (specification,) = yaml.safe_load_all(text)
    assert "retryPolicy" not in text
    assert "resourceCount" not in text
    images = {executor["container"]["image"] for executor in specification["deploymentSpec"]["executors"].values()}
    assert len(images) == 1
    assert images.pop().startswith("python-regan:")


def test_two_runs_do_not_share_an_output_folder(tmp_path):
    with (
        step_runner.alone_in(tmp_path / "run"),
        pytest.raises(ConflictError, match="Another run uses"),
        step_runner.alone_in(tmp_path / "run"),
    ):
        pass
    with step_runner.alone_in(tmp_path / "run"):
        pass


def test_an_output_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="Not a directory"),
        step_runner.alone_in(tmp_path / "file" / "run"),
    ):
        pass


def test_steps_find_this_package_and_no_other(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    environment = step_runner.step_environment()
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(step_runner.PACKAGE.parent), "elsewhere"]
    assert environment["PYTHONSAFEPATH"] == "1"


def test_settings_of_the_person_win_over_ours(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert step_runner.step_environment()["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_a_folder_with_something_else_in_it_is_not_written_to(tmp_path):
    (tmp_path / "imageset.json").write_text("{}")
    with pytest.raises(OutputExistsError, match="not the output of a run"), step_runner.alone_in(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["imageset.json"]
