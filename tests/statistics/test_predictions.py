import csv

import numpy as np
import pytest

from regan.common.errors import CorruptFileError, NoFilesError, WrongArtifactError
from regan.statistics.predictions import COLUMNS, Predictions, pair_predictions


def predictions(order=(0, 1, 2, 3), **changes):
    order = list(order)
    columns = {
        "sha256": np.array(["a", "b", "c", "d"])[order],
        "group": np.array(["p1", "", "p2", ""])[order],
        "label": np.array([True, True, False, False])[order],
        "probability": np.array([0.9, 0.4, 0.2, 0.6])[order],
        "predicted": np.array([True, False, False, True])[order],
        "positive_class": "malignant",
        "negative_class": "benign",
    }
    return Predictions(**(columns | changes))


def write_rows(folder, rows, columns=COLUMNS):
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def test_what_is_written_is_read_again(tmp_path):
    written = predictions()
    written.write(tmp_path)
    found = Predictions.read(tmp_path)
    for name in ("sha256", "group", "label", "probability", "predicted"):
        assert np.array_equal(getattr(found, name), getattr(written, name))
    assert (found.positive_class, found.negative_class) == ("malignant", "benign")
    assert found.right.tolist() == [True, False, True, False]


def test_the_table_holds_class_names(tmp_path):
    predictions().write(tmp_path)
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert lines[:2] == [",".join(COLUMNS), "a,p1,malignant,0.9,malignant,malignant"]


def test_pairs_are_joined_by_image_and_not_by_row():
    first, second = pair_predictions(predictions(), predictions(order=(3, 1, 0, 2)))
    assert first.sha256.tolist() == second.sha256.tolist()
    assert np.array_equal(first.probability, second.probability)


def test_different_images_are_refused():
    other = predictions(sha256=np.array(["a", "b", "c", "x"]))
    with pytest.raises(WrongArtifactError, match="1 images that only the candidate and 1 that only the reference"):
        pair_predictions(predictions(), other)


def test_different_classes_of_an_image_are_refused():
    with pytest.raises(WrongArtifactError, match="differ in the label of 1 images"):
        pair_predictions(predictions(), predictions(label=np.array([True, False, False, False])))


def test_different_positive_classes_are_refused():
    with pytest.raises(WrongArtifactError, match="different positive classes"):
        pair_predictions(predictions(), predictions(positive_class="benign"))


def test_a_repeated_image_is_refused():
    with pytest.raises(ValueError, match="contains an image more than once"):
        predictions(sha256=np.array(["a", "a", "c", "d"]))


@pytest.mark.parametrize("probability", [[0.1, 0.2, 0.3, 1.5], [0.1, 0.2, 0.3, np.nan]])
def test_impossible_probabilities_are_refused(probability):
    with pytest.raises(ValueError, match="between 0 and 1"):
        predictions(probability=np.array(probability))


def test_a_folder_without_predictions_is_refused(tmp_path):
    with pytest.raises(NoFilesError, match="evaluate_classifier"):
        Predictions.read(tmp_path)


def test_a_missing_column_is_named(tmp_path):
    write_rows(tmp_path, [("a", "", "benign", 0.5, "benign")], columns=COLUMNS[:-1])
    with pytest.raises(CorruptFileError, match="Missing: positive_class"):
        Predictions.read(tmp_path)


def test_an_empty_table_is_refused(tmp_path):
    write_rows(tmp_path, [])
    with pytest.raises(CorruptFileError, match="is empty"):
        Predictions.read(tmp_path)


def test_three_classes_are_refused(tmp_path):
    rows = [("a", "", "benign", 0.5, "benign", "malignant"), ("b", "", "normal", 0.5, "malignant", "malignant")]
    write_rows(tmp_path, rows)
    with pytest.raises(CorruptFileError, match=r"exactly one other class.*benign, normal"):
        Predictions.read(tmp_path)
