import pytest

from regan.common.errors import SettingError
from regan.runs.checks import failures
from regan.runs.parameters import PARAMETERS, Kind
from regan.runs.settings import canonical_values, complete, parse_settings, run_key, settings_checks, training_key

SETTINGS = [name for name, row in PARAMETERS.items() if row.in_settings]
IN_TRAINING = [name for name in SETTINGS if PARAMETERS[name].kind is Kind.TRAINING]
IN_RUN = [name for name in SETTINGS if PARAMETERS[name].in_run_key]


def test_a_number_is_the_same_in_either_spelling_and_a_name_is_not():
    assert parse_settings("data_size=256.0\ngan_kimg=1e3\nreport_margin=0.050") == {
        "data_size": "256",
        "gan_kimg": "1000",
        "report_margin": "0.05",
    }
    assert parse_settings("negative_class=01.0\npositive_class=1.0") == {
        "negative_class": "01.0",
        "positive_class": "1.0",
    }
    assert parse_settings("test_per_class=150.0") == {"test_per_class": "150"}
    assert parse_settings("data_mask_pattern=a=b*") == {"data_mask_pattern": "a=b*"}
    assert parse_settings("") == {}


@pytest.mark.parametrize("text", ["data_size", "=3", "a=1\na=2", "A b=3"])
def test_a_line_that_is_no_setting_is_refused_with_the_line(text):
    with pytest.raises(SettingError, match="not `name=value`, or a name twice"):
        parse_settings(text)


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
        ("gan_seeds", "7"),
        ("gan_seeds", "1-10,20-29"),
        ("gpu_count", "one"),
        ("gpu_count", "-1"),
        ("gpu_count_gan", "1.5"),
        ("gpu_checkpoint_minutes", "0"),
        ("data_sise", "64"),
        ("report_title", "Mine"),
        ("source_uri", "gs://bucket/other"),
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
        ("classifier_filter_confidence", "0.4"),
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
    assert failures(checks)
    assert all(check.expected and check.advice for check in failures(checks))


def test_all_wrong_settings_are_told_at_once():
    checks, _ = settings_checks({"data_size": "x", "gan_seeds": "x", "test_per_class": "x"})
    assert [check.name for check in failures(checks)] == ["data_size", "test_per_class", "gan_seeds"]


def test_a_slip_of_the_pen_is_answered_with_the_name_that_was_meant():
    (check,) = failures(settings_checks({"data_sise": "64"})[0])
    assert check.advice == "Did you mean data_size?"


def test_the_plan_is_that_of_the_settings():
    plan = settings_checks(
        parse_settings("gan_seeds=1-50\nconditional=false\nclassifier_backbone=MobileNet\nrounds=2.0")
    )[1]
    assert (plan.seeds, plan.networks, plan.backbone, plan.rounds) == (50, 2, "MobileNet", 2)


@pytest.mark.parametrize("backbone", ["small", "EfficientNetV2S"])
def test_each_backbone_passes(backbone):
    assert settings_checks({"classifier_backbone": backbone})[1] is not None


def test_a_kept_generator_needs_a_saved_split():
    (check,) = failures(settings_checks({"gan_start_uri": "gs://bucket/generators"})[0])
    assert check.expected.startswith("gan_start_uri needs data_split_uri")
    assert "Set data_split_uri" in check.advice
    kept = {"gan_start_uri": "gs://bucket/generators", "data_split_uri": "gs://bucket/split"}
    assert settings_checks(kept)[1] is not None


def test_what_is_not_named_has_its_default_but_no_place_is_assumed():
    values = complete({"data_size": "64"})
    assert list(values) == SETTINGS
    assert (values["data_size"], values["classifier_backbone"], values["conditional"]) == (
        "64",
        "InceptionResNetV2",
        "True",
    )
    assert {values[name] for name in SETTINGS if PARAMETERS[name].kind is Kind.PLACEMENT} == {""}


def test_values_of_the_pipeline_are_spelled_as_its_lines_are():
    values = {"conditional": False, "data_size": 64.0, "gpu_tolerations": [{}], "source_uri": "x", "report_title": "T"}
    assert canonical_values(values) == parse_settings("conditional=false\ndata_size=64")


def test_a_run_key_changes_with_data_settings_and_version_alone():
    key = run_key("v1", {"data_size": "64", "rounds": "2"}, "0.1.0")
    assert key == run_key("v1", {"rounds": "2", "data_size": "64", "gan_kimg": "0"}, "0.1.0")
    assert len(key) == 16
    others = [("v2", {"data_size": "64", "rounds": "2"}, "0.1.0"), ("v1", {"data_size": "64"}, "0.1.0")]
    assert key not in [run_key(*other) for other in [*others, ("v1", {"data_size": "64", "rounds": "2"}, "0.2")]]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_key_changes_with_each_setting_that_the_result_depends_on_and_no_other(name):
    changed = run_key("v1", {name: "other"}, "0.1.0") != run_key("v1", {}, "0.1.0")
    assert changed == (name in IN_RUN or name == "report_release_uri")


def test_a_run_that_releases_is_another_run_wherever_the_release_goes():
    key, *released = (run_key("v1", {"report_release_uri": uri}, "0.1.0") for uri in ("", "gs://a/x", "gs://b/y"))
    assert released[0] == released[1] != key


def test_a_checkpoint_stays_where_it_is_when_training_only_gets_longer():
    key = training_key("v1", {"gan_kimg": "100", "classifier_epochs": "5"})
    assert key == training_key("v1", {"gan_kimg": "200", "classifier_epochs": "9"}) == training_key("v1", {})
    assert key == training_key("v1", {"data_size": "256"})


@pytest.mark.parametrize("name", IN_TRAINING)
def test_a_checkpoint_moves_with_each_setting_that_training_reads(name):
    assert training_key("v1", {name: "other"}) != training_key("v1", {})
    assert training_key("v1", {}) != training_key("v2", {})


def test_the_keys_of_the_reference_experiment_are_those_of_earlier_versions():
    # Computed before there was a table: an upgrade must not orphan the checkpoints of a run.
    assert training_key("v1", {}) == "cafa1f1a3293fff9"
    assert run_key("v1", {}, "0.1.0") == "696fc1f13ad89b13"


def test_a_uri_with_and_without_a_slash_at_its_end_gives_one_key():
    settings = [parse_settings(f"gan_start_uri=gs://b/a{end}\ndata_split_uri=/s{end}") for end in ("", "/")]
    assert training_key("v1", settings[0]) == training_key("v1", settings[1])
    assert run_key("v1", settings[0], "0.1.0") == run_key("v1", settings[1], "0.1.0")
