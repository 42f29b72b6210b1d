"""Evaluate a classifier on images that it has never met."""

import csv
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from regan.artifacts.image_set import ImageSet
    from regan.classifier.prediction import Classifier

PREDICTIONS = "predictions.csv"
METRICS = "metrics.json"
COLUMNS = ("sha256", "group", "label", "probability", "predicted", "positive_class")


@dataclass(frozen=True)
class EvaluatedClassifier:
    """Where the predictions lie, and their main figures.

    Attributes:
        path: Folder with `predictions.csv`, `metrics.json` and history.
        auc: Area under the ROC curve.
        accuracy: Share of right answers.
        sensitivity: Share of positive images that were called positive.
        specificity: Share of negative images that were called negative.
        num_images: Number of images.
        classes: Negative and positive class.
        confusion_matrix: Images by true class (rows) and answer (columns), both in the order of `classes`.
    """

    path: Path
    auc: float
    accuracy: float
    sensitivity: float
    specificity: float
    num_images: int
    classes: tuple[str, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]


def evaluate_classifier(classifier: str | Path, images: str | Path, predictions: str | Path) -> EvaluatedClassifier:
    """Evaluate a classifier on images that it has never met, at the threshold fixed when it was trained.

    Args:
        classifier: Classifier that `train_classifier` wrote.
        images: Image set with images of both classes. No image of it, and none of its group, may have trained the
            classifier, set its weights or threshold, or be behind the synthetic images that trained it.
        predictions: Folder to write: `predictions.csv` (one row per image, joined later by its pixel hash) and
            `metrics.json`.

    Returns:
        Path, area under the ROC curve, accuracy, sensitivity, specificity, number of images.

    Raises:
        FileNotFoundError: An input is missing.
        FileExistsError: `predictions` holds something already.
        ValueError: The images leak, are of another kind, repeat each other, or lack a class.
    """
    from regan.artifacts.history import write_step
    from regan.artifacts.image_set import ImageSet
    from regan.artifacts.output_folder import atomic_folder

    started = time.monotonic()
    with atomic_folder(predictions) as folder:
        image_set = ImageSet.open(images)
        _require_fit(classifier, image_set)
        from regan.classifier.figures import measure, roc_points
        from regan.classifier.prediction import Classifier

        model = Classifier.load(classifier)
        probabilities = model.probabilities(batch for batch, _ in image_set.batches(256))
        positive = [row.label == model.positive_class for row in image_set.rows]
        figures = asdict(measure(probabilities, positive, model.threshold))
        _write_predictions(folder / PREDICTIONS, model, image_set, probabilities)
        settings = {"positive_class": model.positive_class, "classes": model.classes, "classifier": model.hash}
        metrics = figures | settings | {"num_images": len(image_set)}
        (folder / METRICS).write_text(
            json.dumps(metrics, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
        )
        false_positive_rate, sensitivity = roc_points(probabilities, positive)
        write_step(
            folder,
            "evaluate_classifier",
            {"classifier": classifier, "images": images},
            settings=settings,
            counts={"num_images": len(image_set)},
            figures=figures,
            curves={
                "roc": {
                    "x": false_positive_rate,
                    "y": sensitivity,
                    "x_label": "false positive rate",
                    "y_label": "sensitivity",
                }
            },
            seconds=time.monotonic() - started,
        )
    main = {name: figures[name] for name in ("auc", "accuracy", "sensitivity", "specificity")}
    return EvaluatedClassifier(
        Path(predictions),
        **main,
        num_images=len(image_set),
        classes=model.classes,
        confusion_matrix=(
            (figures["true_negative"], figures["false_positive"]),
            (figures["false_negative"], figures["true_positive"]),
        ),
    )


def _require_fit(classifier: str | Path, images: "ImageSet") -> None:
    from regan.artifacts.model import read_model, read_training_index
    from regan.classifier.checks import (
        images_in_index,
        require_both_classes,
        require_kind_of_model,
        require_unique,
    )

    model = read_model(classifier, "classifier")
    require_kind_of_model(images, "images", model["size"], model["channels"], model["classes"])
    require_both_classes(images, "images")
    require_unique(images, "images")
    leaked = images_in_index(images.rows, read_training_index(classifier))
    if leaked:
        raise ValueError(
            "A classifier is evaluated on images that it has never met. Received "
            f"{len(leaked)} of {len(images)} images in {images.path} that trained {classifier}, chose its weights or "
            f"threshold, or share a group with such images; first {leaked[0].name} (sha256 {leaked[0].sha256[:12]}, "
            f"group {leaked[0].group or 'none'}). Use the test set that `prepare_images` split off."
        )


def _write_predictions(path: Path, model: "Classifier", images: "ImageSet", probabilities: "np.ndarray") -> None:
    negative, positive = model.classes
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row, probability in zip(images.rows, probabilities.tolist()):
            predicted = positive if probability >= model.threshold else negative
            writer.writerow((row.sha256, row.group, row.label, repr(probability), predicted, positive))
