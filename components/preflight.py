"""Component of `regan.preflight`: what is missing is reported in the first minute."""

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
) -> NamedTuple("PreflightResult", [("go", str), ("data_version", str), ("run_key", str), ("checkpoint_uri", str)]):
    """Check what the run will need before it begins, and whether there is anything new to do.

    Args:
        source_uri: URI or path of the real images: a folder or zip archive with one subfolder for each class.
        settings: Parameters of the pipeline, one `name=value` per line; the others have the pipeline's defaults.

    Returns:
        report: Table of checks, with the estimated costs of the settings.
        page: The same as a page.
        go: "yes", or "no" where nothing changed since the previous verdict.
        data_version: Version of the data: as given, or a hash of the listing.
        run_key: Short hash of data, settings and version of regan.
        checkpoint_uri: URI of the checkpoints of training with these data and settings; empty = none.
    """
    import regan

    ready = regan.preflight(
        source_uri,
        report.path,
        settings=settings,
        pipeline_root=report.uri.partition("/preflight/")[0],
    )
    page.uri = report.uri + "/preflight.md"
    return (ready.go, ready.data_version, ready.run_key, ready.checkpoint_uri)
