"""The contract of all components: what they take and call. Defaults and descriptions: tests/runs/test_parameters.py."""

import ast
import inspect
import textwrap

import pytest
import yaml

import components
import regan
from components._image import CPU_IMAGE, GPU_IMAGE
from pipelines.compilation import compile_to_yaml

VERBS = [name for name in components.__all__ if name in regan.VERBS]
# Inputs that the library does not have: they are part of the cache's key and nothing else.
ONLY_FOR_THE_CACHE = {"prepare_images": {"data_version"}}
# Outputs that Kubeflow shows and the library does not write.
ONLY_SHOWN = {"metrics", "matrix", "page"}
NO_NETWORK = {"prepare_images", "compare_classifiers", "publish_images"}


def component(verb):
    return getattr(components, verb)


def parameters(function) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def specification(verb) -> dict:
    return next(yaml.safe_load_all(compile_to_yaml(component(verb))))


def statements(verb) -> list[ast.stmt]:
    source = textwrap.dedent(inspect.getsource(component(verb).python_func))
    function = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    return function.body


def is_call_of_the_library(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "regan"
    )


def test_there_is_one_component_for_each_verb():
    assert sorted(VERBS) == sorted(regan.VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_it_compiles_and_every_input_and_output_is_described(verb):
    spec = specification(verb)["components"]
    (definition,) = spec.values()
    for side in ("inputDefinitions", "outputDefinitions"):
        for kind, entries in definition[side].items():
            for name, entry in entries.items():
                assert entry.get("description"), f"{verb}: {kind[:-1]} {name} of {side} has no description"


@pytest.mark.parametrize("verb", VERBS)
def test_it_installs_nothing_and_runs_in_one_of_our_two_images(verb):
    (executor,) = specification(verb)["deploymentSpec"]["executors"].values()
    assert executor["container"]["image"] == (CPU_IMAGE if verb in NO_NETWORK else GPU_IMAGE)
    assert "pip install" not in " ".join(executor["container"]["command"])


@pytest.mark.parametrize("verb", VERBS)
def test_the_library_has_the_same_parameters_in_the_same_order(verb):
    ours = [
        name
        for name in parameters(component(verb).python_func)
        if name not in ONLY_SHOWN | ONLY_FOR_THE_CACHE.get(verb, set())
    ]
    assert ours == list(parameters(getattr(regan, verb)))


@pytest.mark.parametrize("verb", VERBS)
def test_the_body_is_one_call_of_the_library_and_the_log_of_its_figures(verb):
    _, imported, call, *rest = statements(verb)
    assert ast.unparse(imported) == "import regan"
    assert is_call_of_the_library(call.value)
    assert call.value.func.attr == verb
    for statement in rest:
        assert not any(is_call_of_the_library(node) for node in ast.walk(statement))
        text = ast.unparse(statement)
        assert text.startswith(("metrics.log_metric(", "matrix.log_confusion_matrix(", "page.uri = ", "return (")), text


@pytest.mark.parametrize("verb", VERBS)
def test_the_call_passes_every_parameter_by_its_own_name(verb):
    call = statements(verb)[2].value
    passed = [ast.unparse(argument).removesuffix(".path") for argument in call.args]
    for keyword in call.keywords:
        assert ast.unparse(keyword.value).startswith(keyword.arg)
        passed.append(keyword.arg)
    assert passed == list(parameters(getattr(regan, verb)))


@pytest.mark.parametrize("verb", VERBS)
def test_the_figures_are_fields_of_what_the_verb_returns(verb):
    fields = set(inspect.get_annotations(inspect.signature(getattr(regan, verb), eval_str=True).return_annotation))
    result = ast.unparse(statements(verb)[2].targets[0])
    for statement in statements(verb)[3:]:
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == result:
                assert node.attr in fields, f"{verb} logs {node.attr}, which is no field of {fields}"


@pytest.mark.parametrize("verb", VERBS)
def test_the_file_does_not_postpone_annotations(verb):
    # `from __future__ import annotations` makes strings of them, and KFP then takes artifacts for parameters.
    assert "annotations" not in inspect.getsource(inspect.getmodule(component(verb).python_func)).split('"""')[2]


def test_five_artifacts_may_be_left_out():
    inputs = {verb: next(iter(specification(verb)["components"].values()))["inputDefinitions"] for verb in VERBS}
    optional = {
        (verb, name)
        for verb in VERBS
        for name, entry in inputs[verb].get("artifacts", {}).items()
        if entry.get("isOptional")
    }
    assert optional == {
        ("train_classifier", "start"),
        ("compare_classifiers", "control"),
        ("compare_classifiers", "audit"),
        ("publish_images", "generator"),
        ("publish_images", "generator_positive"),
    }
