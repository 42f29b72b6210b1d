"""What a server is asked to run."""

import pytest
import yaml

from pipelines.job import Job, package, parameters, pipeline_yaml, settings_in, two_classes
from regan.common.errors import SettingError, UnsupportedURIError


def pipeline(**told: dict) -> str:
    known = {"source_uri": {"parameterType": "STRING"}, **told}
    return yaml.safe_dump({"root": {"inputDefinitions": {"parameters": known}}})


def test_the_classes_are_given_in_their_order():
    text = pipeline(**{name: {"parameterType": "STRING"} for name in ("negative_class", "positive_class")})
    values = parameters(text, source="s3://b/x", classes=("benign", "malignant"), settings={})
    assert values == {"source_uri": "s3://b/x", "negative_class": "benign", "positive_class": "malignant"}


def test_what_a_person_sets_wins_over_the_preset():
    preset = parameters(pipeline_yaml(), source="s3://b/x", preset="demo", settings={"data_size": "64"})
    assert preset["data_size"] == 64
    assert preset["classifier_backbone"] == "small"


def test_each_parameter_without_a_value_is_named():
    text = pipeline(length={"parameterType": "NUMBER_INTEGER"}, title={"parameterType": "STRING", "isOptional": True})
    with pytest.raises(SettingError, match=r"do not fit the pipeline: length has no value\."):
        parameters(text, source="s3://b/x", settings={})
    assert parameters(text, source="s3://b/x", settings={"length": "3"})["length"] == 3


def test_a_pipeline_of_another_version_is_told():
    with pytest.raises(SettingError, match="it has no data_size"):
        parameters(pipeline(), source="s3://b/x", preset="demo", settings={})


@pytest.mark.parametrize("source", ["breast", "/data/breast.zip", ""])
def test_a_source_that_no_pod_can_read_is_refused(source):
    with pytest.raises(UnsupportedURIError, match="Upload the images to object storage first"):
        parameters(pipeline(), source=source, settings={})


@pytest.mark.parametrize(
    "text", ["", "a: b: c", "- a", "word", "a: 1", "root: 3", "root:", "root: {inputDefinitions: {parameters: [1]}}"]
)
def test_a_file_that_is_no_pipeline_is_refused(tmp_path, text):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    with pytest.raises(SettingError, match="is not a compiled pipeline"):
        pipeline_yaml(path)


def test_a_pipeline_without_parameters_is_told_what_it_lacks(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text("root: {dag: {}}")
    with pytest.raises(SettingError, match="it has no source_uri"):
        parameters(pipeline_yaml(path), source="s3://b/x", settings={})


@pytest.mark.parametrize("kind", ["folder", "absent", "bytes"])
def test_a_file_that_cannot_be_read_is_named_without_a_number(tmp_path, kind):
    path = tmp_path / "pipeline.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "bytes":
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match=r"pipeline\.yaml cannot be read: ") as raised:
        pipeline_yaml(path)
    assert "Errno" not in str(raised.value)


def test_values_that_make_no_sense_are_refused():
    text = pipeline(report_endpoint={"parameterType": "STRING", "defaultValue": "auc"})
    with pytest.raises(SettingError, match="report_endpoint: expected one of auc"):
        parameters(text, source="s3://b/x", settings={"report_endpoint": "auk"})


def test_a_file_is_taken_as_it_is(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(pipeline())
    assert pipeline_yaml(path) == pipeline()
    with package(Job(pipeline_yaml(path))) as made, open(made) as file:
        assert file.read() == pipeline()


def test_without_the_cache_tasks_in_conditions_lose_it_too():
    def graph(options: dict) -> dict:
        return {"dag": {"tasks": {"task": {"cachingOptions": options, "name": "task"}}}}

    cached = {"enableCache": True}
    documents = [{"root": graph(cached), "components": {"inner": graph(cached), "leaf": {}}}, {"platforms": {}}]
    with package(Job(yaml.safe_dump_all(documents), cache=False)) as made, open(made) as file:
        root, platforms = yaml.safe_load_all(file)
    assert root == {"root": graph({}), "components": {"inner": graph({}), "leaf": {}}}
    assert platforms == {"platforms": {}}


@pytest.mark.parametrize("text", ["benign", "benign,benign", "a,b,c", ",malignant"])
def test_other_than_two_classes_are_refused(text):
    with pytest.raises(SettingError, match="is not two names"):
        two_classes(text)


def test_a_value_may_hold_the_sign_that_separates_it():
    assert settings_in(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    assert two_classes(" benign , malignant") == ("benign", "malignant")
