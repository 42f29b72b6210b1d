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
        source: Folder, archive or gs:// or s3:// address with one folder of images for each class.
        negative_class: Class without the finding; empty = told by the source, where it has two classes.
        positive_class: Class with the finding that sensitivity counts; empty = the other class of the source.
        size: Side of the square images in pixels, a power of two from 32.
        channels: 1 for grey, 3 for RGB.
        test_per_class: Images of each class that are set aside for the test.
        validation_fraction: Share of the other images that go to validation, 0 to 1.
        mask_pattern: Files whose name fits this pattern are lesion masks and are left out.
        seed: Seed of the split.
        split_uri: Stable address where the split is kept over runs, read, extended and written back; empty = the split
            is made anew.
        data_version: Any text that changes with the content of the source. It is part of the cache key and does
            nothing else: Kubeflow sees the address of the source, not what lies there.

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
