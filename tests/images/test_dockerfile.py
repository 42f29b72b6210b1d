"""What the Dockerfile promises, read from its text; tests/pipelines/test_images.py builds and runs it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "images" / "Dockerfile").read_text().replace("\\\n", " ")
FRAMEWORKS = ("tensorflow", "keras", "jax", "torch")
VARIANTS = [f"{framework}-{accelerator}" for framework in ("tensorflow", "jax") for accelerator in ("cuda", "none")]
LABELS = {"title", "licenses", "version", "revision", "base.name"}


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
    names = {name.replace("${FRAMEWORK}-${ACCELERATOR}", variant) for name in names for variant in VARIANTS}
    assert names == {path.name for path in (ROOT / "locks").glob("image-*.txt")}
    for name in names:
        assert "://" not in (ROOT / "locks" / name).read_text()


@pytest.mark.parametrize("name", ["image-cpu.txt", "image-kfp.txt", *(f"image-gpu-{kind}.txt" for kind in VARIANTS)])
def test_the_images_hold_the_versions_that_the_tests_run_with(name):
    tested = locked("dev.txt")
    held = locked(name)
    assert {package: version for package, version in held.items() if tested.get(package, version) != version} == {}


def test_the_cpu_image_holds_no_framework():
    assert [package for package in locked("image-cpu.txt") if package.startswith(FRAMEWORKS)] == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_gpu_image_holds_one_framework_and_nvidias_libraries_only_where_asked(variant):
    framework, accelerator = variant.split("-")
    held = locked(f"image-gpu-{variant}.txt")
    names = {name.removesuffix("-cpu") for name in held}
    assert names & {"tensorflow", "jax", "torch"} == {framework}
    assert "keras" in held
    assert any(name.startswith("nvidia-cudnn") for name in held) == (accelerator == "cuda")


def test_the_gpu_image_tells_keras_its_framework():
    assert "KERAS_BACKEND=${FRAMEWORK}" in stage("gpu")
    assert re.findall(r"^ARG (FRAMEWORK|ACCELERATOR)=(\w+)", stage("gpu"), re.MULTILINE) == re.findall(
        r"^ARG (FRAMEWORK|ACCELERATOR)=(\w+)", stage("gpu-packages"), re.MULTILINE
    )


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_is_labelled_last_so_that_a_commit_leaves_its_layers(target):
    last = re.findall(r"^[A-Z]+", stage(target), re.MULTILINE)[-1]
    assert last == "LABEL"
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]+)"', stage(target)))
    assert labels.keys() == LABELS
    assert labels["title"] == f"regan-{target}"
    assert (labels["version"], labels["revision"]) == ("${VERSION}", "${COMMIT}")


def test_nothing_comes_from_an_address_and_no_secret_is_asked_for():
    assert "://" not in TEXT
    assert not re.search(r"^ADD|\b(curl|wget|git clone)\b", TEXT, re.MULTILINE)
    names = re.findall(r"^(?:ARG|ENV) (.*)", TEXT, re.MULTILINE)
    assert not re.search(r"TOKEN|SECRET|PASSWORD|KEY\b|CREDENTIAL|--mount", " ".join(names) + TEXT)


def test_the_build_sees_only_what_it_copies():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE) for word in line.split()}
    assert {word for word in copied if not word.startswith("locks/image-")} == set(allowed) - {"locks/image-*.txt"}


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
            f"--from={name}-packages /opt/regan /opt/regan",
            "--from=code /code /opt/regan",
        ]
    assert "COPY" not in stage("runtime")
