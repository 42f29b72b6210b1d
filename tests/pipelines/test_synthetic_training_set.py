"""The compiled pipeline: its parameters and its graph."""

import json
import re
from pathlib import Path

import pytest
import yaml

from pipelines.compilation import manifests
from pipelines.synthetic_training_set import synthetic_training_set
from regan.common.errors import SettingError
from regan.runs.parameters import PARAMETERS
from regan.verbs.generate_images import parse_seeds

ROOT = Path(__file__).resolve().parents[2]
NAME = "pipelines/synthetic_training_set.yaml"
GROUPS = ("data_", "gan_", "classifier_", "gpu_", "test_", "report_")
OWN_NAMES = {"source_uri", "negative_class", "positive_class"}


@pytest.fixture(scope="module", params=[True, False], ids=["conditional", "one GAN a class"])
def pipeline(request) -> dict:
    return compile_to_yaml(conditional=request.param)


@pytest.fixture
def parameters(pipeline) -> dict:
    return pipeline["root"]["inputDefinitions"]["parameters"]


def compile_to_yaml(**graph) -> dict:
    return next(yaml.safe_load_all(manifests(**graph)[NAME]))


def all_tasks(pipeline: dict) -> dict[str, dict]:
    """Steps by name, without the groups that they stand in."""
    components = pipeline["components"]
    tasks = {
        name: task
        for dag in (pipeline["root"], *components.values())
        for name, task in dag.get("dag", {}).get("tasks", {}).items()
    }
    return {name: task for name, task in tasks.items() if "dag" not in components[task["componentRef"]["name"]]}


def group_of(pipeline: dict, step: str) -> dict:
    """Tasks of the group that a step stands in."""
    dags = (pipeline["root"], *pipeline["components"].values())
    (tasks,) = (dag["dag"]["tasks"] for dag in dags if step in dag.get("dag", {}).get("tasks", {}))
    return tasks


def verb_of(task: str) -> str:
    return task.rstrip("0123456789").rstrip("-")


def constant(task: dict, name: str) -> str:
    return task["inputs"]["parameters"][name]["runtimeValue"]["constant"]


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


def test_no_gpu_setting_is_an_integer(pipeline, parameters):
    # kfp 2.17 drops an integer number of GPUs without a word, and the pod starts without one.
    kinds = {name: parameters[name]["parameterType"] for name in parameters if name.startswith("gpu_")}
    assert [name for name, kind in kinds.items() if kind == "NUMBER_INTEGER"] == []
    assert kinds["gpu_count"] == kinds["gpu_count_gan"] == kinds["gpu_type"] == "STRING"


def test_no_class_name_is_compiled_in(pipeline):
    text = yaml.safe_dump(pipeline).lower()
    assert [name for name in ("benign", "malignant") if name in text] == []


def test_class_names_come_from_the_prepared_images(pipeline):
    tasks = all_tasks(pipeline)
    for task, output in (("generate-images", "negative_class"), ("generate-images-2", "positive_class")):
        label = tasks[task]["inputs"]["parameters"]["label"]["taskOutputParameter"]
        assert label == {"outputParameterKey": output, "producerTask": "prepare-images"}


@pytest.mark.parametrize("rounds", [1, 3])
def test_each_class_has_seeds_of_its_own_in_each_round(rounds):
    tasks = all_tasks(compile_to_yaml(rounds=rounds))
    generated = sorted(
        (name for name in tasks if verb_of(name) == "generate-images"), key=lambda name: (len(name), name)
    )
    parameter = "{{$.inputs.parameters['pipelinechannel--gan_seeds']}}"
    assert [constant(tasks[name], "seeds") for name in generated] == [f"{parameter}+{k}" for k in range(2 * rounds)]


@pytest.mark.parametrize("block", range(4))
def test_image_i_of_class_k_in_round_r_has_a_seed_of_its_own(block):
    # first_seed + ((r * 2 + k) * per_round) + i
    assert parse_seeds(f"101-150+{block}") == [101 + block * 50 + i for i in range(50)]


def test_rounds_go_on_with_the_student_and_the_control_of_the_round_before():
    tasks = all_tasks(compile_to_yaml(rounds=2))
    starts = {
        name: task["inputs"]["artifacts"]["start"]["taskOutputArtifact"]["producerTask"]
        for name, task in tasks.items()
        if "start" in task["inputs"].get("artifacts", {})
    }
    display = {name: tasks[name]["taskInfo"]["name"] for name in tasks}
    assert {display[name]: display[start] for name, start in starts.items()} == {
        "train student 2": "train student 1",
        "train control 2": "train control 1",
    }
    assert {display[name] for name in tasks} >= {"train teacher", "audit images 1", "audit images 2", "draw control 2"}


def test_shards_are_loops_whose_parts_make_up_the_seeds():
    pipeline = compile_to_yaml(generation_shards=3)
    loops = [
        task
        for dag in pipeline["components"].values()
        for task in dag.get("dag", {}).get("tasks", {}).values()
        if "parameterIterator" in task
    ]
    assert [json.loads(loop["parameterIterator"]["items"]["raw"]) for loop in loops] == [["1/3", "2/3", "3/3"]] * 2
    tasks = all_tasks(pipeline)
    seeds = constant(tasks["generate-images-2"], "seeds")
    assert re.fullmatch(r".*gan_seeds'\]\}\}\+1:\{\{.*loop-item-param-\d+'\]\}\}", seeds)
    assert {verb_of(name) for name in tasks if name.startswith("filter")} == {"filter-image-shards"}
    parts = [seed for part in ("1/3", "2/3", "3/3") for seed in parse_seeds(f"1-100+1:{part}")]
    assert parts == parse_seeds("1-100+1")


def test_by_default_there_is_no_loop(pipeline):
    assert "parameterIterator" not in yaml.safe_dump(pipeline)


@pytest.mark.parametrize("graph", [{"rounds": 0}, {"generation_shards": 0}, {"generation_shards": 17}])
def test_a_graph_that_kubeflow_cannot_run_is_refused(graph):
    with pytest.raises(SettingError, match=r"out of range\. Received .* 1 or more rounds and 1 to 16 shards\."):
        synthetic_training_set(**graph)


def test_one_conditional_network_or_one_a_class():
    conditional, per_class = (all_tasks(compile_to_yaml(conditional=conditional)) for conditional in (True, False))
    assert [name for name in conditional if name.startswith("train-gan")] == ["train-gan"]
    assert sorted(name for name in per_class if name.startswith("train-gan")) == ["train-gan", "train-gan-2"]
    labels = [per_class[name]["inputs"]["parameters"]["label"] for name in ("train-gan", "train-gan-2")]
    assert [label["taskOutputParameter"]["outputParameterKey"] for label in labels] == [
        "negative_class",
        "positive_class",
    ]


def test_only_the_evaluation_opens_the_test_images(pipeline):
    readers = {
        name
        for name, task in all_tasks(pipeline).items()
        for artifact in task.get("inputs", {}).get("artifacts", {}).values()
        if artifact.get("taskOutputArtifact") == {"outputArtifactKey": "test", "producerTask": "prepare-images"}
    }
    assert {verb_of(name) for name in readers} == {"evaluate-classifier"}
    assert len(readers) == 3


def test_the_control_has_as_many_images_as_the_student(pipeline):
    control = all_tasks(pipeline)["filter-images-2"]["inputs"]["parameters"]
    assert control["rule"]["runtimeValue"]["constant"] == "none"
    assert control["per_class"]["taskOutputParameter"] == {
        "outputParameterKey": "per_class",
        "producerTask": "filter-images",
    }


def test_a_failed_audit_stops_the_release_and_not_the_report(pipeline):
    tasks = group_of(pipeline, "compare-classifiers")
    conditions = {name: task["triggerPolicy"]["condition"] for name, task in tasks.items() if "triggerPolicy" in task}
    assert list(conditions.values()) == ["inputs.parameter_values['pipelinechannel--audit-images-verdict'] == 'passed'"]
    assert list(group_of(pipeline, "publish-images")) == ["publish-images"]


def test_after_several_rounds_nothing_is_released_unless_every_audit_passed():
    pipeline = compile_to_yaml(rounds=2)
    dags = (component.get("dag", {}) for component in pipeline["components"].values())
    conditions = " ".join(
        task.get("triggerPolicy", {}).get("condition", "") for dag in dags for task in dag.get("tasks", {}).values()
    )
    assert {name for name in all_tasks(pipeline) if verb_of(name) == "publish-images"} == {
        "publish-images",
        "publish-images-2",
    }
    released = group_of(pipeline, "publish-images")
    assert set(released) == {"publish-images", "publish-images-2"}
    for audit in ("audit-images-verdict", "audit-images-2-verdict"):
        assert f"pipelinechannel--{audit}'] == 'passed'" in conditions


def test_steps_whose_answer_may_change_are_made_anew_each_time(pipeline):
    uncached = {name for name, task in all_tasks(pipeline).items() if not task["cachingOptions"].get("enableCache")}
    assert uncached == {"preflight", "compare-classifiers", "publish-images", "explain-run"}


def test_nothing_runs_before_the_preflight_nor_when_nothing_is_new(pipeline):
    tasks = group_of(pipeline, "preflight")
    (name,) = set(tasks) - {"preflight"}
    assert tasks[name]["triggerPolicy"]["condition"] == (
        "inputs.parameter_values['pipelinechannel--preflight-go'] == 'yes'"
    )
    assert "prepare-images" in pipeline["components"][tasks[name]["componentRef"]["name"]]["dag"]["tasks"]


def test_the_version_of_the_data_is_part_of_every_cache_key(pipeline):
    version = all_tasks(pipeline)["prepare-images"]["inputs"]["parameters"]["data_version"]
    assert version == {"componentInputParameter": "pipelinechannel--preflight-data_version"}


def test_the_last_word_is_said_after_every_run(pipeline):
    task = pipeline["root"]["dag"]["tasks"]["explain-run"]
    assert task["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def test_training_goes_on_from_an_address_that_data_and_settings_share(pipeline):
    address = {"componentInputParameter": "pipelinechannel--preflight-checkpoint_uri"}
    trained = {name: task for name, task in all_tasks(pipeline).items() if name.startswith("train-")}
    assert {str(task["inputs"]["parameters"]["checkpoint_uri"]) for task in trained.values()} == {str(address)}
    names = [constant(task, "checkpoint_name") for name, task in trained.items() if verb_of(name) == "train-classifier"]
    assert sorted(names) == ["control", "student", "teacher"]


def test_training_is_not_done_anew_because_a_setting_of_the_report_changed(pipeline):
    trained = [task for name, task in all_tasks(pipeline).items() if name.startswith("train-")]
    assert trained
    assert "run_key" not in str(trained)


def test_the_preflight_receives_every_setting_by_its_own_name(pipeline):
    inputs = all_tasks(pipeline)["preflight"]["inputs"]["parameters"]
    named = dict(line.split("=", 1) for line in constant(all_tasks(pipeline)["preflight"], "settings").splitlines())
    assert set(named) == {name for name, row in PARAMETERS.items() if row.in_settings}
    graph = {name: named.pop(name) for name in ("conditional", "rounds")}
    assert graph == {"conditional": str("train-gan-2" not in all_tasks(pipeline)), "rounds": "1"}
    assert all(value.endswith(f"pipelinechannel--{name}']}}}}") for name, value in named.items())
    assert inputs["source_uri"]["componentInputParameter"] == "pipelinechannel--source_uri"


def test_a_pipeline_is_made_anew_by_each_call():
    assert synthetic_training_set() is not synthetic_training_set()
