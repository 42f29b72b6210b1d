"""Component of the verb `train_classifier`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components._image import GPU_IMAGE


@dsl.component(base_image=GPU_IMAGE, install_kfp_package=False)
def train_classifier(
    images: Input[Dataset],
    validation: Input[Dataset],
    classifier: Output[Model],
    metrics: Output[Metrics],
    start: Input[Model] | None = None,
    backbone: str = "InceptionResNetV2",
    weights: str = "imagenet",
    recipe: str = "standard",
    epochs: int = 50,
    batch_size: int = 32,
    checkpoint_uri: str = "",
    checkpoint_name: str = "",
    checkpoint_minutes: float = 5.0,
    seed: int = 0,
):
    """Train a classifier of the two classes.

    Args:
        images: Real or synthetic images to train on.
        validation: Real images for early stopping and the threshold.
        start: Classifier whose training continues; none = start from `weights`.
        backbone: Backbone of the classifiers: a keras.applications network, or "small" for images of 32 x 32 or
            slightly larger.
        weights: Initial weights of the backbone: "imagenet", "none" = random, or the path or URI of a .weights.h5 file;
            "small" has only "none".
        recipe: Training recipe of the classifiers: "standard", or "reference" = the published experiment of 2021.
        epochs: Maximum number of epochs.
        batch_size: Images per training step of a classifier.
        checkpoint_uri: Stable URI or mounted folder for checkpoints, from which training resumes after a preemption;
            empty = stored next to the output and lost with the pod.
        checkpoint_name: Subfolder of `checkpoint_uri`, for people; empty = none.
        checkpoint_minutes: Maximum time between two checkpoints in minutes.
        seed: Seed of the classifiers' training and of the filter's draw of images.

    Returns:
        classifier: Trained classifier with its threshold.
        metrics: Area under the ROC curve on the validation images, threshold and epochs.
    """
    import regan

    trained = regan.train_classifier(
        images.path,
        validation.path,
        classifier.path,
        start=start.path if start else "",
        backbone=backbone,
        weights=weights,
        recipe=recipe,
        epochs=epochs,
        batch_size=batch_size,
        checkpoint_uri=checkpoint_uri,
        checkpoint_name=checkpoint_name,
        checkpoint_minutes=checkpoint_minutes,
        seed=seed,
    )
    metrics.log_metric("validation_auc", trained.validation_auc)
    metrics.log_metric("threshold", trained.threshold)
    metrics.log_metric("num_epochs", trained.num_epochs)
