"""The table of stages against compiled pipelines: names of steps, verbs, order and counts."""

import functools
import itertools
import re
from collections.abc import Iterable

import pytest
import yaml

from pipelines.compilation import compile_to_yaml
from pipelines.synthetic_training_set import synthetic_training_set
from regan.runs.stages import STAGES, least_steps, step_name

GRAPHS = [
    {"conditional": conditional, "rounds": rounds, "generation_shards": shards}
    for conditional, rounds, shards in itertools.product((True, False), (1, 2), (1, 2))
]
BY_NAME = {stage.name: stage for stage in STAGES}


@functools.cache
def _steps(graph: tuple[tuple[str, int], ...]) -> dict[str, tuple[str, str, frozenset[str]]]:
    pipeline = next(yaml.safe_load_all(compile_to_yaml(synthetic_training_set(**dict(graph)))))
    components = pipeline["components"]
    dags = (pipeline["root"], *components.values())
    tasks = {name: task for dag in dags for name, task in dag.get("dag", {}).get("tasks", {}).items()}
    steps = {
        name: task
        for name, task in tasks.items()
        if "dag" not in components[task["componentRef"]["name"]] and name != "explain-run"
    }
    return {name: (verb_of(task), shown_name(task), inputs_of(task, name, steps)) for name, task in steps.items()}


def steps_of(graph: dict[str, int]) -> dict[str, tuple[str, str, frozenset[str]]]:
    """Verb, shown name and inputs of every step of a compiled pipeline, the exit task left out."""
    return _steps(tuple(graph.items()))


def verb_of(task: dict) -> str:
    component = re.sub(r"-\d+$", "", task["componentRef"]["name"].removeprefix("comp-"))
    return {"filter-image-shards": "filter_images"}.get(component, component.replace("-", "_"))


def shown_name(task: dict) -> str:
    """Its name in the UI; a step without one of its own has that of its component."""
    return task["taskInfo"]["name"].replace("-", " ")


def inputs_of(task: dict, name: str, steps: Iterable[str]) -> frozenset[str]:
    """Steps whose outputs a step takes: of its own group, of a group around it, or of a loop before it."""
    text = yaml.safe_dump(task["inputs"])
    producers = re.findall(r"producerTask: (\S+)", text)
    channels = re.findall(r"pipelinechannel--([\w-]+)", text)  # such as generate-images-2-images: step and output
    owners = [max((s for s in steps if channel.startswith(f"{s}-")), key=len, default=name) for channel in channels]
    return (frozenset(producers) | frozenset(owners)) & frozenset(steps) - {name}


def stage_of(verb: str, shown: str) -> str:
    (stage,) = (s for s in STAGES if any(shown == step or shown.startswith(f"{step} ") for step in s.steps))
    assert stage.verb == verb
    return stage.name


def ancestors(stage: str, needs: dict[str, set[str]]) -> set[str]:
    return set(needs[stage]).union(*(ancestors(before, needs) for before in needs[stage]))


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_every_step_of_a_compiled_pipeline_is_one_of_the_table(graph):
    stages = [stage_of(verb, shown) for verb, shown, _ in steps_of(graph).values()]
    assert set(stages) == set(BY_NAME)
    for name, stage in BY_NAME.items():
        assert stages.count(name) >= len(stage.steps)


def test_the_smallest_pipeline_has_as_many_steps_as_the_table():
    steps = steps_of({}).values()
    assert sorted(shown for _, shown, _ in steps) == sorted(step for stage in STAGES for step in stage.steps)
    verbs = [verb for verb, _, _ in steps]
    last = {stage.verb: stage for stage in STAGES}
    assert {verb: least_steps(stage) for verb, stage in last.items()} == {verb: verbs.count(verb) for verb in verbs}


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_the_order_is_that_of_the_compiled_pipeline(graph):
    steps = steps_of(graph)
    stage = {name: stage_of(verb, shown) for name, (verb, shown, _) in steps.items()}
    order = {name: set() for name in BY_NAME}
    for name, (_, _, before) in steps.items():
        # A later round starts from the classifiers of the one before: within the table's order for one round.
        order[stage[name]] |= {stage[earlier] for earlier in before} - {stage[name]}
    table = {name: set(entry.after) for name, entry in BY_NAME.items()}
    assert {name: ancestors(name, order) for name in BY_NAME} == {name: ancestors(name, table) for name in BY_NAME}


def test_no_stage_lists_what_another_one_before_it_needs_already():
    table = {name: set(entry.after) for name, entry in BY_NAME.items()}
    for name, before in table.items():
        for stage in before:
            assert not before & ancestors(stage, table), name


def test_each_stage_stands_after_those_that_it_needs():
    names = list(BY_NAME)
    assert all(names.index(before) < names.index(name) for name in names for before in BY_NAME[name].after)


def test_the_teacher_is_the_first_of_three_classifiers():
    assert least_steps(BY_NAME["train teacher"]) == 1
    assert least_steps(BY_NAME["train student and control"]) == 3


def test_a_step_that_is_in_no_stage_gets_no_name():
    assert step_name("train student", "", "2") == "train student 2"
    with pytest.raises(ValueError, match=r"No stage .* 'train pupil'"):
        step_name("train pupil")
