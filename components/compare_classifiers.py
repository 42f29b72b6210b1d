"""Component of the verb `compare_classifiers`."""

# KFP wants the outputs as a NamedTuple in the annotation, and knows no Literal.
# mypy: disable-error-code="valid-type, arg-type"

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components._image import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def compare_classifiers(
    candidate: Input[Artifact],
    reference: Input[Artifact],
    report: Output[Artifact],
    page: Output[HTML],
    metrics: Output[Metrics],
    control: Input[Artifact] | None = None,
    audit: Input[Artifact] | None = None,
    endpoint: str = "auc",
    margin: float = 0.05,
    report_uri: str = "",
    run_key: str = "",
    data_version: str = "",
) -> NamedTuple("ComparisonVerdict", [("verdict", str), ("sentence", str)]):
    """Compare two classifiers on the same test images, and write the report.

    Args:
        candidate: Predictions of the classifier trained on synthetic images.
        reference: Predictions of the classifier trained on real images.
        control: Predictions of the classifier trained on equally many unfiltered synthetic images.
        audit: Audit of the synthetic images.
        endpoint: Endpoint of the comparison: "auc", "accuracy", "sensitivity" or "specificity".
        margin: Non-inferiority margin: the largest loss that counts as no worse, declared before the test, above 0 and
            below 1.
        report_uri: Stable URI where report and verdict are kept from run to run; empty = they are not kept.
        run_key: Key of the run, the same when the run is repeated.
        data_version: Version of the real images, as the preflight returned it.

    Returns:
        report: Folder with the report and the comparison in numbers.
        page: The report as one page.
        metrics: Difference between candidate and reference, with its interval.
        verdict: Verdict for the declared margin, in one word.
        sentence: Verdict in one sentence.
    """
    import regan

    compared = regan.compare_classifiers(
        candidate.path,
        reference.path,
        report.path,
        control=control.path if control else "",
        audit=audit.path if audit else "",
        endpoint=endpoint,
        margin=margin,
        report_uri=report_uri,
        run_key=run_key,
        data_version=data_version,
    )
    page.uri = report.uri + "/report.html"
    metrics.log_metric("difference", compared.difference)
    metrics.log_metric("lower", compared.lower)
    metrics.log_metric("upper", compared.upper)
    return (compared.verdict, compared.sentence)
