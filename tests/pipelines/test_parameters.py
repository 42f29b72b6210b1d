"""Parameters that a person writes."""

import pytest
import yaml

from pipelines.compilation import compile_to_yaml
from pipelines.parameters import PRESETS, convert_types, require_sense, share_for_test
from pipelines.synthetic_training_set import synthetic_training_set
from regan.common.errors import SettingError, TooFewImagesError
from regan.runs.parameters import DEFAULTS


@pytest.fixture(scope="module")
def specification() -> dict:
    return next(yaml.safe_load_all(compile_to_yaml(synthetic_training_set())))


def test_each_value_takes_the_type_of_its_parameter(specification):
    settings = {
        "gan_kimg": "24",
        "classifier_epochs": "1_000",
        "gpu_count": "2",
        "gpu_node_selector": '{"pool": "a100"}',
        "gpu_tolerations": '[{"operator": "Exists"}]',
    }
    assert convert_types(settings, specification) == {
        "gan_kimg": 24.0,
        "classifier_epochs": 1000,
        "gpu_count": "2",
        "gpu_node_selector": {"pool": "a100"},
        "gpu_tolerations": [{"operator": "Exists"}],
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classifier_epochs", "1.5", "--set classifier_epochs expects a whole number. Received '1.5'."),
        ("gan_kimg", "many", "--set gan_kimg expects a finite number. Received 'many'."),
        ("gan_kimg", "nan", "--set gan_kimg expects a finite number. Received 'nan'."),
        ("gpu_checkpoint_minutes", "inf", "--set gpu_checkpoint_minutes expects a finite number. Received 'inf'."),
        ("gpu_count", "two", "--set gpu_count expects a whole number in digits. Received 'two'."),
        ("gpu_count_gan", "-1", "--set gpu_count_gan expects a whole number in digits. Received '-1'."),
        ("gpu_node_selector", "[1]", "--set gpu_node_selector expects a JSON object. Received '[1]'."),
        ("gpu_tolerations", "{}", "--set gpu_tolerations expects a JSON list. Received '{}'."),
        ("gpu_tolerations", "[", "--set gpu_tolerations expects a JSON list. Received '['."),
        ("gan_kmig", "1", "no parameter of the pipeline: 'gan_kmig'. Did you mean gan_kimg?"),
        ("negative_class", "a", "`negative_class` cannot be set by --set. Use --classes."),
    ],
)
def test_a_wrong_setting_is_explained(specification, name, text, message):
    with pytest.raises(SettingError) as raised:
        convert_types({name: text}, specification)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"report_endpoint": "auk"},
            "report_endpoint: expected one of auc, accuracy, sensitivity, specificity. Received",
        ),
        (
            {"data_size": 100},
            "data_size: expected one of 32, 64, 128, 256, 512, 1024. Received 100. Set data_size to",
        ),
        ({"rounds": 0}, "rounds: expected a whole number from 1 to 1,000. Received 0. Set rounds to"),
        ({"gan_start_uri": "gs://b/g"}, "gan_start_uri needs data_split_uri"),
    ],
)
def test_a_value_that_the_preflight_would_refuse_is_refused_in_one_line(values, message):
    with pytest.raises(SettingError) as raised:
        require_sense(values)
    (line,) = str(raised.value).splitlines()
    assert message in line


def test_lists_objects_and_flags_make_sense():
    require_sense({"gpu_tolerations": [{"key": "a"}], "gpu_node_selector": {"a": "b"}, "conditional": False})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_sense(preset):
    require_sense(PRESETS[preset])


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_names_parameters_of_the_pipeline_and_changes_them(preset):
    for name, value in PRESETS[preset].items():
        assert DEFAULTS[name] != value, f"{preset}: {name} is the default"
        assert type(DEFAULTS[name]) is type(value)


@pytest.mark.parametrize(("rarer", "share"), [(10_000, 150), (600, 150), (599, 149), (40, 10), (8, 2), (7, 2), (4, 2)])
def test_the_test_takes_at_most_a_quarter_of_the_rarer_class_but_two_images(rarer, share):
    assert share_for_test({"benign": 20_000, "malignant": rarer}, 150) == share


@pytest.mark.parametrize("rarer", [0, 3])
def test_too_few_images_for_a_test_are_counted(rarer):
    with pytest.raises(TooFewImagesError, match=rf"Found benign: 20, malignant: {rarer}\. Add images, or .*--classes"):
        share_for_test({"benign": 20, "malignant": rarer}, 150)
