"""Parameters that a person writes."""

import pytest
import yaml

from pipelines.compilation import compiled
from pipelines.parameters import PRESETS, share_for_test, typed
from pipelines.synthetic_training_set import synthetic_training_set


@pytest.fixture(scope="module")
def specification() -> dict:
    return next(yaml.safe_load_all(compiled(synthetic_training_set())))


def test_each_value_takes_the_type_of_its_parameter(specification):
    settings = {
        "gan_kimg": "24",
        "classifier_epochs": "1_000",
        "gpu_count": "2",
        "gpu_node_selector": '{"pool": "a100"}',
        "gpu_tolerations": '[{"operator": "Exists"}]',
    }
    assert typed(settings, specification) == {
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
        ("gan_kimg", "many", "--set gan_kimg expects a number. Received 'many'."),
        ("gpu_tolerations", "[", "--set gpu_tolerations expects a JSON list. Received '['."),
        ("gan_kmig", "1", "Received 'gan_kmig'. Did you mean gan_kimg?"),
        ("negative_class", "a", "`negative_class` is set by --classes, not by --set."),
    ],
)
def test_a_wrong_setting_is_explained(specification, name, text, message):
    with pytest.raises(ValueError) as raised:
        typed({name: text}, specification)
    assert message in str(raised.value)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_names_parameters_of_the_pipeline_and_changes_them(specification, preset):
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    for name, value in PRESETS[preset].items():
        assert parameters[name]["defaultValue"] != value, f"{preset}: {name} is the default"
        assert type(parameters[name]["defaultValue"]) in (type(value), float)


@pytest.mark.parametrize(("rarer", "share"), [(10_000, 150), (600, 150), (599, 149), (40, 10), (8, 2), (7, 2), (4, 2)])
def test_the_test_takes_at_most_a_quarter_of_the_rarer_class_but_two_images(rarer, share):
    assert share_for_test({"benign": 20_000, "malignant": rarer}, 150) == share


@pytest.mark.parametrize("rarer", [0, 3])
def test_too_few_images_for_a_test_are_counted(rarer):
    with pytest.raises(ValueError, match=rf"Found benign: 20, malignant: {rarer}\. Add images, or .*--classes"):
        share_for_test({"benign": 20, "malignant": rarer}, 150)
