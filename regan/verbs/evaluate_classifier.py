"""Evaluate a classifier on held-out test images."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from regan.artifacts.image_set import ImageSet
    from regan.classifier.prediction import Classifier
    from regan.statistics.predictions import Predictions

METRICS = "metrics.json"


@dataclass(frozen=True)
class EvaluatedClassifier:
    """Result of `evaluate_classifier`.

    Attributes:
        path: Folder with `predictions.csv`, `metrics.json` and history.
        auc: Area under the ROC curve.
        accuracy: Share of correctly classified images.
        sensitivity: Share of positive images that were classified as positive.
        specificity: Share of negative images that were classified as negative.
        num_images: Number of images.
        classes: Negative and positive class.
        confusion_matrix: Number of images by true class (rows) and prediction (columns), in the order of `classes`.
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
    """Evaluate a classifier on held-out test images, at the threshold fixed when it was trained.

    Args:
        classifier: Classifier that `train_classifier` wrote.
        images: Image set with images of both classes. No image of it, and none of its group, may have trained the
            classifier, set its weights or threshold, or be behind the synthetic images that trained it.
        predictions: Folder to write: `predictions.csv` (one row per image, joined later by its pixel hash) and
            `metrics.json`.

    Returns:
        Path, area under the ROC curve, accuracy, sensitivity, specificity, number of images.

    Raises:
        NoFilesError: An input is missing.
        OutputExistsError: `predictions` is not empty.
        OverlapError: Test images overlap with images that trained or tuned the classifier.
        WrongArtifactError: The images have another size, other channels or other classes than the classifier, or
            contain duplicates.
        TooFewImagesError: A class has no images.
    """
    from regan.artifacts.entries import EvaluateClassifierEntry
    from regan.artifacts.entry import Curve, write_entry
    from regan.artifacts.image_set import ImageSet
    from regan.artifacts.output_folder import atomic_folder

    started = time.monotonic()
    with atomic_folder(predictions) as folder:
        image_set = ImageSet.open(images)
        # Before the framework is loaded, which takes seconds, and before any test image is predicted.
        _require_fit(classifier, image_set)
        from regan.classifier.figures import measure, roc_points
        from regan.classifier.prediction import Classifier

        model = Classifier.load(classifier)
        probabilities = model.probabilities(batch for batch, _ in image_set.batches(256))
        positive = [row.label == model.positive_class for row in image_set.rows]
        figures = asdict(measure(probabilities, positive, model.threshold))
        _predictions(model, image_set, probabilities).write(folder)
        settings: dict[str, Any] = {
            "positive_class": model.positive_class,
            "classes": model.classes,
            "classifier": model.hash,
        }
        metrics = figures | settings | {"num_images": len(image_set)}
        (folder / METRICS).write_text(
            json.dumps(metrics, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
        )
        false_positive_rate, sensitivity = roc_points(probabilities, positive)
        roc = Curve(false_positive_rate, sensitivity, x_label="false positive rate", y_label="sensitivity")
        entry = EvaluateClassifierEntry(**settings, num_images=len(image_set), **figures, roc=roc)
        inputs = {"classifier": classifier, "images": images}
        write_entry(folder, entry, inputs, seconds=time.monotonic() - started)
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
    from regan.common.errors import OverlapError

    model = read_model(classifier, "classifier")
    require_kind_of_model(images, "images", model["size"], model["channels"], model["classes"])
    require_both_classes(images, "images")
    require_unique(images, "images")
    leaked = images_in_index(images.rows, read_training_index(classifier))
    if leaked:
        raise OverlapError(
            f"Test images overlap with training data ({len(leaked)} of {len(images)} images): those of {images.path} "
            f"trained {classifier}, set its weights or threshold, or share a group with such images. The first is "
            f"{leaked[0].name} (sha256 {leaked[0].sha256[:12]}, group {leaked[0].group or 'none'}). Use the test set "
            "that prepare_images wrote."
        )


def _predictions(model: "Classifier", images: "ImageSet", probabilities: "np.ndarray") -> "Predictions":
    """One row an image, in the order of the image set; probabilities are float64 `(n,)`, of the positive class."""
    import numpy as np

    from regan.statistics.predictions import Predictions

    negative, positive = model.classes
    return Predictions(
        sha256=np.array([row.sha256 for row in images.rows]),
        group=np.array([row.group for row in images.rows]),
        label=np.array([row.label == positive for row in images.rows]),
        probability=probabilities,
        predicted=probabilities >= model.threshold,
        positive_class=positive,
        negative_class=negative,
    )
