"""Component of the verb `prepare_images`."""

# KFP wants the outputs as a NamedTuple in the annotation.
# mypy: disable-error-code="valid-type"

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Dataset, Metrics, Output

from components._image import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def prepare_images(
    source: str,
    train: Output[Dataset],
    validation: Output[Dataset],
    test: Output[Dataset],
    metrics: Output[Metrics],
    negative_class: str = "",
    positive_class: str = "",
    size: int = 256,
    channels: int = 1,
    test_per_class: int = 150,
    validation_fraction: float = 0.1,
    mask_pattern: str = "*_mask*",
    seed: int = 0,
    split_uri: str = "",
    data_version: str = "",
) -> NamedTuple("PreparedClasses", [("negative_class", str), ("positive_class", str)]):
    """Turn labelled images into image sets for training, validation and test.

    Args:
        source: URI or path of the real images: a folder or zip archive with one subfolder for each class.
        negative_class: Class without the finding; empty = the first of the source's two classes in alphabetical order.
        positive_class: Class with the finding, which sensitivity counts; empty = the last of the source's two classes.
        size: Height and width of the images in pixels, a power of two from 32 to 1024.
        channels: 1 for grey, 3 for RGB.
        test_per_class: Test images of each class, which only the final evaluation reads.
        validation_fraction: Fraction of the images outside the test set that goes to validation, above 0 and below 1.
        mask_pattern: Shell pattern for the names of lesion masks, which are left out; empty = there are none.
        seed: Seed of the split.
        split_uri: Stable URI of the saved split, so that no test image ever becomes a training image; empty = a new
            split in each run.
        data_version: Version of the real images, as the preflight returned it. It is part of the cache key and has no
            other effect: Kubeflow sees the URI of the source, not its content.

    Returns:
        train: Images to train on.
        validation: Images that stop training early and that the audit compares with.
        test: Images that only the final evaluation opens.
        metrics: Number of images in each set and of refused files.
        negative_class: Name of the class without the finding.
        positive_class: Name of the class with the finding.
    """
    import regan

    prepared = regan.prepare_images(
        source,
        train.path,
        validation.path,
        test.path,
        negative_class=negative_class,
        positive_class=positive_class,
        size=size,
        channels=channels,
        test_per_class=test_per_class,
        validation_fraction=validation_fraction,
        mask_pattern=mask_pattern,
        seed=seed,
        split_uri=split_uri,
    )
    metrics.log_metric("num_train", prepared.num_train)
    metrics.log_metric("num_validation", prepared.num_validation)
    metrics.log_metric("num_test", prepared.num_test)
    metrics.log_metric("num_refused", prepared.num_refused)
    return (prepared.negative_class, prepared.positive_class)
