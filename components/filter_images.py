"""Components of the verb `filter_images`: for one image set of each class, and for several."""

# KFP wants the outputs as a NamedTuple in the annotation.
# mypy: disable-error-code="valid-type"

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components._image import GPU_IMAGE


@dsl.component(base_image=GPU_IMAGE, install_kfp_package=False)
def filter_images(
    negative: Input[Dataset],
    positive: Input[Dataset],
    classifier: Input[Model],
    images: Output[Dataset],
    metrics: Output[Metrics],
    rule: str = "agreement",
    confidence: float = 0.9,
    per_class: int = 0,
    seed: int = 0,
) -> NamedTuple("FilteredCount", [("per_class", int)]):
    """Keep the synthetic images that pass a rule, as many of each class.

    Args:
        negative: Synthetic images of the negative class.
        positive: Synthetic images of the positive class.
        classifier: Teacher, trained on real images.
        rule: Synthetic images that are kept: "agreement" = the teacher predicts the image's own class; "confidence" =
            with a minimum probability; "none" = every image, as for the control.
        confidence: Minimum probability of the image's own class under the rule "confidence", 0.5 to 1.
        per_class: Images of each class to keep, drawn at random from those that pass; 0 = as many as the rarer class
            has.
        seed: Seed of the classifiers' training and of the filter's draw of images.

    Returns:
        images: Kept images of both classes.
        metrics: Number of images, and the share of each class that passed.
        per_class: Images kept of each class.
    """
    import regan

    filtered = regan.filter_images(
        negative.path,
        positive.path,
        classifier.path,
        images.path,
        rule=rule,
        confidence=confidence,
        per_class=per_class,
        seed=seed,
    )
    metrics.log_metric("num_images", filtered.num_images)
    metrics.log_metric("acceptance_negative", filtered.acceptance_negative)
    metrics.log_metric("acceptance_positive", filtered.acceptance_positive)
    return (filtered.per_class,)


@dsl.component(base_image=GPU_IMAGE, install_kfp_package=False)
def filter_image_shards(
    negative: Input[list[Dataset]],
    positive: Input[list[Dataset]],
    classifier: Input[Model],
    images: Output[Dataset],
    metrics: Output[Metrics],
    rule: str = "agreement",
    confidence: float = 0.9,
    per_class: int = 0,
    seed: int = 0,
) -> NamedTuple("FilteredCount", [("per_class", int)]):
    """Keep the synthetic images that pass a rule, as many of each class, from several image sets of each.

    Args:
        negative: Synthetic images of the negative class, from several steps.
        positive: Synthetic images of the positive class, from several steps.
        classifier: Teacher, trained on real images.
        rule: Synthetic images that are kept: "agreement" = the teacher predicts the image's own class; "confidence" =
            with a minimum probability; "none" = every image, as for the control.
        confidence: Minimum probability of the image's own class under the rule "confidence", 0.5 to 1.
        per_class: Images of each class to keep, drawn at random from those that pass; 0 = as many as the rarer class
            has.
        seed: Seed of the classifiers' training and of the filter's draw of images.

    Returns:
        images: Kept images of both classes.
        metrics: Number of images, and the share of each class that passed.
        per_class: Images kept of each class.
    """
    import regan

    filtered = regan.filter_images(
        [part.path for part in negative],
        [part.path for part in positive],
        classifier.path,
        images.path,
        rule=rule,
        confidence=confidence,
        per_class=per_class,
        seed=seed,
    )
    metrics.log_metric("num_images", filtered.num_images)
    metrics.log_metric("acceptance_negative", filtered.acceptance_negative)
    metrics.log_metric("acceptance_positive", filtered.acceptance_positive)
    return (filtered.per_class,)
