"""Component of the verb `publish_images`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components._image import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def publish_images(
    images: Input[Dataset],
    audit: Input[Artifact],
    report: Input[Artifact],
    release: Output[Dataset],
    metrics: Output[Metrics],
    generator: Input[Model] | None = None,
    generator_positive: Input[Model] | None = None,
    release_uri: str = "",
    release_name: str = "",
    title: str = "",
    generator_uri: str = "",
    report_uri: str = "",
    run_key: str = "",
):
    """Release audited synthetic images with datasheet and checksums.

    Args:
        images: Synthetic images.
        audit: Their audit; a failed audit stops the release.
        report: Report on the classifier trained on these images.
        generator: Generator of both classes, or of the negative class, kept for the next run.
        generator_positive: Generator of the positive class, where each class has its own.
        release_uri: URI that the release is copied to; empty = no copy.
        release_name: Subfolder of `release_uri` for this release; empty = the URI itself.
        title: Title of the datasheet; empty = made from the classes.
        generator_uri: Stable URI of released generators: GAN training starts from the latest, and publish_images adds
            the new one; empty = start from random weights and keep none.
        report_uri: Stable URI where report and verdict are kept from run to run; empty = they are not kept.
        run_key: Key of the run, the same when the run is repeated.

    Returns:
        release: Released folder.
        metrics: Number of released images.
    """
    import regan

    published = regan.publish_images(
        images.path,
        audit.path,
        report.path,
        release.path,
        generator=generator.path if generator else "",
        generator_positive=generator_positive.path if generator_positive else "",
        release_uri=release_uri,
        release_name=release_name,
        title=title,
        generator_uri=generator_uri,
        report_uri=report_uri,
        run_key=run_key,
    )
    metrics.log_metric("num_images", published.num_images)
