"""Component of the verb `evaluate_classifier`."""

from kfp import dsl
from kfp.dsl import Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from components._image import GPU_IMAGE


@dsl.component(base_image=GPU_IMAGE, install_kfp_package=False)
def evaluate_classifier(
    classifier: Input[Model],
    images: Input[Dataset],
    predictions: Output[Artifact],
    metrics: Output[Metrics],
    matrix: Output[ClassificationMetrics],
):
    """Let a classifier answer images that it has never seen.

    Args:
        classifier: Trained classifier.
        images: Test images; those that trained the classifier are refused.

    Returns:
        predictions: Table with one row an image, and the figures below.
        metrics: Area under the ROC curve, accuracy, sensitivity, specificity and number of images.
        matrix: Confusion matrix.
    """
    import regan

    evaluated = regan.evaluate_classifier(classifier.path, images.path, predictions.path)
    metrics.log_metric("auc", evaluated.auc)
    metrics.log_metric("accuracy", evaluated.accuracy)
    metrics.log_metric("sensitivity", evaluated.sensitivity)
    metrics.log_metric("specificity", evaluated.specificity)
    metrics.log_metric("num_images", evaluated.num_images)
    matrix.log_confusion_matrix(list(evaluated.classes), [list(row) for row in evaluated.confusion_matrix])
