"""The contract of all signatures: each says what the table of parameters says."""

import inspect
import types
from typing import Literal, Union, get_args, get_origin

import pytest
from docstring_parser import parse

import components
import regan
from pipelines.synthetic_training_set import synthetic_training_set
from regan.runs.parameter_row import OneOf, Parameter, Real, Whole
from regan.runs.parameters import DEFAULTS, PARAMETERS, STAGES, Kind
from regan.runs.verb_parameters import VERB_PARAMETERS

VERBS = [*regan.VERBS, "preflight", "explain_run"]
OF_A_SHARD = {"filter_image_shards": "filter_images"}  # the same verb with lists of image sets
GRAPH = [name for name, row in PARAMETERS.items() if row.stage == "graph"]
ROWS = PARAMETERS | VERB_PARAMETERS


def described(function) -> dict[str, str]:
    return {p.arg_name: " ".join(p.description.split()) for p in parse(inspect.getdoc(function)).params}


def kind_of(annotation, row) -> str:
    """Name of the type; that of the table for the words and paths that it allows."""
    if get_origin(annotation) is Literal:
        same = isinstance(row.allowed, OneOf) and get_args(annotation) == row.allowed.words
        return "str" if same else str(annotation)
    if get_origin(annotation) in (Union, types.UnionType) and row.is_uri:
        return "str"
    return getattr(annotation, "__name__", str(annotation))


def differences(function, rows) -> list[str]:
    """What a signature and its docstring say otherwise than the table, a line each."""
    signature, texts, found = inspect.signature(function, eval_str=True), described(function), []
    for name, row in rows.items():
        parameter = signature.parameters[name]
        default = None if parameter.default is inspect.Parameter.empty else parameter.default
        kind = kind_of(parameter.annotation, row)
        if (default, type(default)) != (row.default, type(row.default)):
            found.append(f"{name} has the default {default!r}, the table {row.default!r}")
        if kind != row.type.__name__:
            found.append(f"{name} has the type {kind}, the table {row.type.__name__}")
        if not texts.get(name, "").startswith(row.about):
            found.append(f"{name} is described as {texts.get(name)!r}, the table begins with {row.about!r}")
    return found


def feeding(verb: str, name: str) -> Parameter | None:
    """The row whose value a parameter of a verb takes; None where the table has none."""
    wanted = f"{verb}.{name}"
    return next((row for row in ROWS.values() if wanted in (row.feeds or (row.name,))), None)


def settings_of(verb: str) -> dict:
    """Rows of a verb's parameters: those that its component takes as values, not as artifacts."""
    names = inspect.signature(getattr(components, verb).python_func, eval_str=True).parameters.items()
    values = [name for name, parameter in names if parameter.annotation in (str, int, float, bool)]
    return {name: feeding(OF_A_SHARD.get(verb, verb), name) for name in values}


@pytest.fixture(scope="module")
def pipeline():
    return synthetic_training_set().pipeline_func


@pytest.mark.parametrize("verb", components.__all__)
def test_a_component_says_what_the_table_says(verb):
    rows = settings_of(verb)
    assert [name for name, row in rows.items() if row is None] == [], "the table has no row for these"
    assert differences(getattr(components, verb).python_func, rows) == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_what_the_table_says(verb):
    function = getattr(regan, verb)
    known = inspect.signature(function).parameters
    assert differences(function, {name: row for name, row in settings_of(verb).items() if name in known}) == []


def test_the_pipeline_says_what_the_table_says(pipeline):
    rows = {name: row for name, row in PARAMETERS.items() if name not in GRAPH}
    assert list(inspect.signature(pipeline).parameters) == list(rows)
    assert differences(pipeline, rows) == []


def test_the_maker_of_the_pipeline_says_what_the_table_says():
    assert list(inspect.signature(synthetic_training_set).parameters) == GRAPH
    assert differences(synthetic_training_set, {name: PARAMETERS[name] for name in GRAPH}) == []


def test_the_preflight_takes_no_parameter_of_the_pipeline_but_in_its_settings():
    # An argument beside the settings was a second source: the classifiers' backbone of the costs came from there.
    assert list(inspect.signature(regan.preflight).parameters) == ["source_uri", "report", "settings", "pipeline_root"]


def test_every_row_feeds_a_parameter_that_there_is():
    fed = {f"{verb}.{name}" for verb in VERBS for name in settings_of(verb)}
    named = [target for row in ROWS.values() for target in row.feeds]
    named += [name for name, row in VERB_PARAMETERS.items() if not row.feeds]
    assert set(named) == fed
    assert len(named) == len(set(named)), "two rows feed one parameter"


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_one_plain_sentence_and_allows_its_own_default(name):
    row = ROWS[name]
    assert row.about.endswith(".")
    assert ". " not in row.about.replace("e.g. ", "")
    if row.allowed and row.default != "":
        assert row.allowed.allows(str(row.default))
    assert not row.is_uri or row.kind in (Kind.PLACEMENT, Kind.TRAINING)


def test_every_stage_has_rows_and_every_row_a_stage():
    assert list(dict.fromkeys(row.stage for row in PARAMETERS.values())) == list(STAGES)
    assert DEFAULTS["source_uri"] is None


# Verbs check their own settings before they read a file. The table must allow what they allow.
CHECKED_FIRST = ("prepare_images", "select_snapshot", "filter_images", "audit_images", "generate_images")


def call(verb, tmp_path, **settings):
    """Call a verb on inputs that do not exist."""
    paths = [
        name
        for name, p in inspect.signature(getattr(regan, verb)).parameters.items()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    return getattr(regan, verb)(*(str(tmp_path / name) for name in paths), **settings)


RANGES = [
    (target, row)
    for row in PARAMETERS.values()
    if isinstance(row.allowed, Whole | Real)
    for target in row.feeds
    if target.partition(".")[0] in CHECKED_FIRST and not target.endswith(".seed")
]


@pytest.mark.parametrize(("target", "row"), RANGES, ids=[target for target, _ in RANGES])
def test_a_verb_refuses_what_the_table_refuses_and_takes_what_it_allows(tmp_path, target, row):
    verb, _, name = target.partition(".")
    step = 1 if row.type is int else 0.01
    edge = row.allowed.least + (step if getattr(row.allowed, "is_open", False) else 0)
    with pytest.raises(ValueError, match=name):
        call(verb, tmp_path, **{name: edge - step})
    with pytest.raises(FileNotFoundError):
        call(verb, tmp_path, **{name: edge})
