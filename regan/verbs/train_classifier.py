"""Train a classifier for two classes."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from regan.common.errors import SettingError

if TYPE_CHECKING:
    from regan.artifacts.entry import Curve
    from regan.artifacts.image_set import ImageSet
    from regan.classifier.initial_network import InitialNetwork
    from regan.classifier.recipes import Recipe
    from regan.classifier.trainer import Training
    from regan.training.workspace import Workspace

_PIXELS = "pixels"


@dataclass(frozen=True)
class TrainedClassifier:
    """Result of `train_classifier`.

    Attributes:
        path: The classifier.
        validation_auc: Area under the ROC curve on validation images.
        num_epochs: Epochs trained.
        threshold: Decision threshold, fixed on validation images.
    """

    path: Path
    validation_auc: float
    num_epochs: int
    threshold: float


def train_classifier(
    images: str | Path,
    validation: str | Path,
    classifier: str | Path,
    *,
    start: str | Path = "",
    backbone: str = "InceptionResNetV2",
    weights: str = "imagenet",
    recipe: str = "standard",
    epochs: int = 50,
    batch_size: int = 32,
    checkpoint_uri: str = "",
    checkpoint_name: str = "",
    checkpoint_minutes: float = 5.0,
    seed: int = 0,
) -> TrainedClassifier:
    """Train a classifier for two classes, on real or on synthetic images.

    To resume an interrupted training, run the same command again; on the same CPU it ends with the same bytes.

    Args:
        images: Image set to train on.
        validation: Real images for early stopping and the threshold. They share no image and no group with `images`,
            nor with the real images behind synthetic ones.
        classifier: Folder to write, created when training is complete. Until then the work is in
            `<classifier>.checkpoint` beside it.
        start: Classifier whose training continues (rounds). Its backbone must be `backbone`; `weights` is not read.
        backbone: Backbone of the classifiers: a keras.applications network, or "small" for images of 32 x 32 or
            slightly larger.
        weights: Initial weights of the backbone: "imagenet", "none" = random, or the path or URI of a .weights.h5 file;
            "small" has only "none".
        recipe: Training recipe of the classifiers: "standard", or "reference" = the published experiment of 2021. In
            the reference recipe validation images train too, the last epoch is kept, a frozen backbone sees [0, 1], and
            the threshold is 0.5.
        epochs: Maximum number of epochs.
        batch_size: Images per training step of a classifier.
        checkpoint_uri: Stable URI or mounted folder for checkpoints, from which training resumes after a preemption;
            empty = stored next to the output and lost with the pod. Checkpoints are at
            `<checkpoint_uri>/<checkpoint_name>/<hash of settings and images>`, so that several trainings can share a
            URI, and are kept when training is complete. A local folder is used in place. With a URI (gs://, s3://),
            the state is downloaded first, and uploaded with each checkpoint and on SIGTERM.
        checkpoint_name: Subfolder of `checkpoint_uri`, for people; empty = none.
        checkpoint_minutes: Maximum time between two checkpoints in minutes.
        seed: Seed of the classifiers' training and of the filter's draw of images. The same seed on
            the same CPU gives the same bytes.

    Returns:
        Path, area under the ROC curve on validation images with the kept weights, epochs trained, decision threshold.

    Raises:
        NoFilesError: An input is missing.
        OutputExistsError: `classifier` is not empty.
        SettingError: A setting is unknown or out of range.
        TooFewImagesError: A class has no images.
        WrongArtifactError: The inputs do not fit each other.
        OverlapError: Validation images overlap with training images.
        MissingWeightsError: Pretrained weights cannot be found.
        CheckpointMismatchError: The checkpoint belongs to another configuration or other images.
        TrainingStoppedError: SIGTERM was received; the same command resumes from the checkpoint.
        TakenOverError: Another process has since started training with the state at `checkpoint_uri`.
    """
    from regan.artifacts.entries import TrainClassifierEntry
    from regan.artifacts.entry import write_entry
    from regan.artifacts.output_folder import atomic_folder, require_empty_output
    from regan.classifier.recipes import find_recipe
    from regan.training.workspace import StateFiles, open_workspace, require_checkpoint_minutes

    started = time.monotonic()
    plan = find_recipe(recipe)
    _require_at_least_one(epochs=epochs, batch_size=batch_size)
    require_checkpoint_minutes(checkpoint_minutes)
    require_empty_output(Path(classifier))
    sets = _open_sets(images, validation)
    first = _first_network(sets["images"], plan, start=start, backbone=backbone, weights=weights, seed=seed)
    settings: dict[str, Any] = {
        "backbone": backbone,
        "configuration": first.configuration.to_dict(),
        "first_weights": first.origin,
        "learning_rate": first.learning_rate,
        "recipe": {"name": recipe, **asdict(plan)},
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
    }
    identity = _identity(settings, sets, start)
    with open_workspace(
        Path(classifier), checkpoint_uri, files=StateFiles(), configuration=identity, label=checkpoint_name
    ) as work:
        training = _train(first, sets, plan, settings, work, identity, checkpoint_minutes)
        figures = _figures(training, sets, plan)
        with atomic_folder(classifier) as folder:
            _write_model(folder, first, sets, settings, figures, start)
            entry = TrainClassifierEntry(
                **settings,
                **figures,
                num_images_figure=figures["num_images"],
                num_validation=len(sets["validation"]),
                training_loss=_curve(training.training_loss, "cross-entropy (nats)"),
                validation_loss=_curve(training.validation_loss, "cross-entropy (nats)"),
                validation_auc_curve=_curve(training.validation_auc, "area under the ROC curve"),
            )
            inputs = {"images": images, "validation": validation} | ({"start": start} if str(start) else {})
            write_entry(folder, entry, inputs, seconds=time.monotonic() - started)
    return TrainedClassifier(Path(classifier), figures["validation_auc"], figures["num_epochs"], figures["threshold"])


def _require_at_least_one(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise SettingError(f"{name}={value} is too small: use 1 or more.")


def _open_sets(images: str | Path, validation: str | Path) -> "dict[str, ImageSet]":
    from regan.artifacts.image_set import ImageSet
    from regan.classifier.checks import require_both_classes, require_disjoint, require_same_kind

    sets = {"images": ImageSet.open(images), "validation": ImageSet.open(validation)}
    require_same_kind(sets)
    for argument, image_set in sets.items():
        require_both_classes(image_set, argument)
    require_disjoint(sets["images"], sets["validation"])
    return sets


def _first_network(
    images: "ImageSet", recipe: "Recipe", *, start: str | Path, backbone: str, weights: str, seed: int
) -> "InitialNetwork":
    from regan.classifier.initial_network import network_from_classifier, new_network
    from regan.storage import fetch, is_uri

    if str(start):
        return network_from_classifier(start, images, recipe, backbone=backbone, seed=seed)
    with TemporaryDirectory(prefix="weights-") as scratch:
        file = str(fetch(weights, scratch)) if is_uri(weights) else weights
        return new_network(images, recipe, backbone=backbone, weights=file, seed=seed)


def _identity(settings: dict[str, Any], sets: "dict[str, ImageSet]", start: str | Path) -> str:
    """Hash of everything that determines the weights except `epochs`, so that a training may be made longer."""
    from regan.artifacts.model import weights_hash
    from regan.training.checkpoint import contents_hash, identity_hash

    return identity_hash(
        verb="train_classifier",
        settings={name: value for name, value in settings.items() if name != "epochs"},
        start=weights_hash(start) if str(start) else "",
        images={name: contents_hash(image_set.rows) for name, image_set in sets.items()},
    )


def _train(
    first: "InitialNetwork",
    sets: "dict[str, ImageSet]",
    recipe: "Recipe",
    settings: dict[str, Any],
    work: "Workspace",
    identity: str,
    checkpoint_minutes: float,
) -> "Training":
    from regan.classifier.pixels import PixelCache
    from regan.classifier.trainer import Checkpointing, train
    from regan.training.checkpoint import CHECKPOINTS

    scratch = work.folder / _PIXELS
    shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed
    scratch.mkdir()
    try:
        # Only the reference recipe does, a flaw of the reference experiment that it keeps.
        training_sets = list(sets.values()) if recipe.trains_on_validation else [sets["images"]]
        result = train(
            first,
            PixelCache(training_sets, scratch / "training"),
            PixelCache([sets["validation"]], scratch / "validation"),
            recipe,
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            seed=settings["seed"],
            checkpointing=Checkpointing(
                work.folder / CHECKPOINTS, identity, 60 * checkpoint_minutes, work.sync, work.check
            ),
        )
    finally:
        shutil.rmtree(scratch)
    work.finish()
    return result


def _figures(training: "Training", sets: "dict[str, ImageSet]", recipe: "Recipe") -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    from regan.classifier.figures import youden_threshold

    validation = sets["validation"]
    positive = [row.label == validation.classes[-1] for row in validation.rows]
    return {
        "validation_auc": float(roc_auc_score(positive, training.probabilities)),
        "threshold": youden_threshold(training.probabilities, positive) if recipe.fixes_threshold else 0.5,
        "num_epochs": len(training.validation_loss),
        "num_images": len(sets["images"]),
    }


def _write_model(
    folder: Path,
    first: "InitialNetwork",
    sets: "dict[str, ImageSet]",
    settings: dict[str, Any],
    figures: dict[str, Any],
    start: str | Path,
) -> None:
    from regan.artifacts.model import read_training_index, write_model
    from regan.classifier.checks import index_of
    from regan.classifier.model import network_weights

    # Validation images count as training images: they set the threshold, and a test on them would flatter.
    index = index_of(row for image_set in sets.values() for row in image_set.rows)
    index = index.union(*(image_set.training_index() for image_set in sets.values()))
    images = sets["images"]
    write_model(
        folder,
        kind="classifier",
        weights=network_weights(first.network),
        metadata={
            "configuration": settings["configuration"],
            "classes": images.classes,
            "positive_class": images.classes[-1],
            "size": images.size,
            "channels": images.channels,
            "threshold": figures["threshold"],
            "first_weights": first.origin,
            "settings": settings,
            "metrics": figures,
        },
        training_index=index | read_training_index(start) if str(start) else index,
    )


def _curve(values: Sequence[float], label: str) -> "Curve":
    """Values after each epoch."""
    from regan.artifacts.entry import Curve

    return Curve(list(range(1, len(values) + 1)), values, x_label="epoch", y_label=label)
