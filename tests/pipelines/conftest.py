"""Runs a tiny pipeline the way the launcher runs the real one."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from kfp import components as kfp_components

from pipelines import machine
from pipelines.compilation import compiled
from pipelines.kfp_local import LocalRun


@dataclass
class Ran:
    """What one run did: its steps, and what it said."""

    run: LocalRun
    said: list[str]

    def titles(self, *, kept: bool) -> list[str]:
        return [step.title for step in self.run.steps if step.ran is not kept]


def run_in(output: Path, pipeline, *, runner=None, image="python-tiny", said=None, volumes=None, **arguments) -> Ran:
    text = machine.for_this_machine(compiled(pipeline), {"tiny": image})
    said = [] if said is None else said
    environment = machine.step_environment()
    ran = Ran(LocalRun(output / "logs", said.append, environment=environment, volumes=volumes), said)
    ran.run(
        kfp_components.load_component_from_text(text),
        arguments,
        runner=runner or machine.process_runner(),
        pipeline_root=output / "artifacts",
    )
    return ran


@pytest.fixture
def run_tiny(tmp_path):
    return partial(run_in, tmp_path)
