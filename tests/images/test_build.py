"""The command that builds the images, with engines that write down what they are asked; `make test-images` builds."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

import regan

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "sha256:" + "a" * 64
BASE = "sha256:" + "b" * 64
ENGINE = f"""#!/bin/sh
echo "$(basename "$0") $*" >> "$ENGINE_LOG"
case "$*" in
  *"inspect --format {{{{.Digest}}}}"*|*FromImageDigest*) [ -e "$ENGINE_LOG.pulled" ] || exit 1; echo {BASE} ;;
  *"RepoDigests"*) echo '["debian@{BASE}"]' ;;
  push*) echo "0.1.0: digest: {DIGEST} size: 745" ;;
  pull*absent*) echo "no such image" >&2; exit 125 ;;
  pull*) touch "$ENGINE_LOG.pulled" ;;
  build*) [ -z "$ENGINE_FAILS" ] || exit 3 ;;
esac
while [ $# -gt 0 ]; do [ "$1" = --digestfile ] && echo {DIGEST} > "$2"; shift; done
exit 0
"""


def load():
    specification = importlib.util.spec_from_file_location("images_build", ROOT / "images" / "build.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["images_build"] = module
    specification.loader.exec_module(module)
    return module


build = load()


class Machine:
    """A PATH with some engines, and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"

    def install(self, *engines: str) -> None:
        for engine in engines:
            (self.folder / engine).write_text(ENGINE)
            (self.folder / engine).chmod(0o755)

    def asked(self, verb: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.split()[1] == verb]


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Machine:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "basename", "touch", "git"):
        os.symlink(next(p for p in (Path(d, tool) for d in os.get_exec_path()) if p.exists()), tools / tool)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{tools}")
    monkeypatch.setenv("ENGINE_LOG", str(tmp_path / "log"))
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("installed", "taken"),
    [(("docker", "podman", "buildah"), "podman"), (("docker", "buildah"), "buildah"), (("docker",), "docker")],
)
def test_whichever_engine_is_there_builds_both_images(machine, capfd, installed, taken):
    machine.install(*installed)
    assert build.main([]) == 0
    first, second = machine.asked("build")
    assert first.startswith(f"{taken} build ")
    assert f"--target cpu --tag regan-cpu:{regan.__version__} " in first
    assert f"--target gpu --tag regan-gpu:{regan.__version__} " in second
    assert machine.asked("push") == []
    end = capfd.readouterr().out.splitlines()[-1]
    assert end == (
        "python -m pipelines compile --output build "
        f"--image-cpu regan-cpu:{regan.__version__} --image-gpu regan-gpu:{regan.__version__}"
    )


def test_without_an_engine_it_says_which_ones_would_do(machine, capfd):
    assert build.main([]) == 1
    assert "needs one of podman, buildah, docker" in capfd.readouterr().err


def test_a_build_is_told_base_version_commit_and_variant(machine):
    machine.install("podman")
    assert build.main(["--framework", "jax", "--accelerator", "none", "--options=--isolation chroot"]) == 0
    cpu, gpu = machine.asked("build")
    for line in (cpu, gpu):
        assert f"--build-arg BASE_IMAGE=python@{BASE} --build-arg VERSION={regan.__version__} " in line
        assert f"--build-arg COMMIT={build.commit()}" in line
        assert " --isolation chroot " in line
    assert "FRAMEWORK" not in cpu
    assert "--build-arg FRAMEWORK=jax --build-arg ACCELERATOR=none" in gpu
    assert f"--tag regan-gpu:{regan.__version__}-jax-none " in gpu


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_a_push_tells_the_digests_for_the_pipeline(machine, capfd, engine):
    machine.install(engine)
    assert build.main(["--registry", "registry.example/team/", "--push"]) == 0
    said = capfd.readouterr().out.splitlines()
    references = [f"registry.example/team/regan-{target}@{DIGEST}" for target in ("cpu", "gpu")]
    assert said[-3:-1] == references
    assert said[-1].endswith(f"--image-cpu {references[0]} --image-gpu {references[1]}")
    assert "tls-verify" not in machine.log.read_text()


def test_docker_tells_the_digest_when_it_pushes(machine, capfd):
    machine.install("docker")
    assert build.main(["--registry", "registry.example/team", "--push", "--targets", "cpu"]) == 0
    assert f"registry.example/team/regan-cpu@{DIGEST}" in capfd.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("registry", "plain"),
    [
        ("localhost:5000/a", True),
        ("127.0.0.1:5000", True),
        ("[::1]:5000", True),
        ("localhost.example/a", False),
        ("10.0.0.1:5000", False),
    ],
)
def test_only_a_registry_on_this_machine_may_do_without_a_certificate(machine, registry, plain):
    machine.install("podman")
    assert build.main(["--registry", registry, "--push", "--targets", "cpu"]) == 0
    assert ("--tls-verify=false" in machine.asked("push")[0]) is plain


def test_a_base_image_with_a_digest_is_taken_as_it_is(machine):
    machine.install("podman")
    assert build.pin_digest("podman", f"registry.example:5000/python@{BASE}") == f"registry.example:5000/python@{BASE}"
    assert not machine.log.exists()


@pytest.mark.parametrize(("engine", "name"), [("podman", "registry.example:5000/a/python"), ("docker", "debian")])
def test_a_base_image_with_a_tag_is_pulled_and_pinned(machine, engine, name):
    machine.install(engine)
    assert build.pin_digest(engine, f"{name}:3.11") == f"{name}@{BASE}"


def test_a_base_image_that_is_nowhere_is_explained_before_anything_is_built(machine, capfd):
    machine.install("podman")
    assert build.main(["--base-image", "absent:1"]) == 1
    said = capfd.readouterr().err
    assert "no such image" in said
    assert "neither on this machine nor in a registry" in said
    assert machine.asked("build") == []


def test_a_push_without_a_registry_is_refused_before_anything_is_built(machine, capfd):
    machine.install("podman")
    assert build.main(["--push"]) == 1
    assert "PUSH=1 needs REGISTRY=" in capfd.readouterr().err
    assert not machine.log.exists()


def test_a_failed_build_pushes_nothing(machine, capfd, monkeypatch):
    machine.install("podman")
    monkeypatch.setenv("ENGINE_FAILS", "1")
    assert build.main(["--registry", "registry.example", "--push"]) == 1
    assert "ended with status 3" in capfd.readouterr().err
    assert machine.asked("push") == []


def test_the_commit_says_that_the_images_hold_something_else(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return build.subprocess.run(
            ["git", "-C", tmp_path, *identity, *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert build.commit() == "unknown"
    git("init", "-q")
    (tmp_path / "regan").mkdir()
    (tmp_path / "regan" / "a.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "a")
    (tmp_path / "notes").write_text("not in the images")
    assert build.commit() == git("rev-parse", "HEAD")
    (tmp_path / "regan" / "a.py").write_text("2")
    assert build.commit() == git("rev-parse", "HEAD") + "-changed"


def test_make_hands_its_variables_on(machine):
    words = ["REGISTRY=r.example/a b", "PUSH=1", "ENGINE=docker", "BASE_IMAGE=c", "FRAMEWORK=jax", "ACCELERATOR=none"]
    make = next(str(Path(folder, "make")) for folder in os.defpath.split(os.pathsep) if Path(folder, "make").exists())
    done = build.subprocess.run(
        [make, "--no-print-directory", "-n", "images", *words, "OPTIONS=--isolation chroot"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    given = build.shlex.split(done.stdout)[2:]
    assert given == [
        *("--registry", "r.example/a b", "--push", "--engine", "docker", "--base-image", "c"),
        *("--framework", "jax", "--accelerator", "none", "--options=--isolation chroot"),
    ]
