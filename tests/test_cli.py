import re
import subprocess
import sys
import time

import pytest

import regan
from regan.cli import main


@pytest.mark.parametrize("verb", [*regan.VERBS, "phantom", "preflight", "explain_run", "import_nvidia"])
def test_help_of_a_verb_explains_every_argument_and_loads_no_framework(verb):
    code = (
        "import sys; from regan.cli import main\n"
        f"try: main(['{verb}', '--help'])\n"
        "except SystemExit as end: status = end.code\n"
        "sys.stderr.write(str([n for n in ('tensorflow', 'jax', 'keras', 'kfp') if n in sys.modules]))\n"
        "sys.exit(status)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "[]")
    assert regan.__dict__.get(verb) or getattr(regan, verb)
    function = getattr(regan, verb)
    names = [name for name in function.__annotations__ if name != "return"]
    described = " ".join(ended.stdout.split())
    for name in names:
        assert name in described
    assert f"Arguments of {verb}" not in described
    assert "type: " in described


def test_every_argument_of_every_verb_has_a_text():
    import inspect

    from docstring_parser import parse

    for verb in (*regan.VERBS, "phantom", "preflight", "explain_run", "import_nvidia"):
        function = getattr(regan, verb)
        documented = {p.arg_name for p in parse(inspect.getdoc(function)).params if p.description}
        assert set(inspect.signature(function).parameters) == documented, verb


def test_help_takes_under_a_second():
    def seconds() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "regan.cli", "train_gan", "--help"], capture_output=True, check=True)
        return time.perf_counter() - started

    assert min(seconds() for _ in range(3)) < 1.0


def test_a_verb_runs_and_says_what_it_made(tmp_path, capsys):
    assert main(["phantom", str(tmp_path / "out"), "--per-class", "2", "--size=32", "--seed", "1"]) == 0
    assert "num_images: 4" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*/*.png"))) == 4


def test_settings_may_come_from_a_yaml_file(tmp_path):
    (tmp_path / "settings.yaml").write_text(f"output: {tmp_path / 'out'}\nper_class: 3\nsize: 32\n")
    assert main(["phantom", "--config", str(tmp_path / "settings.yaml")]) == 0
    assert len(list((tmp_path / "out").glob("*/*.png"))) == 6


def test_a_refusal_is_one_message_and_status_one(tmp_path, capsys):
    assert main(["train_gan", str(tmp_path / "nothing"), str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("regan train_gan: ")
    assert "is not a directory" in error
    assert "Traceback" not in error


def test_an_error_with_a_code_is_printed_with_it(tmp_path, capsys):
    assert main(["preflight", str(tmp_path / "nothing"), str(tmp_path / "report")]) == 1
    assert "\nregan preflight: PreflightError: " in capsys.readouterr().err


def test_an_error_without_a_code_is_printed_as_it_is(tmp_path, capsys):
    assert main(["phantom", str(tmp_path / "out"), "--size", "-1"]) == 1
    error = capsys.readouterr().err
    assert re.match(r"regan phantom: (SettingError: )?\S", error)
    assert "ValueError" not in error


def test_debug_shows_where_an_error_arose(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["train_gan", str(tmp_path / "nothing"), str(tmp_path / "run"), "--debug"])
    with pytest.raises(FileNotFoundError):
        main(["--debug", "train_gan", str(tmp_path / "nothing"), str(tmp_path / "run")])


@pytest.mark.parametrize("spelling", ["train-gan", "train_gan"])
def test_a_command_may_be_written_with_hyphens(spelling, tmp_path, capsys):
    assert main([spelling, str(tmp_path / "no-thing"), str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("regan train_gan: ")
    assert "no-thing" in error


def test_an_unknown_verb_ends_with_status_two(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train_gans"])
    assert ended.value.code == 2
    assert "train_gan" in capsys.readouterr().err
