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
        audit: Their audit; a failed one stops the release.
        report: Report on the classifier trained on them.
        generator: Generator of both classes, or of the negative one, to be kept for the next run.
        generator_positive: Generator of the positive class, where there is one a class.
        release_uri: Folder or gs:// or s3:// address to copy the release to; empty = the artifact alone.
        release_name: Subfolder of `release_uri` for this release; empty = the address itself.
        title: Title of the datasheet; empty = made from the classes.
        generator_uri: Stable address where the generators are kept; empty = nowhere.
        report_uri: Stable address of the verdict, where it is noted that the run is finished; empty = nowhere.
        run_key: What the run is known by there.

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
