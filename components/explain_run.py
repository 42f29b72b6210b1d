"""Component of `regan.explain_run`: the exit task, which runs after every run and writes a short report."""

from kfp import dsl
from kfp.dsl import Markdown, Output, PipelineTaskFinalStatus

from components._image import CPU_IMAGE


@dsl.component(base_image=CPU_IMAGE, install_kfp_package=False)
def explain_run(page: Output[Markdown], status: PipelineTaskFinalStatus, run_name: str = ""):
    """Say how the run ended, which steps finished, and what to do where one failed.

    Args:
        status: How the run ended, from Kubeflow.
        run_name: Name of the run.

    Returns:
        page: Short report.
    """
    import regan

    regan.explain_run(
        page.uri.partition("/explain-run/")[0],
        page.path,
        state=status.state,
        error=status.error_message or "",
        run_name=run_name,
    )
