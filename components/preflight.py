"""Component of `regan.preflight`: what is missing is told in the first minute."""

# KFP wants the outputs as a NamedTuple in the annotation, and knows no Literal.
# mypy: disable-error-code="valid-type, arg-type"

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Markdown, Output

from components._image import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def preflight(
    source_uri: str,
    report: Output[Artifact],
    page: Output[Markdown],
    settings: str = "",
    data_version: str = "",
    checkpoint_uri: str = "",
    report_uri: str = "",
    release_uri: str = "",
    start_uri: str = "",
    split_uri: str = "",
    gpu_count: str = "0",
    gpu_count_gan: str = "0",
    backbone: str = "small",
    weights: str = "none",
    unchanged: str = "stop",
) -> NamedTuple("Readiness", [("go", str), ("data_version", str), ("run_key", str), ("checkpoint_uri", str)]):
    """Check what the run will need before it begins, and whether there is anything new to do.

    Args:
        source_uri: Folder, archive or gs:// or s3:// address of the images.
        settings: Parameters of the pipeline, one `name=value` a line.
        data_version: Any text that changes with the content of the source; empty = made from its listing.
        checkpoint_uri: Stable address for the state of training; empty = none.
        report_uri: Stable address of the last report and verdict; empty = none.
        release_uri: Address that the release is copied to; empty = none.
        start_uri: Stable address of the generators that GAN training starts from; needs `split_uri`; empty = none.
        split_uri: Stable address of the split; empty = none.
        gpu_count: Number of GPUs of each step that runs a network, as text.
        gpu_count_gan: Number of GPUs of GAN training, as text; as many as the larger of both are looked for.
        backbone: Network of the classifiers.
        weights: Weights that they start from: "imagenet", "none", or the path or address of a file.
        unchanged: "stop" = nothing to do when the last verdict rests on the same data and settings; "run" = go on.

    Returns:
        report: Table of checks, and what the settings cost.
        page: The same to be read.
        go: "yes" or "no".
        data_version: The given version of the data, or the one made from the listing.
        run_key: Short hash of data, settings and version of regan.
        checkpoint_uri: Address of the state of training with these data and settings; empty = none.
    """
    import regan

    ready = regan.preflight(
        source_uri,
        report.path,
        settings=settings,
        data_version=data_version,
        checkpoint_uri=checkpoint_uri,
        report_uri=report_uri,
        release_uri=release_uri,
        start_uri=start_uri,
        split_uri=split_uri,
        pipeline_root=report.uri.partition("/preflight/")[0],
        gpu_count=gpu_count,
        gpu_count_gan=gpu_count_gan,
        backbone=backbone,
        weights=weights,
        unchanged=unchanged,
    )
    page.uri = report.uri + "/preflight.md"
    return (ready.go, ready.data_version, ready.run_key, ready.checkpoint_uri)
