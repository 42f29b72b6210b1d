import json
import logging
import re
import subprocess
import sys
import time

import numpy as np
import pytest

import regan
from regan.artifacts.history import write_step
from regan.cli import main
from regan.storage import push

ORDER = [
    ("preflight", ["preflight"], "report"),
    ("prepare-images", [], "train"),
    ("train-classifier", ["prepare-images"], "classifier"),
    ("train-gan", ["prepare-images"], "run"),
    ("select-snapshot", ["train-gan"], "generator"),
    ("generate-images", ["select-snapshot"], "images"),
    ("generate-images-2", ["select-snapshot"], "images"),
    ("filter-images", ["generate-images", "generate-images-2", "train-classifier"], "images"),
    ("filter-images-2", ["generate-images", "generate-images-2", "train-classifier"], "images"),
    ("train-classifier-2", ["filter-images"], "classifier"),
    ("train-classifier-3", ["filter-images-2"], "classifier"),
    ("evaluate-classifier", ["train-classifier"], "predictions"),
    ("evaluate-classifier-2", ["train-classifier-2"], "predictions"),
    ("evaluate-classifier-3", ["train-classifier-3"], "predictions"),
    ("audit-images", ["filter-images"], "audit"),
    ("compare-classifiers", ["evaluate-classifier", "evaluate-classifier-2", "evaluate-classifier-3"], "report"),
    ("publish-images", ["compare-classifiers"], "release"),
]
SETTINGS = {"preflight": {"go": "yes"}, "compare_classifiers": {"verdict": "inferior", "sentence": "The student is."}}


def make_run(root, last="publish-images", *, cluster=False, without=()):
    """Folders as the steps of a run leave them, up to `last`."""
    outputs = {}
    for number, (task, inputs, output) in enumerate(ORDER):
        verb = re.sub(r"-\d$", "", task).replace("-", "_")
        folder = root / task / (f"execution-{number}/" if cluster else "") / output
        outputs[task] = folder
        folder.mkdir(parents=True)
        given = {f"i{k}": outputs[name] for k, name in enumerate(inputs) if name != task}
        settings = {"number": number, **SETTINGS.get(verb, {})}
        write_step(folder, verb, given, settings=settings, figures={"kimg": 24.0, "auc": 0.5}, seconds=float(number))
        if task == last:
            break
    for task in without:
        for path in sorted(outputs[task].rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    return str(root)


def explained(root, page, state="FAILED", **settings):
    found = regan.explain_run(root, page, state=state, **settings)
    assert found.path == page
    return found, page.read_text()


def test_a_good_run_tells_its_verdict_and_steps(tmp_path):
    found, page = explained(make_run(tmp_path / "run"), tmp_path / "page.md", "SUCCEEDED", run_name="night 3")
    assert (found.failed_step, found.sentence) == ("", "The run finished. Verdict: inferior. The student is.")
    assert all(f"| {task} |" in page for task, *_ in ORDER)
    assert "night 3" in page
    assert "What to do" not in page
    assert "could not be read" not in page
    assert "from the cache of" not in page


@pytest.mark.parametrize(
    ("last", "failed"),
    [
        ("preflight", "prepare images"),
        ("prepare-images", "train teacher or train GAN"),
        ("train-classifier", "train GAN"),
        ("train-gan", "select snapshot"),
        ("generate-images", "generate images"),
        ("generate-images-2", "filter images"),
        ("filter-images-2", "train student and control or audit images"),
        ("evaluate-classifier-2", "test classifiers or audit images"),
        ("evaluate-classifier-3", "audit images"),
        ("audit-images", "compare classifiers"),
        ("compare-classifiers", "publish images"),
    ],
)
@pytest.mark.parametrize("cluster", [False, True], ids=["local", "cluster"])
def test_the_step_that_failed_is_inferred_from_the_order(tmp_path, last, failed, cluster):
    found, page = explained(make_run(tmp_path / "run", last, cluster=cluster), tmp_path / "page.md")
    assert found.failed_step == failed
    assert "inferred" in page
    assert f"| {last} |" in page


def test_steps_whose_outputs_lie_elsewhere_are_seen_in_the_histories_of_others(tmp_path):
    # As with the cache: their tasks have no folder in this run.
    root = make_run(tmp_path / "run", "select-snapshot", without=("preflight", "prepare-images", "train-gan"))
    found, page = explained(root, tmp_path / "page.md")
    assert found.failed_step == "generate images"
    assert re.search(r"Taken from the cache .*: prepare_images, train_gan\.", page.replace("\\", ""))


def test_a_step_that_the_error_text_names_is_believed(tmp_path):
    root = make_run(tmp_path / "run", "prepare-images")
    found, page = explained(root, tmp_path / "page.md", error="task train-gan has failed: exit code 137")
    assert found.failed_step == "train GAN"
    assert "as the error text says" in page
    assert "| no memory |" in page


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("task train-gan has failed: OOMKilled (exit code 137)", "no memory"),
        ("regan.common.errors.OverlapError: Test images overlap with training data (3 images).", "OverlapError"),
        ("something else entirely", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_known_cause_is_named_with_what_to_do(tmp_path, error, cause):
    (tmp_path / "run").mkdir()
    _, page = explained(str(tmp_path / "run"), tmp_path / "page.md", error=error)
    assert page.count(f"| {cause} |") == 1
    assert "what to do" in page


def test_an_error_that_regan_raises_is_explained_from_its_traceback(tmp_path):
    # The text of a real failure, as a step prints it.
    code = f"import regan; regan.preflight({str(tmp_path / 'absent')!r}, {str(tmp_path / 'report')!r})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    _, page = explained(str(tmp_path), tmp_path / "page.md", error=ended.stderr)
    assert "| PreflightError | A preflight check failed" in page


def test_an_unchanged_source_is_no_failure(tmp_path):
    folder = tmp_path / "run" / "preflight" / "report"
    folder.mkdir(parents=True)
    write_step(folder, "preflight", {}, settings={"go": "no", "sentence": "Nothing is new."}, seconds=1.0)
    found, page = explained(str(tmp_path / "run"), tmp_path / "page.md", "SUCCEEDED")
    assert found.sentence == "The run ended early, which is not a failure. Nothing is new."
    assert "What to do" not in page


def test_a_run_that_was_stopped_says_so(tmp_path):
    found, page = explained(make_run(tmp_path / "run", "train-classifier"), tmp_path / "page.md", "CANCELLED")
    assert "was stopped, probably at train GAN" in found.sentence
    assert "| stopped |" in page


def test_a_run_on_a_server_is_read_and_its_pictures_are_not(tmp_path, s3):
    from boto3 import client

    root = make_run(tmp_path / "run", "train-gan", cluster=True)
    (tmp_path / "run" / "train-gan" / "execution-3" / "run" / "weights").write_bytes(b"0" * 1000)
    bucket = s3.removeprefix("s3://")
    for path in (tmp_path / "run").rglob("*.*"):
        client("s3").put_object(Bucket=bucket, Key=path.relative_to(tmp_path).as_posix(), Body=path.read_bytes())
    found, page = explained(f"{s3}/run", tmp_path / "page.md")
    local, _ = explained(root, tmp_path / "page2.md")
    assert found.failed_step == local.failed_step == "select snapshot"
    assert "could not be read" not in page
    assert "kimg 24" in page


@pytest.mark.parametrize(
    "root", ["", "minio://mlpipeline/v2", "s3://no-such-bucket-anywhere/x", "/nowhere/at/all", "\0"]
)
def test_a_root_that_cannot_be_read_is_named_in_the_page(tmp_path, root, s3):
    found, page = explained(root, tmp_path / "page.md", error="OOMKilled in train-gan")
    assert found.failed_step == "train GAN"
    assert "What could not be read" in page


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"[1, 2]",
    b"[" * 200_000,
    b'{"seconds": "x", "figures": [1], "settings": 5}',
    b'{"seconds": 1e999, "figures": {"a|b": 1, "auc": "x", "kimg": -1e308, "n": true}, "settings": {"go": 1}}',
    b'{"seconds": -5, "figures": {"kimg": 1' + b"0" * 400 + b"}}",
    b" " * 1_000_001 + b"{}",
    json.dumps({"seconds": 1, "settings": {"sentence": "<script>alert(1)</script>" * 10_000}}).encode(),
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("verb", ["preflight", "compare_classifiers", "no_such_verb"])
def test_a_history_with_anything_in_it_gives_a_small_page(tmp_path, content, verb):
    folder = tmp_path / "run" / "a|b<i>" / "x" / "history"
    folder.mkdir(parents=True)
    (folder / f"01-{verb}-00000000.json").write_bytes(content)
    good = tmp_path / "run" / "prepare-images" / "train"
    good.mkdir(parents=True)
    write_step(good, "prepare_images", {}, settings={}, seconds=5.0)
    for state in ("FAILED", "SUCCEEDED"):
        _, page = explained(str(tmp_path / "run"), tmp_path / "page.md", state)
        assert len(page) < 10_000
        assert "| prepare-images | prepare_images | 5 s |" in page  # the others are read all the same
        assert "<script>" not in page
        assert "<i>" not in page


def test_a_history_that_is_too_large_is_not_fetched(tmp_path):
    folder = tmp_path / "run" / "train-gan" / "history"
    folder.mkdir(parents=True)
    (folder / "01-train_gan-00000000.json").write_bytes(b'{"figures": {"kimg": 7}}' + b" " * 1_000_000)
    _, page = explained(str(tmp_path / "run"), tmp_path / "page.md")
    assert "more than a step writes" in page
    assert "kimg 7" not in page


def test_hostile_names_states_and_errors_draw_nothing_and_take_no_time(tmp_path):
    evil = "![x](http://evil) <img src=x> | ` \x1b[31m\n# Title\n\u202e"
    started = time.monotonic()
    for error in (evil, "a" * 10**6, "token" * 10**5, "-" * 10**5 + ".pn", "checkpoint " * 10**5, "\n" * 10**6):
        _, page = explained(str(tmp_path), tmp_path / "page.md", evil, error=error, run_name=evil)
        outside = "\n".join(line for line in page.splitlines() if not line.startswith("    "))
        assert "<img" not in outside
        assert "![x]" not in outside
        assert "\n# Title" not in page
        assert "\x1b" not in page
        assert len(page) < 20_000
    assert time.monotonic() - started < 10


def test_neither_file_names_nor_secrets_get_into_the_page(tmp_path):
    error = (
        "cannot read gs://b/benign/Jane Doe.png: denied. 'Smith, A.JPG' (x/Li Wu.dcm) and Kim, B.jpeg; "
        "token=abc123 aws_secret_access_key: hunter2"
    )
    _, page = explained(str(tmp_path), tmp_path / "page.md", error=error)
    for word in ("Jane", "Doe", "Smith", "Li Wu", "Kim", "abc123", "hunter2"):
        assert word not in page, word
    assert "denied" in page


def test_pictures_of_patients_are_not_even_fetched(tmp_path):
    folder = tmp_path / "run" / "prepare-images" / "train"
    folder.mkdir(parents=True)
    sheet = {"benign": np.zeros((8, 8), np.uint8)}
    rows = {"refused": [{"file": "Jane Doe.png", "reason": "x"}]}
    write_step(folder, "prepare_images", {}, settings={}, private_thumbnails=sheet, private_tables=rows, seconds=1.0)
    _, page = explained(str(tmp_path / "run"), tmp_path / "page.md", "SUCCEEDED")
    assert "Jane" not in page
    assert page.count("prepare-images") == 1


def test_a_page_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").touch()
    found = regan.explain_run(str(tmp_path), tmp_path / "file" / "page.md", state="FAILED")
    assert found.sentence
    assert "cannot be written" in caplog.text


def test_the_command_line_writes_the_page(tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    root = make_run(tmp_path / "run", "train-classifier")
    assert main(["explain_run", root, str(tmp_path / "new" / "page.md"), "--state", "FAILED"]) == 0
    assert "failed_step: train GAN" in capsys.readouterr().out
    assert (tmp_path / "new" / "page.md").read_text().startswith("# How the run ended")


def test_a_folder_that_push_wrote_is_read_too(tmp_path):
    root = make_run(tmp_path / "run", "prepare-images")
    push(root, str(tmp_path / "pushed"))
    found, _ = explained(str(tmp_path / "pushed"), tmp_path / "page.md")
    assert found.failed_step == "train teacher or train GAN"


@pytest.fixture(scope="module")
def s3_url():
    from tests.servers.start import s3_server

    with s3_server() as url:
        yield url


@pytest.fixture
def s3(s3_url, monkeypatch):
    from tests.servers.start import use_s3

    return use_s3(s3_url, monkeypatch.setenv)
