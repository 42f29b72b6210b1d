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
    checkpoint_minutes: float = 10.0,
    seed: int = 0,
):
    """Train a classifier of the two classes.

    Args:
        images: Real or synthetic images to train on.
        validation: Real images that stop training early and set the threshold.
        start: Classifier to go on from; none = from `weights`.
        backbone: Name of a keras.applications network, or "small" for images of 32 x 32 or little more.
        weights: Weights that the backbone starts from: "imagenet", "none" for random ones, or the address of a
            .weights.h5 file.
        recipe: "standard", or "reference" for the published experiment as it was.
        epochs: Epochs at most.
        batch_size: Images in a training step.
        checkpoint_uri: Stable gs:// or s3:// address, or mounted folder, for the state to resume from after a lost
            node, in a place of its own for each name, settings and images; empty = beside the classifier, which is
            lost with the pod.
        checkpoint_name: Subfolder of `checkpoint_uri`, for people who look there.
        checkpoint_minutes: Minutes between two pushes of that state.
        seed: Seed of the weights, the order of the images and their augmentation.

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
