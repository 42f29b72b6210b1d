"""Component of the verb `publish_images`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components._image import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def publish_images(
    images: Input[Dataset],
    audit: Input[Artifact],
    report: Input[Artifact],
    release: Output[Dataset],
    metrics: Output[Metrics],
    release_uri: str = "",
    title: str = "",
):
    """Release audited synthetic images with datasheet and checksums.

    Args:
        images: Synthetic images.
        audit: Their audit; a failed one stops the release.
        report: Report on the classifier trained on them.
        release_uri: Folder or gs:// or s3:// address to copy the release to; empty = the artifact alone.
        title: Title of the datasheet; empty = made from the classes.

    Returns:
        release: Released folder.
        metrics: Number of released images.
    """
    import regan

    published = regan.publish_images(
        images.path, audit.path, report.path, release.path, release_uri=release_uri, title=title
    )
    metrics.log_metric("num_images", published.num_images)
