"""What Kubernetes is asked for, read back from the compiled pipeline, step by step."""

import re

import pytest
import yaml

from pipelines.compilation import manifests
from pipelines.placement import NEEDS

NAME = "pipelines/synthetic_training_set.yaml"
CPU_STEPS = {"prepare-images", "compare-classifiers", "publish-images", "explain-run"}
GRAPHS = ({}, {"conditional": False}, {"rounds": 2}, {"generation_shards": 2})


@pytest.fixture(scope="module", params=GRAPHS, ids=str)
def documents(request) -> tuple[dict, dict]:
    """The pipeline, and what it asks of Kubernetes by executor."""
    pipeline, platform = yaml.safe_load_all(manifests(**request.param)[NAME])
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def steps(pipeline: dict) -> list[tuple[str, str, dict, dict, set]]:
    """Executor, name of the component, task, container and inputs of the group that it stands in, of every step."""
    executors, components = pipeline["deploymentSpec"]["executors"], pipeline["components"]
    found = []
    for dag in (pipeline["root"], *components.values()):
        for task in dag.get("dag", {}).get("tasks", {}).values():
            executor = components[task["componentRef"]["name"]].get("executorLabel")
            if executor:
                name = re.sub(r"-\d+$", "", executor.removeprefix("exec-"))
                inputs = set(dag["inputDefinitions"]["parameters"])
                found.append((executor, name, task, executors[executor]["container"], inputs))
    return found


def is_on_gpu(name: str) -> bool:
    return name not in CPU_STEPS


def test_every_step_has_its_row_in_the_table(documents):
    assert {name for _, name, *_ in steps(documents[0])} <= set(NEEDS)


def test_every_gpu_step_asks_for_the_type_and_number_that_the_parameters_say(documents):
    for _, name, task, container, inputs in steps(documents[0]):
        if not is_on_gpu(name):
            assert "accelerator" not in container["resources"]
            continue
        count = "gpu_count_gan" if name in ("train-gan", "preflight") else "gpu_count"
        assert container["resources"]["accelerator"] == {
            "resourceCount": f"{{{{$.inputs.parameters['pipelinechannel--{count}']}}}}",
            "resourceType": "{{$.inputs.parameters['pipelinechannel--gpu_type']}}",
        }
        for parameter in (count, "gpu_type"):
            given = task["inputs"]["parameters"][f"pipelinechannel--{parameter}"]["componentInputParameter"]
            assert given.removeprefix("pipelinechannel--") == parameter
            assert given in inputs, f"{name}: the group has no input {given}"


def test_every_gpu_step_takes_the_chosen_nodes_and_tolerates_their_taints(documents):
    pipeline, platform = documents
    for executor, name, _, _, inputs in steps(pipeline):
        asked = platform[executor]
        if not is_on_gpu(name):
            assert not {"nodeSelector", "tolerations"} & set(asked)
            continue
        (toleration,) = asked["tolerations"]
        for choice, parameter in (
            (asked["nodeSelector"]["nodeSelectorJson"], "gpu_node_selector"),
            (toleration["tolerationJson"], "gpu_tolerations"),
        ):
            given = choice["componentInputParameter"]
            assert given.removeprefix("pipelinechannel--") == parameter
            assert given in inputs, f"{executor}: the driver looks for {given} among the inputs of the group"


def test_every_gpu_step_has_shared_memory_and_every_step_scratch_space(documents):
    pipeline, platform = documents
    for executor, name, *_ in steps(pipeline):
        mounts = {mount["mountPath"]: mount for mount in platform[executor]["emptyDirMounts"]}
        scratch = {"mountPath": "/tmp", "sizeLimit": NEEDS[name].scratch, "volumeName": "scratch"}
        shm = {"medium": "Memory", "mountPath": "/dev/shm", "sizeLimit": "8Gi", "volumeName": "shm"}
        assert mounts == ({"/tmp": scratch, "/dev/shm": shm} if is_on_gpu(name) else {"/tmp": scratch})


def test_every_step_requests_what_it_uses_and_has_a_limit(documents):
    for _, name, _, container, _ in steps(documents[0]):
        resources, needs = container["resources"], NEEDS[name]
        assert resources["resourceCpuRequest"] == needs.cpu
        assert resources["resourceMemoryRequest"] == needs.memory
        assert resources["resourceMemoryLimit"] == needs.memory_limit


def test_every_step_has_the_keys_of_an_s3_store_where_there_are_any(documents):
    pipeline, platform = documents
    for executor, *_ in steps(pipeline):
        (secret,), (settings,) = platform[executor]["secretAsEnv"], platform[executor]["configMapAsEnv"]
        assert secret["optional"] is settings["optional"] is True
        assert (secret["secretName"], settings["configMapName"]) == ("regan-s3", "regan-storage")
        variables = [entry["envVar"] for entry in (*secret["keyToEnv"], *settings["keyToEnv"])]
        assert variables == [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ENDPOINT_URL_S3",
            "AWS_DEFAULT_REGION",
        ]


def test_the_preflight_fails_in_the_first_minutes_and_every_other_step_outlives_lost_nodes(documents):
    pipeline, platform = documents
    for executor, name, task, *_ in steps(pipeline):
        retry, deadline = task["retryPolicy"], int(platform[executor]["activeDeadlineSeconds"])
        assert deadline == NEEDS[name].hours * 3600
        if name == "preflight":
            assert (retry["maxRetryCount"], retry["backoffDuration"]) == (1, "10s")
            continue
        assert (retry["maxRetryCount"], retry["backoffDuration"], retry["backoffFactor"]) == (6, "60s", 1.0)
        # Counted from the first start; the default of an hour would end long training.
        assert int(retry["backoffMaxDuration"].rstrip("s")) > deadline


def test_training_of_the_gan_may_take_as_long_as_the_reference_did():
    assert NEEDS["train-gan"].hours >= 2 * 4 * 24
