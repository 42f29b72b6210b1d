"""The command line of the pipelines."""

import io
import subprocess
import sys
import zipfile

import pytest

from pipelines.__main__ import Terminal, main

LEAN = """
import sys
import zipfile
from pipelines.__main__ import main
assert main({arguments!r}) == 0
loaded = {{"tensorflow", "keras", "jax", "torch"}} & set(sys.modules)
assert not loaded, loaded
"""


def said(capsys) -> str:
    return capsys.readouterr().out


def test_the_committed_manifests_pass_the_check():
    assert main(["compile", "--check"]) == 0


def test_a_stale_manifest_fails_the_check_and_is_named(tmp_path, capsys):
    assert main(["compile", "--output", str(tmp_path)]) == 0
    assert main(["compile", "--output", str(tmp_path), "--check"]) == 0
    stale = tmp_path / "components" / "train_gan.yaml"
    stale.write_text(stale.read_text() + "\n")
    said(capsys)
    assert main(["compile", "--output", str(tmp_path), "--check"]) == 1
    assert said(capsys) == f"{stale} differs from a fresh compile. Run `python -m pipelines compile`.\n"


def test_other_images_are_compiled_in(tmp_path):
    digest = "registry.example/regan-gpu@sha256:" + "a" * 64
    assert main(["compile", "--output", str(tmp_path), "--image-gpu", digest]) == 0
    text = (tmp_path / "pipelines" / "synthetic_training_set.yaml").read_text()
    assert text.count(f"image: {digest}\n") == 13
    assert "regan-gpu:" not in text
    assert text.count("image: regan-cpu:") == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "Received rounds=0, generation_shards=1. Use 1 or more rounds"),
        (["--generation-shards", "17"], "1 to 16 shards"),
        (["--image-cpu", ""], "--image-cpu '' is not the name of an image. Use name@sha256:..."),
        (["--image-gpu", "a b"], "--image-gpu 'a b' is not the name of an image"),
        (["--image-gpu", "a: b"], "--image-gpu 'a: b' is not the name of an image"),
        (["--output", "/dev/null/x"], "Cannot write to --output: /dev/null/x"),
    ],
)
def test_a_compile_that_cannot_be_is_explained_in_one_line(tmp_path, capsys, arguments, message):
    assert main(["compile", "--output", str(tmp_path), *arguments]) == 1
    (line,) = said(capsys).splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_compiling_loads_no_framework(tmp_path):
    code = LEAN.format(arguments=["compile", "--output", str(tmp_path)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_names_what_a_person_may_choose():
    done = subprocess.run([sys.executable, "-m", "pipelines", "local", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--classes NEGATIVE,POSITIVE" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--phantom", "--classes", "benign"], "--classes 'benign' is not two names. Write the positive class last"),
        (["--phantom", "--classes", "a,b,c"], "--classes 'a,b,c' is not two names"),
        (["--phantom", "--set", "gan_kimg"], "--set 'gan_kimg' is not NAME=VALUE. Write such as --set gan_kimg=100."),
        (["--phantom", "--set", "gan_kmig=1"], "Did you mean gan_kimg?"),
        (["--phantom", "--set", "report_endpoint=auk"], "report_endpoint: expected one of auc, accuracy"),
        (["--phantom", "--set", "gan_start_uri=kept"], "gan_start_uri needs data_split_uri"),
        (["--source", "absent", "--classes", "a,b"], "absent: there is no such folder or archive. Check the path."),
    ],
)
def test_a_wrong_call_is_explained_in_one_line(tmp_path, capsys, arguments, message):
    assert main(["local", "--output", str(tmp_path / "run"), *arguments]) == 1
    lines = said(capsys).splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_a_failing_step_ends_the_command_with_its_name_and_the_cause(tmp_path, capsys):
    for name in (f"{label}/{number}.png" for label in ("benign", "malignant") for number in range(4)):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_text("no picture")
    assert main(["local", "--source", str(tmp_path / "images"), "--output", str(tmp_path / "run")]) == 1
    text = said(capsys)
    assert "\nStep 2, prepare images, failed:\n  SourceError: " in text
    assert "prepare-images.log\nRun the same command again to resume after the finished steps.\n" in text
    assert "Traceback" not in text
    assert "Traceback" in (tmp_path / "run" / "logs" / "prepare-images.log").read_text()


def test_a_damaged_archive_is_explained_in_one_line(tmp_path, capsys):
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("benign/1.png", b"x")
    archive.write_bytes(archive.read_bytes().replace(b"PK\x01\x02", b"PK\x00\x00"))
    assert main(["local", "--source", str(archive), "--output", str(tmp_path / "run")]) == 1
    (line,) = said(capsys).splitlines()
    assert "bad.zip is corrupt" in line


class Screen(io.StringIO):
    """What is written, on a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.isatty = lambda: terminal


def test_on_a_terminal_the_line_for_the_run_stays_below_the_others_and_goes_at_the_end(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    screen = Screen(terminal=True)
    terminal = Terminal(screen)
    terminal("one")
    terminal.status("Step 1 of 2, about 3 min left")
    terminal("two")
    terminal.status("")
    terminal("three")
    cut, erase = "Step 1 of 2, about ", "\r\x1b[K"
    assert screen.getvalue() == f"one\n{cut}{erase}two\n{cut}{erase}three\n"


def test_in_a_file_the_line_for_the_run_is_not_written():
    screen = Screen(terminal=False)
    terminal = Terminal(screen)
    terminal.status("Step 1 of 2")
    terminal("one")
    assert screen.getvalue() == "one\n"


def test_the_command_needs_a_source():
    with pytest.raises(SystemExit) as raised:
        main(["local"])
    assert raised.value.code == 2
