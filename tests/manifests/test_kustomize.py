"""The base and the overlays build, fit the schemas of Kubernetes, name only what there is, and hold no secret."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2] / "manifests"
FOLDERS = ("base", "overlays/gke", "overlays/s3")
KUBERNETES = "1.35"
# kubernetes-validate only warns of a kind that it has no schema for. Such a kind is named here, with the reason.
KINDS_WITHOUT_SCHEMA: dict[str, str] = {}
# Made by hand, as manifests/README.md says, so that no file holds a key.
SECRETS = {"overlays/s3": {"regan-s3": {"accesskey", "secretkey"}}}

FIND_RUNS = """
import json, sys
sys.modules["tensorflow"] = None  # the image has none, and then TensorBoard reads the bucket by itself
from tensorboard import default, program
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
board = program.TensorBoard(default.get_plugins())
board.configure(argv=["tensorboard", *sys.argv[1:]])
runs = EventMultiplexer().AddRunsFromDirectory(board.flags.logdir)
runs.Reload()
print(json.dumps(runs.Runs()))
"""


def build(folder: Path) -> str:
    if shutil.which("kubectl") is None:
        reason = "needs kubectl (apt-get install kubernetes-client) with kustomize 5 or newer"
        pytest.fail(reason) if os.environ.get("REGAN_REQUIRE_TOOLS") == "1" else pytest.skip(reason)
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize must have nothing to warn of"
    return done.stdout


@pytest.fixture(scope="module", params=FOLDERS)
def folder(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def built(folder) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(build(ROOT / folder)))


def of_kind(built: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in built if document["kind"] == kind}


def pods(built: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from (deployment["spec"]["template"]["spec"] for deployment in of_kind(built, "Deployment").values())


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every mapping inside, with its value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield str(key), inner
        if isinstance(inner, dict | list):
            yield from walk(inner)


def complaints(path: Path) -> list[str]:
    """What kubernetes-validate says of a file beyond "passed"; a missing schema counts, unless its kind is listed."""
    command = [Path(sys.executable).parent / "kubernetes-validate", "--strict", "-k", KUBERNETES, path]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("INFO ")]
    kinds = "|".join(map(re.escape, KINDS_WITHOUT_SCHEMA)) or "(?!)"
    found = [line for line in lines if not re.search(rf"^WARN .*Couldn't find schema for kind ({kinds}) ", line)]
    return found or ([done.stderr] if done.returncode else [])


def test_every_document_fits_the_schema_of_its_kind(folder, tmp_path):
    path = tmp_path / "built.yaml"
    path.write_text(build(ROOT / folder))
    assert complaints(path) == []


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: a}\n", "Couldn't find schema"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatum: {}\n", "datum"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: x}]}\n", "did not validate"),
    ],
)
def test_a_kind_without_schema_and_a_wrong_field_are_complaints(document, said, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(document)
    assert said in " ".join(complaints(path))


def test_all_lies_in_one_namespace_and_is_labelled(built):
    assert {document["metadata"]["namespace"] for document in built} == {"kubeflow"}
    assert {document["metadata"]["labels"]["app.kubernetes.io/part-of"] for document in built} == {"regan"}


def test_service_accounts_and_roles_that_are_named_exist(built):
    accounts, roles = of_kind(built, "ServiceAccount"), of_kind(built, "Role")
    assert {pod["serviceAccountName"] for pod in pods(built)} <= set(accounts)
    for binding in of_kind(built, "RoleBinding").values():
        assert binding["roleRef"]["kind"] == "Role"
        assert binding["roleRef"]["name"] in roles
        for subject in binding["subjects"]:
            assert accounts[subject["name"]]["metadata"]["namespace"] == subject["namespace"]


def test_values_are_read_from_keys_that_exist(folder, built):
    maps = {name: set(document["data"]) for name, document in of_kind(built, "ConfigMap").items()}
    known = {"configMapKeyRef": maps, "secretKeyRef": SECRETS.get(folder, {})}
    for key, reference in walk(built):
        if key in known:
            assert reference["key"] in known[key][reference["name"]], reference


def test_selectors_find_the_pods_of_tensorboard(built):
    (deployment,) = of_kind(built, "Deployment").values()
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    (service,) = of_kind(built, "Service").values()
    (policy,) = of_kind(built, "NetworkPolicy").values()
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        policy["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= {port["name"] for port in container["ports"]}


def test_no_document_holds_a_secret(folder, built):
    assert not of_kind(built, "Secret")
    for path in (ROOT / folder).glob("*.yaml"):
        assert not re.search(r"(?i)PRIVATE KEY|AKIA[0-9A-Z]{16}|\"private_key\"|password\s*:", path.read_text()), path
    for key, value in walk(built):
        if key in ("env", "envFrom"):
            assert all("value" not in entry for entry in value), "what is not public comes from a secret by reference"


def test_rights_name_no_wildcard_and_secrets_one_by_one(folder, built):
    for role in of_kind(built, "Role").values():
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["get"]
                assert set(rule["resourceNames"]) == set(SECRETS[folder])


def test_pods_run_without_root_with_limits_and_an_image_that_stays(built):
    for pod in pods(built):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert re.search(r":\d+\.\d+\.\d+$|@sha256:[0-9a-f]{64}$", container["image"])
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])


def test_the_launcher_and_regan_read_the_same_storage(folder, built):
    maps = of_kind(built, "ConfigMap")
    launcher, storage = maps["kfp-launcher"]["data"], maps["regan-storage"]["data"]
    scheme, bucket = re.fullmatch(r"(\w+)://([^/]+)/.+", launcher["defaultPipelineRoot"]).groups()
    assert storage["TENSORBOARD_LOGDIR"].startswith(f"{scheme.replace('minio', 's3')}://{bucket}/")
    providers = yaml.safe_load(launcher.get("providers", "{}"))
    if folder == "overlays/gke":
        assert providers == {"gs": {"default": {"credentials": {"fromEnv": True}}}}
    if folder == "overlays/s3":
        default = providers["s3"]["default"]
        assert (default["endpoint"], default["region"]) == (
            storage["AWS_ENDPOINT_URL_S3"],
            storage["AWS_DEFAULT_REGION"],
        )
        assert default["disableSSL"] is default["endpoint"].startswith("http://")
        assert default["forcePathStyle"] is True
        secret = default["credentials"]["secretRef"]
        assert {secret["accessKeyKey"], secret["secretKeyKey"]} == SECRETS[folder][secret["secretName"]]


def test_on_gke_each_account_has_an_identity_of_its_own():
    accounts = of_kind(list(yaml.safe_load_all(build(ROOT / "overlays/gke"))), "ServiceAccount")
    identities = [account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"] for account in accounts.values()]
    assert len(set(identities)) == len(accounts) == 2


def test_tensorboard_reads_a_run_from_the_bucket_with_what_the_overlay_gives_it(tmp_path):
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer
    from tensorboardX import SummaryWriter

    built = list(yaml.safe_load_all(build(ROOT / "overlays/s3")))
    (pod,) = pods(built)
    address = of_kind(built, "ConfigMap")["regan-storage"]["data"]["TENSORBOARD_LOGDIR"]
    arguments = [text.replace("$(TENSORBOARD_LOGDIR)", address) for text in pod["containers"][0]["args"]]
    with SummaryWriter(str(tmp_path)) as board:
        board.add_scalar("generator_loss", 0.5, 1)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        given = {entry["name"]: "test" for entry in pod["containers"][0]["env"]}
        given |= {"AWS_ENDPOINT_URL_S3": endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
        client = boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )
        bucket, _, folder = address.removeprefix("s3://").partition("/")
        client.create_bucket(Bucket=bucket)
        for path in tmp_path.iterdir():
            client.upload_file(str(path), bucket, f"{folder}/breast/benign/tensorboard/{path.name}")
        client.put_object(Bucket=bucket, Key=f"{folder}/breast/benign/objects/0a1b", Body=b"a part of a checkpoint")
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            [sys.executable, "-c", FIND_RUNS, *arguments], env=surroundings | given, capture_output=True, text=True
        )
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)
    assert list(runs) == ["breast/benign/tensorboard"]
    assert "generator_loss" in json.dumps(runs)
