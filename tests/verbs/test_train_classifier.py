import json

import numpy as np
import pytest

import regan
from regan.artifacts.history import last_step
from regan.artifacts.image_set import ImageSet
from regan.artifacts.model import file_hash, read_model, read_training_index
from regan.classifier.prediction import Classifier
from regan.storage import push
from tests.servers.start import s3_server, use_s3

SMALL = {"backbone": "small", "weights": "none", "epochs": 2}


def index_of(*paths):
    return {(row.sha256, row.group) for path in paths for row in ImageSet.open(path).rows}


@pytest.fixture(scope="module")
def sets(labelled_set):
    return labelled_set(2), labelled_set(3)


@pytest.fixture(scope="module")
def result(sets, tmp_path_factory):
    return regan.train_classifier(*sets, tmp_path_factory.mktemp("out") / "c", **SMALL)


def test_a_classifier_is_written_whole(result, sets):
    assert result.num_epochs == 2
    assert {p.name for p in result.path.iterdir()} == {
        "model.json",
        "weights.safetensors",
        "training_index.csv.gz",
        "history",
    }
    model = read_model(result.path, "classifier")
    assert (model["classes"], model["positive_class"]) == (["b", "m"], "m")
    assert model["threshold"] == result.threshold
    assert model["first_weights"]["source"] == "none"
    assert read_training_index(result.path) == index_of(*sets)


def test_the_history_tells_what_the_report_needs(result):
    step = last_step(result.path)
    assert step.verb == "train_classifier"
    assert set(step.curves) == {"training_loss", "validation_loss", "validation_auc"}
    assert step.curves["validation_auc"]["x"] == [1, 2]
    assert step.figures == {
        "validation_auc": result.validation_auc,
        "threshold": result.threshold,
        "num_epochs": 2,
        "num_images": 40,
    }
    assert str(result.path.parent) not in json.dumps(step.settings)


def test_the_same_call_gives_the_same_bytes(result, sets, tmp_path):
    again = regan.train_classifier(*sets, tmp_path / "again", **SMALL).path
    names = {"model.json", "weights.safetensors", "training_index.csv.gz"}
    assert all((again / name).read_bytes() == (result.path / name).read_bytes() for name in names)


def test_the_validation_figures_are_those_of_the_stored_classifier(trained_classifier, labelled_set):
    from sklearn.metrics import roc_auc_score

    validation = ImageSet.open(labelled_set(1, b=30, m=30))
    probabilities = Classifier.load(trained_classifier).probabilities(batch for batch, _ in validation.batches(16))
    figures = last_step(trained_classifier).figures
    assert figures["validation_auc"] == roc_auc_score([row.label == "m" for row in validation.rows], probabilities)
    assert figures["validation_auc"] > 0.95


def test_training_goes_on_from_a_start_and_the_index_keeps_all_that_was_seen(
    trained_classifier, labelled_set, tmp_path
):
    images = labelled_set(4, origin="synthetic", training_index=[("real", "patient")])
    validation = labelled_set(1, b=30, m=30)
    result = regan.train_classifier(images, validation, tmp_path / "c", start=trained_classifier, **SMALL)
    assert result.validation_auc > 0.95
    assert read_training_index(result.path) == read_training_index(trained_classifier) | index_of(images) | {
        ("real", "patient")
    }
    assert last_step(result.path).inputs["start"] == [last_step(trained_classifier).id]


def test_the_reference_recipe_shows_the_validation_images_to_training_and_decides_at_one_half(
    result, labelled_set, tmp_path, caplog
):
    # 40 images and 24 more for validation make two batches of 32; the images alone make one.
    caplog.set_level("INFO", logger="regan")
    reference = regan.train_classifier(
        labelled_set(2), labelled_set(3, b=12, m=12), tmp_path / "r", **(SMALL | {"recipe": "reference", "epochs": 1})
    )
    assert "Train classifier: done, 2 steps" in caplog.text
    assert reference.threshold == 0.5
    scalings = [Classifier.load(path).configuration.scaling for path in (reference.path, result.path)]
    assert scalings == ["unit", "backbone"]


@pytest.mark.slow
def test_an_application_backbone_is_trained_and_comes_back(labelled_set, tmp_path):
    result = regan.train_classifier(
        labelled_set(2), labelled_set(3), tmp_path / "c", backbone="MobileNet", weights="none", epochs=1
    )
    images = np.stack(list(ImageSet.open(labelled_set(5)).images()))
    one, other = (Classifier.load(result.path).probabilities([images]) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "best"}, "`recipe` must be one of standard, reference"),
        ({"epochs": 0}, "epochs=0 is too small: use 1 or more"),
        ({"batch_size": 0}, "batch_size=0 is too small: use 1 or more"),
        ({"weights": "imagenet"}, "no pretrained weights"),
        ({"backbone": "Inception"}, "must be `small` or one of keras.applications"),
    ],
)
def test_a_wrong_setting_is_refused_and_nothing_is_left(labelled_set, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        regan.train_classifier(labelled_set(2), labelled_set(3), tmp_path / "c", **(SMALL | settings))
    assert list(tmp_path.iterdir()) == []


def test_sets_that_do_not_fit_are_refused(labelled_set, tmp_path):
    with pytest.raises(ValueError, match="differ in size"):
        regan.train_classifier(labelled_set(2), labelled_set(3, size=64), tmp_path / "c", **SMALL)
    with pytest.raises(ValueError, match=r"`images` contains no images of class b"):
        regan.train_classifier(labelled_set(2, b=0), labelled_set(3), tmp_path / "c", **SMALL)
    with pytest.raises(ValueError, match=r"overlap with training data \(\d+ of"):
        regan.train_classifier(labelled_set(2), labelled_set(2), tmp_path / "c", **SMALL)


def test_an_output_that_holds_something_is_refused(labelled_set, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        regan.train_classifier(labelled_set(2), labelled_set(3), tmp_path, **SMALL)


def test_weights_may_lie_in_object_storage(sets, test_data, tmp_path, monkeypatch):
    file = next((test_data / "mobilenet_imagenet").glob("*.weights.h5"))
    with s3_server() as url:
        address = use_s3(url, monkeypatch.setenv) + "/weights"
        push(file.parent, address)
        weights = f"{address}/{file.name}"
        made = regan.train_classifier(*sets, tmp_path / "c", backbone="MobileNet", weights=weights, epochs=1)
    first = read_model(made.path, "classifier")["first_weights"]
    assert (first["source"], first["sha256"]) == (file.name, file_hash(file))
