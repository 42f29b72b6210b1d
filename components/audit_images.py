"""Component of the verb `audit_images`."""

# KFP wants the outputs as a NamedTuple in the annotation.
# mypy: disable-error-code="valid-type"

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components._image import GPU_IMAGE


@dsl.component(base_image=GPU_IMAGE, install_kfp_package=False)
def audit_images(
    synthetic: Input[Dataset],
    train: Input[Dataset],
    validation: Input[Dataset],
    audit: Output[Artifact],
    metrics: Output[Metrics],
    features: str = "radiomic",
    max_memorised: float = 0.01,
    seed: int = 0,
) -> NamedTuple("AuditVerdict", [("verdict", str)]):
    """Measure how close synthetic images are to real ones, and whether any is a copy.

    Args:
        synthetic: Synthetic images as the student sees them.
        train: Real images that trained the generator.
        validation: Held-out real images, which the generator never saw.
        features: Feature extractor of the audit's distances: "radiomic", a keras.applications network, or the folder of
            a classifier.
        max_memorised: Maximum fraction of synthetic images that may be copies of training images, 0 to 1.
        seed: Seed of the random draws that make the sets equally large.

    Returns:
        audit: Table of measures with their limits.
        metrics: Distances, precision, recall, density, coverage and number of memorised images.
        verdict: "passed" or "failed".
    """
    import regan

    audited = regan.audit_images(
        synthetic.path,
        train.path,
        validation.path,
        audit.path,
        features=features,
        max_memorised=max_memorised,
        seed=seed,
    )
    metrics.log_metric("kernel_distance", audited.kernel_distance)
    metrics.log_metric("frechet_distance", audited.frechet_distance)
    metrics.log_metric("precision", audited.precision)
    metrics.log_metric("recall", audited.recall)
    metrics.log_metric("density", audited.density)
    metrics.log_metric("coverage", audited.coverage)
    metrics.log_metric("num_memorised", audited.num_memorised)
    return (audited.verdict,)
