"""What our commands, Kubeflow's own command line and the README's lines send to a server."""

import os
import re
import shlex
import subprocess
import sys
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kfp.client import Client

from pipelines.__main__ import main
from pipelines.client import schedule, submit
from pipelines.connection import Server, connect
from pipelines.job import Job
from tests.servers.kubeflow import API, serving, uploaded_file

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = "cluster/pipelines/synthetic_training_set.yaml"
WEEKLY = ["--name", "weekly", "--cron", "0 0 2 * * SUN"]
SCHEDULES = f"{API}recurringruns"

README = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
LINES = [line for block in README for line in block.splitlines()]


def lines(words: str) -> list[str]:
    return [line for line in LINES if line.startswith(words)]


COMPILE, SUBMIT, SCHEDULE = (lines(f"python -m pipelines {verb}") for verb in ("compile", "submit", "schedule"))
KFP = lines("kfp")
PATHS = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A person who has set up nothing."""
    for name in [name for name in os.environ if name.startswith("KF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder with the compiled pipeline, made as the README says, and a token."""
    folder = tmp_path_factory.mktemp("checkout")
    (command,) = COMPILE
    subprocess.run(["bash", "-c", command], cwd=folder, env={**os.environ, **PATHS}, check=True, capture_output=True)
    (folder / "token").write_text("secret\n")
    return folder


@pytest.fixture(scope="module")
def manifest(checkout):
    return (checkout / MANIFEST).read_text()


@pytest.fixture(scope="module")
def whole(manifest):
    return next(yaml.load_all(manifest, Loader=yaml.CSafeLoader))


@pytest.fixture(scope="module")
def brief(checkout, whole):
    """The pipeline with its parameters, and one of its steps: quickly read."""
    label, name = "exec-train-gan", "comp-train-gan"
    task = {"componentRef": {"name": name}, "taskInfo": {"name": "train-gan"}}
    part = {**whole, "root": {**whole["root"], "dag": {"tasks": {"train-gan": task}}}}
    part["components"] = {name: whole["components"][name]}
    part["deploymentSpec"] = {"executors": {label: whole["deploymentSpec"]["executors"][label]}}
    path = checkout / "brief.yaml"
    path.write_text(yaml.dump(part, Dumper=yaml.CSafeDumper))
    return path


@pytest.fixture
def server():
    with serving() as kubeflow:
        yield kubeflow


@pytest.fixture
def send(server, brief, capsys):
    """Run one of our commands against the server: its status and what it said."""

    def run(command: str, *words: str) -> tuple[int, str]:
        capsys.readouterr()
        job = ["--source", "gs://bucket/breast", "--pipeline-file", str(brief)]
        status = main([command, *job, "--endpoint", server.endpoint, *words])
        printed = capsys.readouterr()
        assert printed.err == ""
        return status, printed.out

    return run


@pytest.fixture
def shell(server, checkout):
    """Run a command as it stands in the README."""
    settings = {**PATHS, "KF_PIPELINES_ENDPOINT": server.endpoint}

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=checkout, env={**os.environ, **settings}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def values(body: dict) -> dict:
    return body["runtime_config"]["parameters"]


def cached(body: dict) -> list[bool]:
    pipeline = body["pipeline_spec"]
    pipeline = pipeline.get("pipeline_spec", pipeline)
    parts = [pipeline["root"], *pipeline["components"].values()]
    tasks = [task for part in parts for task in part.get("dag", {}).get("tasks", {}).values()]
    return [task.get("cachingOptions", {}).get("enableCache", False) for task in tasks]


def test_each_value_is_sent_in_its_parameters_type(send, server):
    settings = ["gan_kimg=12.5", "data_size=64", "gpu_count=2", "gan_seeds=1-10", "data_version=7"]
    settings += ['gpu_node_selector={"pool": "a"}', 'gpu_tolerations=[{"key": "gpu"}]']
    status, _ = send(
        "submit", *(word for pair in settings for word in ("--set", pair)), "--classes", "benign,malignant"
    )
    assert status == 0
    (run,) = server.sent("POST", "runs")
    assert values(run) == {
        "source_uri": "gs://bucket/breast",
        "negative_class": "benign",
        "positive_class": "malignant",
        "gan_kimg": 12.5,
        "data_size": 64,
        "gpu_count": "2",
        "gan_seeds": "1-10",
        "data_version": "7",
        "gpu_node_selector": {"pool": "a"},
        "gpu_tolerations": [{"key": "gpu"}],
    }


@pytest.mark.parametrize(
    "setting",
    [
        "gpu_node_selector=[1]",
        "gpu_tolerations={}",
        "gan_kimg=nan",
        "gpu_count=two",
        "report_endpoint=auk",
        "data_size=100",
        "gan_start_uri=gs://bucket/generators",
    ],
)
@pytest.mark.parametrize("command", ["submit", "schedule"])
def test_what_no_step_would_take_is_never_sent(send, server, command, setting):
    status, text = send(command, *(WEEKLY if command == "schedule" else []), "--set", setting)
    assert (status, setting.partition("=")[2] in text or "100 pixels" in text) == (1, True)
    assert not server.sent("POST", "runs")
    assert not server.sent("POST", "recurringruns")


def test_a_run_carries_its_name_its_account_and_its_root(send, server):
    told = [
        "--name",
        "first",
        "--experiment",
        "breast",
        "--service-account",
        "trainer",
        "--pipeline-root",
        "s3://b/runs",
    ]
    status, said = send("submit", *told)
    assert status == 0
    (run,) = server.sent("POST", "runs")
    (experiment,) = server.held["experiments"]
    assert experiment["display_name"] == "breast"
    assert run["experiment_id"] == experiment["experiment_id"]
    assert (run["display_name"], run["service_account"]) == ("first", "trainer")
    assert run["runtime_config"]["pipeline_root"] == "s3://b/runs"
    run_id = server.held["runs"][0]["run_id"]
    assert said == f"Run {run_id}: {server.endpoint}/#/runs/details/{run_id}\n"


def test_what_is_not_told_is_left_to_the_server(send, server):
    assert send("submit")[0] == 0
    (run,) = server.sent("POST", "runs")
    assert "service_account" not in run
    assert "pipeline_root" not in run["runtime_config"]
    assert re.fullmatch(r"synthetic-training-set \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", run["display_name"])


def test_an_experiment_is_made_once(send, server):
    assert [send("submit")[0] for _ in range(2)] == [0, 0]
    assert len(server.sent("POST", "experiments")) == 1
    assert len({run["experiment_id"] for run in server.sent("POST", "runs")}) == 1


def test_a_run_keeps_the_cache_and_can_go_without(send, server, checkout):
    file = ["--pipeline-file", str(checkout / MANIFEST)]
    assert send("submit", *file)[0] == 0
    assert send("submit", *file, "--no-cache")[0] == 0
    with_cache, without = (cached(run) for run in server.sent("POST", "runs"))
    assert any(with_cache)
    assert len(without) == len(with_cache)
    assert not any(without)


def test_the_page_is_that_of_the_ui_where_it_has_an_address_of_its_own(send, server, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://ui.example/")
    assert "https://ui.example/#/runs/details/run-" in send("submit")[1]


def test_every_request_carries_the_token_of_the_file_and_nobody_prints_it(send, server, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    status, said = send("submit", "--token-file", str(token))
    assert status == 0
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer secret"}
    assert "secret" not in said


def test_a_renewed_token_is_taken_up_between_two_requests(server, tmp_path):
    token = tmp_path / "token"
    token.write_text("first")
    client = connect(Server(server.endpoint, token_file=str(token)))
    token.write_text("second")
    client.list_experiments()
    assert server.requests[0].headers["authorization"] == "Bearer first"
    assert server.requests[-1].headers["authorization"] == "Bearer second"


def test_where_there_are_several_users_the_namespace_must_be_named(send, server):
    server.multi_user = True
    status, said = send("submit")
    assert status == 1
    assert (
        said
        == f"SettingError: {server.endpoint} is a multi-user server. Set the namespace of the runs with --namespace.\n"
    )
    assert {request.path for request in server.requests} == {f"{API}healthz"}


def test_experiments_and_schedules_are_looked_for_in_the_namespace(send, server):
    server.multi_user = True
    assert send("schedule", *WEEKLY, "--namespace", "other")[0] == 0
    assert send("schedule", *WEEKLY, "--namespace", "imaging")[0] == 0
    assert [experiment["namespace"] for experiment in server.held["experiments"]] == ["other", "imaging"]
    assert len(server.held["recurringruns"]) == 2


def test_a_schedule_runs_one_at_a_time_without_catching_up(send, server):
    status, said = send("schedule", *WEEKLY, "--set", "gan_kimg=10", "--set", "gpu_count=1", "--service-account", "me")
    assert status == 0
    (made,) = server.sent("POST", "recurringruns")
    assert made["display_name"] == "weekly"
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 2 * * SUN"}}
    assert (made["max_concurrency"], made["no_catchup"], made["mode"]) == (1, True, "ENABLE")
    assert made["service_account"] == "me"
    assert values(made) == {"source_uri": "gs://bucket/breast", "gan_kimg": 10.0, "gpu_count": "1"}
    schedule_id = server.held["recurringruns"][0]["recurring_run_id"]
    assert said == f"Schedule {schedule_id}: {server.endpoint}/#/recurringrun/details/{schedule_id}\n"


def test_a_schedule_has_a_beginning_and_an_end_in_utc(send, server):
    times = ["--start", "2027-01-31T02:00:00+01:00", "--end", "2028-01-31T02:00:00Z"]
    assert send("schedule", *WEEKLY, *times)[0] == 0
    (made,) = server.sent("POST", "recurringruns")
    cron = made["trigger"]["cron_schedule"]
    assert (cron["start_time"], cron["end_time"]) == ("2027-01-31T01:00:00Z", "2028-01-31T02:00:00Z")


def test_a_second_schedule_of_one_name_is_refused(send, server):
    server.page_size = 1
    assert send("schedule", "--name", "other", "--cron", "0 0 2 * * *")[0] == 0
    assert send("schedule", *WEEKLY)[0] == 0
    status, said = send("schedule", *WEEKLY)
    assert status == 1
    old = server.held["recurringruns"][1]["recurring_run_id"]
    assert said.startswith(
        f"SettingError: A schedule named 'weekly' exists: {server.endpoint}/#/recurringrun/details/{old}."
    )
    assert "--replace" in said
    assert len(server.held["recurringruns"]) == 2


def test_a_schedule_that_replaces_exists_before_the_other_one_goes(send, server):
    for cron in ("0 0 2 * * *", "0 0 3 * * *"):
        assert send("schedule", "--name", "nightly", "--cron", cron, "--replace")[0] == 0
    (left,) = server.held["recurringruns"]
    assert left["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    changes = [request.method for request in server.requests if request.path.startswith(SCHEDULES)]
    assert [method for method in changes if method != "GET"] == ["POST", "POST", "DELETE"]


def test_two_schedules_in_force_are_told(send, server):
    assert send("schedule", *WEEKLY)[0] == 0
    old = server.held["recurringruns"][0]["recurring_run_id"]
    server.answers[f"DELETE {SCHEDULES}/{old}"] = (500, '{"message": "the database is away"}')
    status, said = send("schedule", *WEEKLY, "--replace")
    assert status == 1
    assert "both start runs. Delete the old one by hand" in said
    assert f"details/{old}." in said
    assert "the database is away" in said


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, "", "needs a token (401). Set one with --token-file."),
        (403, '{"message": "not yours"}', "denies this account access to imaging (403)"),
        (403, '{"message": "not yours"}', "The server's message: not yours"),
        (404, "", "does not have this API (404). Check the URL"),
        (500, '{"error": "no database"}', "refused the request (500): no database"),
        (200, "<html>Log in</html>", "it may have sent a login page"),
        (200, "[]", "did not answer as the API"),
    ],
)
def test_what_the_server_refuses_is_told_in_a_sentence(send, server, status, answer, words):
    server.answers["all"] = (status, answer)
    done, said = send("submit", "--namespace", "imaging")
    assert done == 1
    assert words in said
    assert said.count("\n") == 1


def test_a_token_that_is_not_taken_is_named_by_its_file(send, server, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    server.answers["all"] = (401, "")
    status, said = send("schedule", *WEEKLY, "--token-file", str(token))
    assert status == 1
    assert f"rejects the token in {token} (401). It may have expired" in said
    assert "secret" not in said


def test_a_server_that_is_not_there_is_told_without_tracebacks(send, server):
    status, said = send("submit", "--endpoint", "http://127.0.0.1:9")
    assert status == 1
    assert said == (
        "ServerUnavailableError: http://127.0.0.1:9 cannot be reached: Failed to establish a new connection: "
        "[Errno 111] Connection refused. "
        "Check the URL and the network.\n"
    )


def test_a_name_of_no_server_is_told_in_sentences_that_end_once(send, server):
    status, said = send("submit", "--endpoint", "http://")
    assert (status, ".." in said) == (1, False)
    assert "cannot be reached: No host specified. Check the URL" in said


def certificate(path: Path) -> Path:
    """Key and certificate of 127.0.0.1, signed by itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1), datetime(2120, 1, 1))
    signed = made.add_extension(address, critical=True).sign(key, hashes.SHA256())
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(key.private_bytes(*plain) + signed.public_bytes(Encoding.PEM))
    return path


def test_a_certificate_of_the_houses_own_is_taken_when_it_is_named(send, tmp_path):
    pem = certificate(tmp_path / "server.pem")
    with serving(certificate=pem) as server:
        status, said = send("submit", "--endpoint", server.endpoint)
        assert status == 1
        assert said.endswith("Set the file of its authority with --ca-file.\n")
        assert send("submit", "--endpoint", server.endpoint, "--ca-file", str(pem))[0] == 0
        assert len(server.held["runs"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "gan_kmig=1"], "Did you mean gan_kimg?"),
        (["--set", "gan_kimg=long"], "--set gan_kimg expects a finite number. Received 'long'."),
        (["--set", "gan_kimg"], "is not NAME=VALUE"),
        (["--set", "source_uri=gs://b/x"], "cannot be set by --set. Use --source"),
        (["--classes", "benign"], "is not two names"),
        (["--source", "breast"], "--source 'breast' is not a gs:// or s3:// URI"),
        (["--endpoint", ""], "No server is set. Use --endpoint"),
        (["--endpoint", "kubeflow.example"], "Use https://kubeflow.example, or http://"),
        (["--token-file", "absent"], "--token-file 'absent' does not exist or is empty."),
        (["--pipeline-file", "absent.yaml"], "absent.yaml"),
        (["--image-gpu", "mine"], "--pipeline-file is compiled already."),
        (["--cron", "0 2 * * *"], "Put the seconds first: '0 0 2 * * *'."),
        (["--start", "tomorrow"], "--start 'tomorrow' is not a date and time with its offset from UTC"),
        (
            ["--start", "2027-01-02T00:00:00Z", "--end", "2027-01-01T00:00:00Z"],
            "is not later than --start",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_sent(send, server, words, message):
    status, said = send("schedule", *WEEKLY, *words)
    assert status == 1
    assert message in said
    assert server.requests == []


def test_a_missing_source_is_told_before_anything_is_sent(server, capsys):
    with pytest.raises(SystemExit):
        main(["submit", "--endpoint", server.endpoint])
    assert "required: --source" in capsys.readouterr().err
    assert server.requests == []


def test_the_pipeline_is_compiled_with_the_images_that_are_named(server):
    words = ["submit", "--source", "s3://b/x", "--endpoint", server.endpoint, "--image-gpu", "mine@sha256:1"]
    assert main(words) == 0
    (run,) = server.sent("POST", "runs")
    executors = run["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"].values()
    assert "mine@sha256:1" in {executor["container"]["image"] for executor in executors}


def test_python_sends_as_the_command_line_does(server, manifest):
    job = Job(manifest, {"source_uri": "gs://b/x"}, "breast", "first")
    run = submit(Server(server.endpoint), job)
    assert run.id == server.held["runs"][0]["run_id"]
    with pytest.raises(ValueError, match="does not have six fields"):
        schedule(Server(server.endpoint), job, cron="@daily")


def test_the_readme_tells_each_way():
    assert [len(found) for found in (COMPILE, SUBMIT, SCHEDULE, KFP)] == [1, 1, 1, 2]


@pytest.mark.parametrize("command", SUBMIT + SCHEDULE)
def test_our_command_in_the_readme_sends_what_it_says(shell, server, command):
    server.multi_user = True
    said = shell(command)
    (sent,) = server.sent("POST", "runs") + server.sent("POST", "recurringruns")
    assert values(sent)["source_uri"] == "gs://bucket/breast"
    assert values(sent)["positive_class"] == "malignant"
    assert values(sent)["gan_kimg"] == 10_000.0
    assert values(sent)["gpu_count"] == "1"
    assert sent["service_account"] == "default-editor"
    assert sent["runtime_config"]["pipeline_root"] == "gs://bucket/runs"
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer secret"}
    (experiment,) = server.held["experiments"]
    assert (experiment["display_name"], experiment["namespace"]) == ("breast", "imaging")
    assert server.endpoint in said
    assert "secret" not in said


@pytest.mark.parametrize("command", [command for command in KFP if " run create " in command])
def test_kubeflows_command_in_the_readme_starts_a_run(shell, server, command):
    shell(command)
    server.multi_user = True
    shell(command.replace("kfp ", "kfp -n imaging ", 1))
    assert [experiment.get("namespace") for experiment in server.held["experiments"]] == ["", "imaging"]
    run, _ = server.sent("POST", "runs")
    assert run["display_name"] == "first"
    assert values(run) == {
        "source_uri": "gs://bucket/breast",
        "negative_class": "benign",
        "positive_class": "malignant",
        "gpu_count": "1",
        "gpu_node_selector": {"cloud.google.com/gke-accelerator": "nvidia-l4"},
    }
    assert run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "synthetic-training-set"


@pytest.mark.parametrize("command", [command for command in KFP if " pipeline create " in command])
def test_kubeflows_command_in_the_readme_uploads_the_pipeline(shell, server, manifest, command):
    shell(command)
    (upload,) = (request for request in server.requests if request.method == "POST")
    assert upload.query["name"] == "synthetic-training-set"
    assert uploaded_file(upload.body) == manifest


def test_kubeflows_own_schedule_sends_text_as_the_readme_says(shell, server):
    words = "--enabled --experiment-name breast --job-name nightly --max-concurrency 1 --no-catchup"
    package = f"--pipeline-package-path {MANIFEST}"
    cron = shlex.quote("0 0 2 * * *")
    command = f'kfp --endpoint "$KF_PIPELINES_ENDPOINT" recurring-run create {words} --cron-expression {cron} {package}'
    shell(f"{command} source_uri=gs://bucket/breast gan_kimg=10")
    (made,) = server.sent("POST", "recurringruns")
    assert values(made)["gan_kimg"] == "10"
    assert (made["max_concurrency"], made["no_catchup"], made["mode"]) == (1, True, "ENABLE")
    assert "`kfp recurring-run create` sends every value as text" in (ROOT / "README.md").read_text()


def test_the_ui_names_the_parameters_as_the_readme_groups_them(whole):
    known = whole["root"]["inputDefinitions"]["parameters"]
    text = (ROOT / "README.md").read_text().split("### From the Kubeflow UI")[1].split("### ")[0]
    begins = {
        prefix for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for prefix in re.findall(r"`(\w+_)`", row)
    }
    assert {name for name in known if not name.startswith(tuple(begins))} == set()
    assert {prefix for prefix in begins if not any(name.startswith(prefix) for name in known)} == set()
    assert [name for name, told in known.items() if not told.get("isOptional") and "defaultValue" not in told] == [
        "source_uri"
    ]
    assert all(told["description"] for told in known.values())
