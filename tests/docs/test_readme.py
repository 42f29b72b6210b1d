"""Every command and every line of Python in the README is run, or its words are checked by what would read them."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from regan.artifacts.image_set import ImageSet

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

# Commands that no test can run, by their beginning: the reason, and the test that checks their words instead.
NOT_RUN = {
    "make": "trains for minutes, or calls this test: test_make_runs_commands_that_the_programs_understand",
    "pip install": "changes this environment, and needs a network: test_pip_installs_extras_that_exist",
    "python -m pipelines local": "needs a GPU and days: test_the_launcher_understands_the_command",
    "tensorboard": "serves until it is stopped: test_tensorboard_finds_the_run",
    "kfp": "needs a server: run against one in tests/pipelines/test_client.py",
    "python -m pipelines submit": "needs a server: as above",
    "python -m pipelines schedule": "needs a server: as above",
    "podman": "needs a container engine: test_the_container_commands_name_what_there_is",
}
# The lines are run as they stand in the slow test; here training ends after two steps, and uncompiled.
SHORTER = ('preset="demo")', 'preset="demo", kimg=0.1)')
UNCOMPILED = "import tensorflow\ntensorflow.config.run_functions_eagerly(True)\n"


@dataclass(frozen=True)
class Block:
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        if self.language != "sh":
            return []
        return [re.sub(r"\s+# .*", "", line) for line in self.text.splitlines() if line.strip()]


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]
COMMANDS = [command for block in BLOCKS for command in block.commands]
RUN = [command for command in COMMANDS if not command.startswith(tuple(NOT_RUN))]
LINES = next(block.text for block in BLOCKS if block.language == "python")


def starting(words: str) -> list[str]:
    return [command for command in COMMANDS if command.startswith(words)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What the commands need of a checkout, so that they write nothing into ours."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("regan", "components", "pipelines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def outcomes(checkout):
    """Every command that can be run here, run as it stands, in the README's order."""
    return {command: run(["bash", "-c", command], checkout) for command in RUN}


@pytest.fixture(scope="module")
def gan(checkout, outcomes):
    """The checkout after the README's lines of Python, with the shortest training."""
    shorter = LINES.replace(*SHORTER)
    assert shorter != LINES
    done = run([sys.executable, "-c", UNCOMPILED + shorter], checkout)
    assert done.returncode == 0, done.stderr
    return checkout


@pytest.mark.parametrize("command", RUN)
def test_a_command_of_the_readme_runs(outcomes, command):
    assert outcomes[command].returncode == 0, outcomes[command].stderr


@pytest.mark.parametrize("words", NOT_RUN)
def test_the_table_of_commands_that_are_not_run_is_in_use(words):
    assert starting(words)


def test_the_compiled_pipeline_is_the_committed_one_but_for_the_images_names(checkout, outcomes):
    fresh = {
        path.relative_to(checkout / "cluster"): path.read_text() for path in (checkout / "cluster").rglob("*.yaml")
    }
    assert len(fresh) > 1
    for path, text in fresh.items():
        assert (ROOT / "manifests" / path).read_text() == text.replace("image: registry.example/", "image: ")


def test_the_wheel_holds_the_library_and_its_templates_only(checkout, outcomes):
    (wheel,) = (checkout / "dist").glob("*.whl")
    packed = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in packed if ".dist-info" not in name} == {"regan"}
    files = [path for path in (ROOT / "regan").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= set(packed)


def test_the_lines_of_python_make_a_hundred_images(gan):
    images = ImageSet.open(gan / "work/synthetic")
    assert len(images) == 100
    assert {row.label for row in images.rows} == {"benign"}
    assert {row.psi for row in images.rows} == {"0.7"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_lines_of_python_run_as_they_stand(outcomes, checkout, tmp_path):
    shutil.copytree(checkout / "work" / "train", tmp_path / "work" / "train")
    done = run([sys.executable, "-c", LINES], tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(ImageSet.open(tmp_path / "work/synthetic")) == 100


def test_tensorboard_finds_the_run(gan):
    (command,) = starting("tensorboard")
    words = shlex.split(command.replace("runs/breast", "work/run"))
    done = run([*words, "--inspect"], gan)
    assert done.returncode == 0, done.stderr
    assert "Event statistics" in done.stdout


@pytest.fixture
def understood(capsys):
    """Whether the launcher stops at the one setting that is wrong, having understood all others."""

    def check(words: list[str]) -> None:
        from pipelines.__main__ import main

        before = signal.getsignal(signal.SIGTERM)
        try:
            assert main([*words, "--set", "data_seed=nonsense"]) == 1
        finally:
            signal.signal(signal.SIGTERM, before)
        assert "--set data_seed expects a whole number" in capsys.readouterr().out

    return check


@pytest.mark.parametrize("command", starting("python -m pipelines local"))
def test_the_launcher_understands_the_command(command, understood):
    understood(shlex.split(command)[3:])


@pytest.mark.parametrize("command", starting("make"))
def test_make_runs_commands_that_the_programs_understand(command, understood):
    # Under `make test` this make is a nested one, which by itself prints the folder that it enters and leaves.
    words = [*shlex.split(command), "-n", "--no-print-directory"]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    last = shlex.split(shown.stdout.splitlines()[-1])
    if last[1] == "images/build.py":
        done = run([sys.executable, ROOT / last[1], *last[2:], "--help"], ROOT)
        assert done.returncode == 0, done.stderr
        return
    assert last[1] == "-m"
    assert {word.split("=", 1)[1] for word in shlex.split(command) if "=" in word} <= set(last)
    if last[2] == "pipelines":
        understood(last[3:])
    else:
        assert last[2] == "pytest"


@pytest.mark.parametrize("command", starting("pip install"))
def test_pip_installs_extras_that_exist(command):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.search(r"\.\[([\w,]+)\]", command)[1].split(",")
    assert set(named) <= extras.keys()


@pytest.mark.parametrize("command", starting("podman"))
def test_the_container_commands_name_what_there_is(command, tmp_path):
    words = shlex.split(command)
    dockerfile = ROOT / "images" / "Dockerfile"
    if words[1] == "build":
        target = words[words.index("--target") + 1]
        assert (ROOT / words[words.index("--file") + 1]) == dockerfile
        assert re.search(rf"^FROM .* AS {target}$", dockerfile.read_text(), re.MULTILINE)
        return
    inside = words[words.index("regan") :]
    done = run([*inside, "--print_config"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(json.dumps(yaml.safe_load(done.stdout)))
