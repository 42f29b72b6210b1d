import csv
import json

import pytest

import regan
from regan.artifacts.history import last_step
from regan.artifacts.image_set import ImageSet, ImageSetWriter
from regan.classifier.prediction import Classifier


@pytest.fixture(scope="module")
def test_set(labelled_set):
    return labelled_set(7, b=25, m=15)


@pytest.fixture(scope="module")
def evaluated(trained_classifier, test_set, tmp_path_factory):
    return regan.evaluate_classifier(trained_classifier, test_set, tmp_path_factory.mktemp("out") / "predictions")


def test_every_image_has_its_line(evaluated, trained_classifier, test_set):
    rows = list(csv.DictReader((evaluated.path / "predictions.csv").open()))
    images, classifier = ImageSet.open(test_set), Classifier.load(trained_classifier)
    probabilities = classifier.probabilities(batch for batch, _ in images.batches(11))
    assert [(row["sha256"], row["group"], row["label"]) for row in rows] == [
        (row.sha256, row.group, row.label) for row in images.rows
    ]
    assert [float(row["probability"]) for row in rows] == probabilities.tolist()
    assert [row["predicted"] for row in rows] == ["bm"[int(p >= classifier.threshold)] for p in probabilities]
    assert {row["positive_class"] for row in rows} == {"m"}


def test_the_statistics_read_the_table(evaluated):
    from regan.statistics.predictions import Predictions

    predictions = Predictions.read(evaluated.path)
    assert len(predictions) == 40
    assert predictions.right.mean() == pytest.approx(evaluated.accuracy)


def test_the_figures_agree_with_the_table(evaluated):
    rows = list(csv.DictReader((evaluated.path / "predictions.csv").open()))
    figures = last_step(evaluated.path).figures
    metrics = json.loads((evaluated.path / "metrics.json").read_text())
    called = [row for row in rows if row["predicted"] == "m"]
    assert figures["true_positive"] == sum(row["label"] == "m" for row in called)
    assert figures["false_positive"] == sum(row["label"] == "b" for row in called)
    assert figures["true_positive"] + figures["false_negative"] == 15
    assert figures["true_negative"] + figures["false_positive"] == 25
    assert evaluated.sensitivity == figures["true_positive"] / 15
    assert evaluated.specificity == figures["true_negative"] / 25
    assert evaluated.auc > 0.95
    assert figures == {name: metrics[name] for name in figures}


def test_the_history_tells_what_the_report_needs(evaluated, trained_classifier):
    step = last_step(evaluated.path)
    assert step.inputs["classifier"] == [last_step(trained_classifier).id]
    assert step.settings["positive_class"] == "m"
    assert step.counts == {"num_images": 40}
    assert (step.curves["roc"]["x"][0], step.curves["roc"]["y"][-1]) == (0, 1)
    assert set(step.figures) == {
        "auc",
        "accuracy",
        "sensitivity",
        "specificity",
        "true_positive",
        "false_negative",
        "true_negative",
        "false_positive",
        "threshold",
        "brier",
    }


@pytest.mark.parametrize(("seed", "number"), [(0, 96), (1, 30)])
def test_images_that_trained_or_validated_are_refused(trained_classifier, labelled_set, tmp_path, seed, number):
    with pytest.raises(ValueError, match=rf"overlap with training data \({2 * number} of {2 * number} images\)"):
        regan.evaluate_classifier(trained_classifier, labelled_set(seed, b=number, m=number), tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_another_image_of_a_group_that_trained_is_refused(trained_classifier, test_set, tmp_path):
    images = ImageSet.open(test_set)
    folder = tmp_path / "set"
    folder.mkdir()
    with ImageSetWriter(folder, size=32, channels=1, classes=("b", "m"), origin="real", settings={}) as writer:
        for image, row in zip(images.images(), images.rows):
            writer.add(image, row.label, group="0-b-3" if row == images.rows[4] else row.group)
    with pytest.raises(ValueError, match=r"overlap with training data \(1 of 40 images\).*group 0-b-3"):
        regan.evaluate_classifier(trained_classifier, folder, tmp_path / "p")


def test_images_of_another_size_or_of_one_class_are_refused(trained_classifier, labelled_set, tmp_path):
    with pytest.raises(ValueError, match="Received 64 x 64"):
        regan.evaluate_classifier(trained_classifier, labelled_set(7, size=64), tmp_path / "p")
    with pytest.raises(ValueError, match="contains no images of class m"):
        regan.evaluate_classifier(trained_classifier, labelled_set(7, m=0), tmp_path / "p")
