"""What the Dockerfile promises, read from its text; tests/pipelines/test_containers.py runs containers."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "images" / "Dockerfile").read_text().replace("\\\n", " ")
FRAMEWORKS = ("tensorflow", "keras", "jax", "torch")


def stage(name: str) -> str:
    return re.search(rf"^FROM \S+ AS {name}$(.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "locks" / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def installs() -> list[str]:
    return [part for part in re.split(r"&&|\n", TEXT) if " install " in part]


def test_every_package_has_a_hash_or_is_our_own_wheel():
    assert installs()
    for install in installs():
        assert "--require-hashes" in install or ("--no-index" in install and "/wheels/" in install), install


def test_every_lock_file_that_it_names_is_there_and_names_no_server():
    names = set(re.findall(r"locks/([\w{}$-]+\.txt)", TEXT))
    names = {name.replace("${ACCELERATOR}", kind) for name in names for kind in ("none", "cuda")}
    assert names == {path.name for path in (ROOT / "locks").glob("image-*.txt")}
    for name in names:
        assert "://" not in (ROOT / "locks" / name).read_text()


@pytest.mark.parametrize("name", ["image-cpu.txt", "image-gpu-none.txt", "image-gpu-cuda.txt", "image-kfp.txt"])
def test_the_images_hold_the_versions_that_the_tests_run_with(name):
    tested = locked("dev.txt")
    held = locked(name)
    assert {package: version for package, version in held.items() if tested.get(package, version) != version} == {}


def test_the_cpu_image_holds_no_framework():
    assert [package for package in locked("image-cpu.txt") if package.startswith(FRAMEWORKS)] == []


def test_both_images_run_as_a_user_without_rights_and_write_to_tmp_only():
    assert "USER 65532:65532" in stage("runtime")
    assert "HOME=/tmp" in stage("runtime")
    for name in ("cpu", "gpu"):
        assert re.search(rf"^FROM runtime AS {name}$", TEXT, re.MULTILINE)
        assert "RUN" not in stage(name)
        assert "USER" not in stage(name)


def test_nothing_of_the_build_is_left():
    for name in ("cpu", "gpu"):
        assert re.findall(r"^COPY (.*)$", stage(name), re.MULTILINE) == [
            f"--from={name}-packages /opt/regan /opt/regan"
        ]
    assert "COPY" not in stage("runtime")
