import ast
from pathlib import Path

import pytest

from regan.runs.checks import failed
from regan.runs.settings import DEFAULTS, READ_BY_TRAINING, parsed, run_key, settings_checks, training_key

ROOT = Path(__file__).resolve().parents[2]


def test_a_number_is_the_same_in_either_spelling_and_a_name_is_not():
    assert parsed("data_size=256.0\ngan_kimg=1e3\nreport_margin=0.050") == {
        "data_size": "256",
        "gan_kimg": "1000",
        "report_margin": "0.05",
    }
    assert parsed("negative_class=01.0\npositive_class=1.0") == {"negative_class": "01.0", "positive_class": "1.0"}
    assert parsed("test_per_class=150.0") == {"test_per_class": "150"}
    assert parsed("data_mask_pattern=a=b*") == {"data_mask_pattern": "a=b*"}
    assert parsed("") == {}


@pytest.mark.parametrize("text", ["data_size", "=3", "a=1\na=2", "A b=3"])
def test_a_line_that_is_no_setting_is_refused_with_the_line(text):
    with pytest.raises(ValueError, match="lines `name=value`, each name once"):
        parsed(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data_size", "100"),
        ("data_size", "256.5"),
        ("data_size", "nan"),
        ("data_size", "2048"),
        ("data_channels", "2"),
        ("data_validation_fraction", "1"),
        ("data_validation_fraction", "x"),
        ("test_per_class", "1"),
        ("gan_preset", "config-z"),
        ("gan_kimg", "-1"),
        ("gan_kimg", "0.05"),
        ("gan_keep_snapshots", "0"),
        ("gan_keep_snapshots", "1"),
        ("gan_start_uri", "gs://bucket/generators"),
        ("gan_seeds", "5-1"),
        ("gan_seeds", "1-99999999999"),
        ("gan_seeds", "one"),
        ("gan_seeds", "1-10:5/4"),
        ("gan_seeds", ""),
        ("classifier_epochs", "0"),
        ("rounds", "0"),
        ("rounds", "inf"),
        ("conditional", "perhaps"),
        ("data_unchanged", "maybe"),
        ("data_seed", "-1"),
        ("gan_kimg", "nan"),
        ("gan_augment", "sharpen"),
        ("gan_precision", "float16"),
        ("gan_mapping_layers", "-1"),
        ("gan_mapping_layers", "1.5"),
        ("gan_selection_images", "15"),
        ("gan_truncation_psi", "-0.1"),
        ("gan_features", "mobilenet"),
        ("gan_features", "MobileNett/conv:cut.weights.h5"),
        ("classifier_backbone", "ResNet51"),
        ("classifier_recipe", "standart"),
        ("classifier_batch_size", "0"),
        ("classifier_filter_rule", "agreed"),
        ("classifier_filter_confidence", "1.1"),
        ("classifier_images_per_class", "-1"),
        ("report_features", ""),
        ("report_max_memorised", "2"),
        ("report_endpoint", "auk"),
        ("report_margin", "0"),
        ("report_margin", "1"),
        ("report_margin", "5 %"),
    ],
)
def test_a_setting_that_would_fail_on_the_third_day_fails_now(name, value):
    checks, plan = settings_checks({name: value})
    assert plan is None
    assert failed(checks)
    assert all(check.expected and check.advice for check in failed(checks))


def test_all_wrong_settings_are_told_at_once():
    checks, _ = settings_checks({"data_size": "x", "gan_seeds": "x", "test_per_class": "x"})
    assert [check.name for check in failed(checks)] == ["data_size", "test_per_class", "gan_seeds"]


@pytest.mark.parametrize(("seeds", "number"), [("1-25000", 25_000), ("1-10,20", 11), ("1-100+2:1/3", 33), ("7", 1)])
def test_the_plan_counts_seeds_as_generation_does(seeds, number):
    from regan.verbs.generate_images import parse_seeds

    _, plan = settings_checks({"gan_seeds": seeds})
    assert plan.seeds == number == len(parse_seeds(seeds))


def defaults(function):
    """Name -> default of a function of the pipeline's source, which is not run: the compiler takes seconds."""
    tree = ast.parse((ROOT / "pipelines" / "synthetic_training_set.py").read_text())
    found = next(node.args for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function)
    pairs = [*zip(found.args[::-1], found.defaults[::-1]), *zip(found.kwonlyargs, found.kw_defaults)]
    return {argument.arg: ast.literal_eval(default) for argument, default in pairs}


def test_the_defaults_are_those_of_the_pipeline():
    known = defaults("pipeline") | defaults("synthetic_training_set")
    for name, value in DEFAULTS.items():
        assert parsed(f"{name}={known[name]}")[name].lower() == value.lower(), name
    assert set(READ_BY_TRAINING) <= set(known)


def test_a_run_key_changes_with_data_settings_and_version_alone():
    key = run_key("v1", {"a": "1", "b": "2"}, "0.1.0")
    assert key == run_key("v1", {"b": "2", "a": "1"}, "0.1.0")
    assert len(key) == 16
    others = [("v2", {"a": "1", "b": "2"}, "0.1.0"), ("v1", {"a": "1"}, "0.1.0"), ("v1", {"a": "1", "b": "2"}, "0.2")]
    assert key not in [run_key(*other) for other in others]


def test_a_checkpoint_stays_where_it_is_when_training_only_gets_longer():
    key = training_key("v1", {"gan_kimg": "100", "classifier_epochs": "5"})
    assert key == training_key("v1", {"gan_kimg": "200", "classifier_epochs": "9"}) == training_key("v1", {})
    assert key == training_key("v1", {"data_size": "256"})


@pytest.mark.parametrize("name", READ_BY_TRAINING)
def test_a_checkpoint_moves_with_each_setting_that_training_reads(name):
    assert training_key("v1", {name: "other"}) != training_key("v1", {})
    assert training_key("v1", {}) != training_key("v2", {})
