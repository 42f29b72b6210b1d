import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import regan
from regan.artifacts.history import last_step
from regan.cli import main
from regan.common.errors import PreflightError
from regan.runs.parameters import PARAMETERS
from regan.runs.time_estimate import rounded
from regan.storage import latest, push_latest
from tests.servers.proxy import Fault

SMALL = {"data_size": "32", "gan_preset": "demo", "gan_seeds": "1-100", "test_per_class": "5"}
SMALL |= {"classifier_backbone": "small", "classifier_weights": "none"}


def lines(**settings):
    return "\n".join(f"{name}={value}" for name, value in (SMALL | settings).items())


def look(source, report, *, pipeline_root="", **settings):
    return regan.preflight(str(source), report, settings=lines(**settings), pipeline_root=pipeline_root)


def test_a_run_that_can_begin_is_told_so_and_leaves_the_table(source, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="regan")
    found = look(
        source, tmp_path / "report", gpu_checkpoint_uri=f"{tmp_path}/state/", pipeline_root=str(tmp_path / "root")
    )
    assert (found.go, found.path) == ("yes", tmp_path / "report")
    content = json.loads((found.path / "preflight.json").read_text())
    assert {name: content[name] for name in ("go", "data_version", "run_key", "checkpoint_uri", "sentence")} == {
        "go": "yes",
        "data_version": found.data_version,
        "run_key": found.run_key,
        "checkpoint_uri": found.checkpoint_uri,
        "sentence": found.sentence,
    }
    assert found.checkpoint_uri.rpartition("/")[0] == f"{tmp_path}/state"
    names = {check["name"] for check in content["checks"]}
    assert {"source", "images", "GPU", "/dev/shm", "temporary disk", "disk of pipeline_root", "pipeline_root"} <= names
    assert {"gpu_checkpoint_uri", "classifier weights", "bytes of the run", "previous verdict", "data version"} <= names
    table = (found.path / "preflight.md").read_text()
    assert all(f"| {name} |" in table for name in names)
    assert "GPU hours of GAN training" in caplog.text
    step = last_step(found.path)
    assert (step.verb, step.settings["go"], step.counts) == ("preflight", "yes", {"images": 24})


def test_a_source_that_is_named_among_the_settings_is_refused_and_not_written_to(source, tmp_path):
    with pytest.raises(PreflightError, match="argument `source_uri`"):
        look(source, tmp_path / "report", source_uri=str(source))
    assert sorted(path.name for path in source.iterdir()) == ["benign", "malignant"]


def test_nothing_that_it_leaves_names_a_file_of_the_source(source, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="regan")
    found = look(source, tmp_path / "report")
    left = "".join(path.read_text() for path in found.path.rglob("*.*"))
    assert "Jane" not in left + caplog.text


def test_all_that_fails_is_told_at_once_with_what_to_do(source, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="regan")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(PreflightError) as raised:
        look(
            tmp_path / "absent",
            tmp_path / "report",
            data_size="100",
            gpu_count="1",
            gpu_checkpoint_uri=str(tmp_path / "file"),
            classifier_backbone="InceptionResNetV2",
            classifier_weights=str(tmp_path / "no.weights.h5"),
        )
    told = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in told[1:]] == [
        "- data_size",
        "- source",
        "- GPU",
        "- gpu_checkpoint_uri",
        "- classifier weights",
    ]
    assert all("expected" in line and "found" in line and "To do: " in line for line in told[1:])
    assert caplog.text.count("FAIL") == 5
    assert not (tmp_path / "report").exists()


def test_an_address_that_refuses_stops_the_run_at_once(source, tmp_path, s3, s3_proxy):
    denied = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    s3_proxy.plan = lambda request: Fault(status=403, body=denied) if request.method in ("PUT", "POST") else None
    started = time.monotonic()
    with pytest.raises(PreflightError, match=r"report_uri: expected .*Access Denied"):
        look(source, tmp_path / "report", report_uri=f"{s3}/report")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("count", ["one", "-1", "1.5", "", "٣x"])
@pytest.mark.parametrize("name", ["gpu_count", "gpu_count_gan"])
def test_a_number_of_gpus_that_is_none_fails(source, tmp_path, name, count):
    with pytest.raises(PreflightError, match=f"{name}: expected a whole number"):
        look(source, tmp_path / "report", **{name: count})


@pytest.mark.parametrize("counts", [{"gpu_count": "3"}, {"gpu_count_gan": "3"}])
def test_as_many_gpus_as_the_larger_number_are_looked_for(source, tmp_path, monkeypatch, counts):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreflightError, match="GPU: expected 3 GPUs"):
        look(source, tmp_path / "report", **({"gpu_count": "1", "gpu_count_gan": "1"} | counts))


def test_settings_that_cannot_be_read_fail_and_the_rest_is_looked_at(source, tmp_path):
    with pytest.raises(PreflightError, match="settings: expected lines `name=value`"):
        regan.preflight(str(source), tmp_path / "report", settings="data_size 32")


def test_the_data_version_changes_with_the_source_unless_it_is_given(source, tmp_path):
    first = look(source, tmp_path / "1")
    (source / "benign" / "new.png").write_bytes(b"new")
    second = look(source, tmp_path / "2")
    given = [look(source, tmp_path / name, data_version="v1") for name in ("3", "4")]
    assert first.data_version != second.data_version
    assert first.run_key != second.run_key
    assert {found.data_version for found in given} == {"v1"}
    assert given[0].run_key == given[1].run_key


def test_a_checkpoint_of_other_data_is_never_met_and_a_longer_run_finds_its_own(source, tmp_path):
    def state(name, **changes):
        return look(source, tmp_path / name, gpu_checkpoint_uri=str(tmp_path / "state"), **changes).checkpoint_uri

    first = state("1", data_version="v1")
    assert first == state("2", data_version="v1", gan_kimg="99")
    assert first != state("3", data_version="v2")
    assert first != state("4", data_version="v1", gan_seed="1")
    assert look(source, tmp_path / "5").checkpoint_uri == ""


def left_verdict(tmp_path, found, **changes):
    """What compare_classifiers leaves at `report_uri`."""
    verdict = {"run_key": found.run_key, "verdict": "inferior", "sentence": "Worse.", "date": "2026-11-20"}
    verdict |= {"finished": True} | changes
    folder, uri = tmp_path / f"verdict-{len(list(tmp_path.iterdir()))}", str(tmp_path / "kept")
    folder.mkdir()
    (folder / "verdict.json").write_text(json.dumps(verdict))
    (folder / "report.html").write_text("<p>")
    push_latest(folder, uri, latest(uri))
    return uri


def test_a_run_without_anything_new_ends_early_and_says_so(source, tmp_path):
    uri = left_verdict(tmp_path, look(source, tmp_path / "1"))
    found = look(source, tmp_path / "2", report_uri=uri)
    assert found.go == "no"
    for words in ("2026-11-20", "inferior", "Worse", uri, "data_unchanged=run"):
        assert words in found.sentence
    assert look(source, tmp_path / "3", report_uri=uri, data_unchanged="run").go == "yes"


@pytest.mark.parametrize("finished", [False, None, "yes"])
def test_a_run_that_did_not_finish_runs_again(source, tmp_path, finished):
    uri = left_verdict(tmp_path, look(source, tmp_path / "1"), finished=finished)
    assert look(source, tmp_path / "2", report_uri=uri).go == "yes"


def test_a_release_makes_another_run_and_its_place_does_not(source, tmp_path):
    without = look(source, tmp_path / "1")
    here, there = (
        look(source, tmp_path / name, report_release_uri=str(tmp_path / f"to-{name}")) for name in ("2", "3")
    )
    assert without.run_key != here.run_key == there.run_key


def test_a_kept_generator_without_a_kept_split_fails_before_it_is_trained_on(source, tmp_path):
    start = {"gan_start_uri": str(tmp_path / "generators")}
    with pytest.raises(PreflightError, match="gan_start_uri needs data_split_uri"):
        look(source, tmp_path / "1", **start)
    assert look(source, tmp_path / "3", **start, data_split_uri=str(tmp_path / "split")).go == "yes"


@pytest.mark.parametrize("name", [name for name, row in PARAMETERS.items() if row.is_uri and row.in_settings])
def test_each_uri_that_the_run_writes_to_is_tried(source, tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(PreflightError, match=f"- {name}: expected a small object"):
        look(source, tmp_path / "report", **{name: str(tmp_path / "file")})
    with pytest.raises(PreflightError, match=f"- {name}: expected a small object"):
        look(source, tmp_path / "report", **{name: "ftp://host/x"})


def test_one_address_for_several_things_is_tried_for_each(source, tmp_path):
    place = str(tmp_path / "kept")
    found = look(source, tmp_path / "report", report_uri=place, report_release_uri=f"{place}/", data_split_uri=place)
    checks = json.loads((found.path / "preflight.json").read_text())["checks"]
    assert [check["name"] for check in checks if check["found"].endswith("written and read back")] == [
        "data_split_uri",
        "report_uri",
        "report_release_uri",
    ]


def test_no_sentence_of_a_failure_ends_twice(source, tmp_path, s3, s3_proxy):
    with pytest.raises(PreflightError) as raised:
        look(tmp_path / "absent", tmp_path / "report", report_uri="s3:///x", gpu_checkpoint_uri="s3://no-such-bucket/x")
    assert ".." not in str(raised.value)


def test_new_data_settings_or_versions_run_again(source, tmp_path, monkeypatch):
    uri = left_verdict(tmp_path, look(source, tmp_path / "1"))
    assert look(source, tmp_path / "2", report_uri=uri, classifier_epochs="9").go == "yes"
    monkeypatch.setattr("regan.runs.preflight.__version__", "99.0")
    assert look(source, tmp_path / "3", report_uri=uri).go == "yes"
    monkeypatch.undo()
    assert look(source, tmp_path / "4", report_uri=uri).go == "no"
    (source / "benign" / "new.png").touch()
    assert look(source, tmp_path / "5", report_uri=uri).go == "yes"


@pytest.mark.parametrize("changes", [{"run_key": None}, {"run_key": ["x"]}, {"date": {"a": 1}, "sentence": 5}])
def test_a_verdict_with_anything_in_it_stops_no_preflight(source, tmp_path, changes):
    uri = left_verdict(tmp_path, look(source, tmp_path / "1"), **changes)
    assert look(source, tmp_path / "2", report_uri=uri).go == ("yes" if "run_key" in changes else "no")


def test_a_report_folder_in_use_is_refused_before_anything_is_written(source, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine").touch()
    with pytest.raises(FileExistsError):
        look(source, tmp_path / "report", gpu_checkpoint_uri=str(tmp_path / "state"))
    assert not (tmp_path / "state").exists()


def test_another_word_for_unchanged_is_refused(source, tmp_path):
    with pytest.raises(PreflightError, match="data_unchanged: expected one of stop, run"):
        look(source, tmp_path / "report", data_unchanged="maybe")


def test_the_classifiers_that_are_counted_are_those_of_the_settings(source, tmp_path):
    settings = "gan_preset=demo\ndata_size=32\ntest_per_class=3\nclassifier_backbone=InceptionResNetV2"
    found = regan.preflight(str(source), tmp_path / "report", settings=settings)
    content = json.loads((found.path / "preflight.json").read_text())
    assert content["bytes"]["classifiers"] == 3 * 4 * 55_900_000
    details = {check["name"]: check["detail"] for check in content["checks"]}
    assert "classifiers 670 MB" in details["bytes of the run"]
    found = {check["name"]: check["found"] for check in content["checks"]}
    assert found["classifier weights"] == "not checked: classifier_weights is not set"


def test_the_weights_that_are_checked_are_those_of_the_settings(source, tmp_path):
    with pytest.raises(PreflightError, match=r"classifier weights: .*imagenet for the backbone small"):
        look(source, tmp_path / "report", classifier_weights="imagenet")


def test_the_command_line_tells_the_outcome_and_what_fails(source, tmp_path, capsys):
    assert main(["preflight", str(source), str(tmp_path / "1"), "--settings", lines()]) == 0
    assert "go: yes" in capsys.readouterr().out
    assert main(["preflight", str(tmp_path / "absent"), str(tmp_path / "2"), "--settings", "gpu_count=0"]) == 1
    error = capsys.readouterr().err
    assert "regan preflight: PreflightError: The run would fail" in error
    assert "Traceback" not in error


def test_it_loads_no_framework_and_survives_an_import_of_its_package(source, tmp_path):
    code = (
        "import sys, regan, regan.runs.costs\n"
        f"regan.preflight({str(source)!r}, {str(tmp_path / 'report')!r}, settings={lines()!r})\n"
        "print([n for n in ('tensorflow', 'jax', 'keras', 'kfp', 'torch', 'boto3') if n in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (ended.returncode, ended.stdout.strip()) == (0, "[]"), ended.stderr


def test_a_gpu_that_is_there_gives_hours(source, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\ncase \"$1\" in --query*) echo 'Tesla V100-SXM2-16GB, 16160 MiB, 535.1, 7.0' ;; "
        "*) echo 'CUDA Version: 12.2' ;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("regan.runs.machine_checks._LEAST_SHARED", 0.0)  # this machine's may be small
    changes = {"data_size": "256", "gan_preset": "config-e", "gpu_count": "1"}
    found = look(source, tmp_path / "report", **changes)
    assert found.sentence.endswith("Time: about 8 days.")
    checks = {check["name"]: check for check in json.loads((found.path / "preflight.json").read_text())["checks"]}
    assert checks["GPU hours of GAN training"]["found"] == "150 to 260"
    assert "on one Tesla V100" in checks["GPU hours of GAN training"]["detail"]
    assert "not measured here" in checks["time of the run"]["detail"]


def test_the_time_of_each_step_is_left_for_the_run(source, tmp_path):
    found = look(source, tmp_path / "report")
    time_needed = json.loads((found.path / "preflight.json").read_text())["time"]
    assert time_needed["matrix"]["rate"] > 0
    assert time_needed["steps"].keys() == time_needed["times"].keys() >= {"train GAN", "explain run"}
    assert f"Time: about {rounded(time_needed['total'])}." in found.sentence
