"""The compiled pipeline: its parameters, its graph, and what Kubernetes is asked for."""

from pathlib import Path

import pytest
import yaml

from pipelines.compilation import manifests
from pipelines.synthetic_training_set import synthetic_training_set
from regan.verbs.generate_images import parse_seeds

ROOT = Path(__file__).resolve().parents[2]
NAME = "pipelines/synthetic_training_set.yaml"
GROUPS = ("data_", "gan_", "classifier_", "gpu_", "test_", "report_")
OWN_NAMES = {"source_uri", "negative_class", "positive_class"}
CPU_STEPS = {"prepare-images", "compare-classifiers", "publish-images"}
GPU_SETTINGS = ("accelerator_count", "accelerator_type")


@pytest.fixture(scope="module", params=[True, False], ids=["conditional", "one GAN a class"])
def documents(request) -> tuple[dict, dict]:
    """The pipeline and what it asks of Kubernetes."""
    pipeline, platform = yaml.safe_load_all(manifests(conditional=request.param)[NAME])
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.fixture
def parameters(documents) -> dict:
    return documents[0]["root"]["inputDefinitions"]["parameters"]


def all_tasks(pipeline: dict) -> dict[str, dict]:
    dags = [pipeline["root"], *pipeline["components"].values()]
    tasks = {name: task for dag in dags for name, task in dag.get("dag", {}).get("tasks", {}).items()}
    return {name: task for name, task in tasks.items() if not name.startswith("condition")}


def verb_of(task: str) -> str:
    return task.rstrip("0123456789").rstrip("-")


def test_the_committed_manifests_are_what_the_code_compiles_to():
    for name, text in manifests().items():
        assert (ROOT / "manifests" / name).read_text() == text, f"{name} is stale: run `python -m pipelines compile`"


def test_two_compilations_give_the_same_bytes():
    assert manifests()[NAME] == manifests()[NAME]


def test_only_the_source_is_required(parameters):
    assert [name for name, entry in parameters.items() if not entry.get("isOptional")] == ["source_uri"]


def test_every_parameter_is_described(parameters):
    assert [name for name, entry in parameters.items() if not entry.get("description")] == []


def test_names_read_in_groups(parameters):
    assert [name for name in parameters if not name.startswith(GROUPS) and name not in OWN_NAMES] == []


def test_no_gpu_setting_is_a_number(documents, parameters):
    # kfp 2.17 drops an integer number of GPUs without a word, and the pod starts without one.
    numbers = {"NUMBER_INTEGER", "NUMBER_DOUBLE"}
    assert [
        name for name in parameters if name.startswith("gpu_") and parameters[name]["parameterType"] in numbers
    ] == []
    for task in all_tasks(documents[0]).values():
        for name in GPU_SETTINGS:
            constant = (
                task["inputs"].get("parameters", {}).get(name, {}).get("runtimeValue", {}).get("constant", "text")
            )
            assert isinstance(constant, str)


def test_no_class_name_is_compiled_in(documents):
    text = yaml.safe_dump(documents[0]).lower()
    assert [name for name in ("benign", "malignant") if name in text] == []


def test_class_names_come_from_the_prepared_images(documents):
    tasks = all_tasks(documents[0])
    for task, output in (("generate-images", "negative_class"), ("generate-images-2", "positive_class")):
        label = tasks[task]["inputs"]["parameters"]["label"]["taskOutputParameter"]
        assert label == {"outputParameterKey": output, "producerTask": "prepare-images"}


def test_the_two_classes_have_seeds_of_their_own(documents):
    tasks = all_tasks(documents[0])
    seeds = [
        tasks[task]["inputs"]["parameters"]["seeds"]["runtimeValue"]["constant"]
        for task in ("generate-images", "generate-images-2")
    ]
    parameter = "{{$.inputs.parameters['pipelinechannel--gan_seeds']}}"
    assert seeds == [f"{parameter}+0", f"{parameter}+1"]


@pytest.mark.parametrize("block", range(4))
def test_image_i_of_class_k_in_round_r_has_a_seed_of_its_own(block):
    # first_seed + ((r * 2 + k) * per_round) + i
    assert parse_seeds(f"101-150+{block}") == [101 + block * 50 + i for i in range(50)]


def test_one_conditional_network_or_one_a_class():
    conditional, per_class = (
        all_tasks(next(yaml.safe_load_all(manifests(conditional=conditional)[NAME]))) for conditional in (True, False)
    )
    assert [name for name in conditional if name.startswith("train-gan")] == ["train-gan"]
    assert sorted(name for name in per_class if name.startswith("train-gan")) == ["train-gan", "train-gan-2"]
    labels = [per_class[name]["inputs"]["parameters"]["label"] for name in ("train-gan", "train-gan-2")]
    assert [label["taskOutputParameter"]["outputParameterKey"] for label in labels] == [
        "negative_class",
        "positive_class",
    ]


def test_only_the_evaluation_opens_the_test_images(documents):
    readers = {
        name
        for name, task in all_tasks(documents[0]).items()
        for artifact in task.get("inputs", {}).get("artifacts", {}).values()
        if artifact.get("taskOutputArtifact") == {"outputArtifactKey": "test", "producerTask": "prepare-images"}
    }
    assert {verb_of(name) for name in readers} == {"evaluate-classifier"}
    assert len(readers) == 3


def test_the_control_has_as_many_images_as_the_student(documents):
    control = all_tasks(documents[0])["filter-images-2"]["inputs"]["parameters"]
    assert control["rule"]["runtimeValue"]["constant"] == "none"
    assert control["per_class"]["taskOutputParameter"] == {
        "outputParameterKey": "per_class",
        "producerTask": "filter-images",
    }


def test_a_failed_audit_stops_the_release_and_not_the_report(documents):
    conditions = {
        name: task["triggerPolicy"]["condition"]
        for name, task in documents[0]["root"]["dag"]["tasks"].items()
        if "triggerPolicy" in task
    }
    assert list(conditions.values()) == ["inputs.parameter_values['pipelinechannel--audit-images-verdict'] == 'passed'"]
    (inside,) = (dag["dag"]["tasks"] for name, dag in documents[0]["components"].items() if "condition" in name)
    assert list(inside) == ["publish-images"]
    assert "compare-classifiers" in documents[0]["root"]["dag"]["tasks"]


def test_report_and_release_are_made_anew_each_time(documents):
    uncached = {
        name for name, task in all_tasks(documents[0]).items() if not task["cachingOptions"].get("enableCache", False)
    }
    assert uncached == {"compare-classifiers", "publish-images"}


def test_every_gpu_step_asks_for_what_the_parameters_say(documents):
    pipeline, platform = documents
    executors = pipeline["deploymentSpec"]["executors"]
    for name, task in all_tasks(pipeline).items():
        if verb_of(name) in CPU_STEPS:
            assert "resources" not in executors[f"exec-{name}"]["container"]
            assert set(platform[f"exec-{name}"]) == {"activeDeadlineSeconds"}
            continue
        count = "gpu_count_gan" if verb_of(name) == "train-gan" else "gpu_count"
        accelerator = executors[f"exec-{name}"]["container"]["resources"]["accelerator"]
        assert accelerator == {
            "resourceCount": f"{{{{$.inputs.parameters['pipelinechannel--{count}']}}}}",
            "resourceType": "{{$.inputs.parameters['pipelinechannel--gpu_type']}}",
        }
        assert task["inputs"]["parameters"][f"pipelinechannel--{count}"] == {"componentInputParameter": count}
        asked = platform[f"exec-{name}"]
        assert asked["nodeSelector"] == {"nodeSelectorJson": {"componentInputParameter": "gpu_node_selector"}}
        assert asked["tolerations"] == [{"tolerationJson": {"componentInputParameter": "gpu_tolerations"}}]
        assert asked["emptyDirMounts"] == [
            {"medium": "Memory", "mountPath": "/dev/shm", "sizeLimit": "8Gi", "volumeName": "shm"}
        ]


def test_every_step_is_retried_for_longer_than_it_may_take(documents):
    pipeline, platform = documents
    for name, task in all_tasks(pipeline).items():
        retry = task["retryPolicy"]
        assert retry["maxRetryCount"] == 6
        # Counted from the first start; the default of an hour would end long training.
        assert int(retry["backoffMaxDuration"].rstrip("s")) > int(platform[f"exec-{name}"]["activeDeadlineSeconds"])


def test_training_of_the_gan_may_take_as_long_as_the_reference_did(documents):
    assert int(documents[1]["exec-train-gan"]["activeDeadlineSeconds"]) >= 2 * 4 * 24 * 3600


def test_a_pipeline_is_made_anew_by_each_call():
    assert synthetic_training_set() is not synthetic_training_set()
