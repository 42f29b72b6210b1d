"""kfp.local with its bugs worked around, its steps observed and their output kept in files.

What kfp.local 2.17 does otherwise, each checked by a test:

- DockerRunner reports a failed container as a success (kubeflow/pipelines #13332).
- The cache never finds a step with a Metrics output, because it looks for a file that such artifacts do not have.
- `dsl.If` on a named output is skipped silently.
- After a failed step it continues with the steps that do not need it, and the cause is lost in the output of all. Here
  only the exit task, which reports what happened, still runs.
- An interrupt leaves the process of the step running.
- "python3" is replaced in the arguments of a step too, and a Python whose path contains a space cannot start.
"""

import codecs
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import kfp.local
from kfp import dsl
from kfp.dsl.base_component import BaseComponent
from kfp.local import cache, docker_task_handler, status, subprocess_task_handler
from kfp.local.orchestrator import enhanced_dag_orchestrator, task_executor
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines.kfp_patches import redirect_output, replace_attribute, with_files_of_metrics, with_named_outputs
from pipelines.remaining import Remaining
from regan.common.progress import time_left
from regan.common.text import duration
from regan.runs.time_estimate import rounded

SECONDS_TO_STOP = 30  # a trainer writes its state within 25 s of SIGTERM

_LINE = re.compile(r"^\[KFP Executor [^\]]*\b[A-Z]+\]: (.*)")
_HOUSEKEEPING = (
    "Looking for component",
    "--component_module_path",
    "Loading KFP component",
    "Got executor_input",
    "Wrote executor output",
    "Did not write output",
)
_SCRIPT = '"$program_path/ephemeral_component.py"'
_MODULE = re.compile(r"^(?:\w+\.)+(?=\w+:)")  # before the class of an exception, which alone is the code of our errors
_TRACEBACK = "Traceback (most recent call last):"
_MOST_CAUSE_LINES = 12
_AFTER_ALL = pipeline_spec_pb2.PipelineTaskSpec.TriggerPolicy.TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED


@dataclass
class Step:
    """One task of a local run.

    Attributes:
        task: Name of the task in the compiled pipeline.
        title: Name for people.
        number: Its place in the order of execution, from 1.
        log: File with its whole output.
        ran: False when its outputs were kept from an earlier run.
        seconds: How long it took; 0 until it has ended.
        outputs: Parameters and artifacts by name.
    """

    task: str
    title: str
    number: int
    log: Path
    started: float
    ran: bool = False
    seconds: float = 0.0
    exit_status: int = 0
    outputs: dict[str, Any] = field(default_factory=dict)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=400))


class StepError(RuntimeError):
    """A step failed.

    Attributes:
        step: The step.
        cause: Its last error message.
    """

    def __init__(self, step: Step, cause: str) -> None:
        super().__init__(f"{step.title} failed: {cause}")
        self.step, self.cause = step, cause


class LocalRun:
    """Runs one pipeline on this machine.

    Args:
        logs: Folder for one file per step, and `kfp.log` with the output of kfp.local.
        say: Receives each line that a person should see.
        environment: Environment variables of the steps' processes.
        volumes: Folders that containers see besides the pipeline root: host path to mode, "ro" or "rw".
        lock: Open file that the steps' processes inherit, so that a lock on it lives as long as they do.
        status: Receives the line for the whole run, such as "Step 7 of 18, about 3 min left", whenever it changes.
        predict: Is given each finished step, and returns what its outputs say about the time of later ones: seconds by
            the beginning of their titles.
    """

    def __init__(
        self,
        logs: Path,
        say: Callable[[str], None],
        *,
        environment: Mapping[str, str],
        volumes: Mapping[str, str] | None = None,
        lock: IO | None = None,
        status: Callable[[str], None] = lambda line: None,
        predict: Callable[[Step], Mapping[str, float]] = lambda step: {},
    ) -> None:
        self.steps: list[Step] = []
        self._logs, self._say, self._status, self._predict = logs, say, status, predict
        self._environment, self._volumes, self._lock = environment, volumes or {}, lock
        self._num_steps, self._remaining = 0, Remaining([])
        self._here = threading.local()
        self._one_at_a_time = threading.Lock()
        self._failure: StepError | None = None

    def __call__(
        self, pipeline: BaseComponent, arguments: Mapping[str, Any], *, runner: Any, pipeline_root: Path
    ) -> None:
        """Run the pipeline, and cache the outputs of finished steps for the next run.

        Args:
            pipeline: Compiled pipeline.
            arguments: Its parameters.
            runner: `kfp.local.SubprocessRunner(use_venv=False)` or `kfp.local.DockerRunner(...)`.
            pipeline_root: Folder for the artifacts and the cache.

        Raises:
            StepError: A step failed; only the exit task was started after it.
        """
        titles = task_titles(pipeline.pipeline_spec)
        self._num_steps, self._remaining = len(titles), Remaining(titles)
        self._logs.mkdir(parents=True, exist_ok=True)
        pipeline_root.mkdir(parents=True, exist_ok=True)
        with (
            (self._logs / "kfp.log").open("w", encoding="utf-8", newline="\n") as log,
            redirect_output(log),
            self._patches(),
        ):
            kfp.local.init(runner, pipeline_root=str(pipeline_root), enable_caching=True)
            try:
                pipeline(**arguments)
            except RuntimeError:
                if not self._failure:
                    raise
        if self._failure:
            raise self._failure

    @contextlib.contextmanager
    def _patches(self) -> Iterator[None]:
        evaluator = enhanced_dag_orchestrator.ConditionEvaluator
        find = staticmethod(with_named_outputs(evaluator._resolve_pipeline_channel))
        with contextlib.ExitStack() as stack:
            for owner, name, value in (
                (task_executor, "execute_single_task", self._observer(task_executor.execute_single_task)),
                (subprocess_task_handler, "run_local_subprocess", self._run_process),
                (docker_task_handler, "run_docker_container", self._run_container),
                (subprocess_task_handler, "replace_python_executable", with_this_python),
                (cache.LocalCache, "put", with_files_of_metrics(cache.LocalCache.put)),
                (evaluator, "_resolve_pipeline_channel", find),
            ):
                stack.enter_context(replace_attribute(owner, name, value))
            yield

    def _observer(self, execute: Callable[..., tuple[dict, status.Status]]) -> Callable:
        def execute_single_task(**task: Any) -> tuple[dict, status.Status]:
            specification = task["task_spec"]
            if self._failure and specification.trigger_policy.strategy != _AFTER_ALL:
                return {}, status.Status.FAILURE
            step = self._here.step = self._next_step(task["task_name"], specification.task_info.name)
            self._remaining.start(step.number, step.title)
            outputs, ended = execute(**task)
            step.seconds = time.monotonic() - step.started
            self._remaining.finish(step.number, ran=step.ran)
            if ended == status.Status.SUCCESS:
                step.outputs = outputs
                self._remaining.expect(self._predict(step))
                self._say_finished(step)
            elif not self._failure:
                self._failure = StepError(step, cause_of_failure(step.tail, step.exit_status))
            return outputs, ended

        return execute_single_task

    def _next_step(self, task: str, title: str) -> Step:
        title = _title(title)
        with self._one_at_a_time:
            name, used = title.lower().replace(" ", "-"), {step.log.stem for step in self.steps}
            names = (name, *(f"{name}-{number}" for number in range(2, len(used) + 2)))  # the items of a loop
            log = self._logs / f"{next(name for name in names if name not in used)}.log"
            self.steps.append(Step(task, title, len(self.steps) + 1, log, time.monotonic()))
            return self.steps[-1]

    def _say_finished(self, step: Step) -> None:
        if not step.ran:
            self._say(f"{self._place(step)}: {step.title}, kept from an earlier run")
            return
        figures = sorted(figures_of(step.outputs).items())
        told = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures)
        self._say(f"    done in {duration(step.seconds)}{': ' if told else ''}{told}")

    def _place(self, step: Step) -> str:
        return f"Step {step.number} of {self._num_steps}"

    def _line(self, step: Step) -> str:
        """The line for the whole run."""
        left = self._remaining.seconds()
        return self._place(step) + ("" if left is None else f", about {rounded(left)} left")

    def _begin(self) -> Step:
        step: Step = self._here.step
        step.ran = True
        self._say(f"{self._line(step)}: {step.title}")
        self._status(self._line(step))
        return step

    def _hear(self, step: Step, lines: Iterable[str]) -> None:
        with step.log.open("w", encoding="utf-8", newline="\n") as log:
            for line in lines:
                log.write(line)
                log.flush()
                step.tail.append(line.rstrip("\n"))
                told = _LINE.match(line)
                if told and not told[1].startswith(_HOUSEKEEPING):
                    self._show(step, told[1].rstrip())

    def _show(self, step: Step, line: str) -> None:
        left = time_left(line)
        if left is not None:
            self._remaining.bound(step.number, left)
        self._say(f"    {line}")
        self._status(self._line(step))

    def _run_process(self, full_command: list[str], env_vars: Mapping[str, str] | None = None) -> int:
        step = self._begin()
        process = subprocess.Popen(
            full_command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**self._environment, **(env_vars or {})},
            start_new_session=True,
            pass_fds=[self._lock.fileno()] if self._lock else [],
        )
        with process:
            try:
                self._hear(step, process.stdout or ())
                step.exit_status = process.wait()
                return step.exit_status
            except BaseException:
                _end(process)
                raise

    def _run_container(
        self, client: Any, image: str, command: list[str], volumes: Mapping[str, Any], **settings: Any
    ) -> int:
        step = self._begin()
        volumes = {**volumes, **{path: {"bind": path, "mode": mode} for path, mode in self._volumes.items()}}
        container = client.containers.create(image, command, volumes=volumes, **settings)
        try:
            container.start()
            self._hear(step, whole_lines(container.logs(stream=True, follow=True)))
            step.exit_status = container.wait()["StatusCode"]
            return step.exit_status
        except KeyboardInterrupt:
            container.stop(timeout=SECONDS_TO_STOP)
            raise
        finally:
            container.remove(force=True)


def with_this_python(command: list[str], executable: str) -> list[str]:
    """Let a step start with a certain Python.

    Args:
        command: Command of a lightweight component: a shell, its script, the component's source, and arguments.
        executable: Path of the Python.

    Returns:
        The same with another Python in the script alone.
    """
    return [
        part.replace("python3 -m", f"{shlex.quote(executable)} -m") if _SCRIPT in part else part for part in command
    ]


def task_titles(specification: Any) -> list[str]:
    """Titles of all tasks in a compiled pipeline, those behind conditions and each item of a loop too.

    Args:
        specification: Its PipelineSpec.
    """

    def titles_in(component: Any, title: str) -> list[str]:
        if component.WhichOneof("implementation") == "executor_label":
            return [_title(title)]
        titles: list[str] = []
        for task in component.dag.tasks.values():
            items = json.loads(task.parameter_iterator.items.raw or "[0]")
            titles += len(items) * titles_in(specification.components[task.component_ref.name], task.task_info.name)
        return titles

    return titles_in(specification.root, "")


def figures_of(outputs: Mapping[str, Any]) -> dict[str, float]:
    """Figures that a step logged to its Metrics output.

    Args:
        outputs: Outputs of the step by name.

    Returns:
        Figures by name, none where it has no such output.
    """
    return next((dict(value.metadata) for value in outputs.values() if isinstance(value, dsl.Metrics)), {})


def cause_of_failure(lines: Iterable[str], exit_status: int) -> str:
    """Last error message of a step.

    Args:
        lines: Its output, or the end of it, without newlines.
        exit_status: Its exit status.

    Returns:
        Message of the last exception without its traceback; where there is none, the exit status and the last lines.
    """
    kept = [line for line in lines if line.strip()]
    starts = [number for number, line in enumerate(kept) if line.strip() == _TRACEBACK]
    if exit_status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "The process was killed; most likely the machine ran out of memory."
    if not starts:
        return "\n".join([f"The process ended with exit status {exit_status}, without an exception.", *kept[-5:]])
    after = kept[starts[-1] + 1 :]
    message = next((number for number, line in enumerate(after) if not line.startswith(" ")), 0)
    cause = "\n".join(after[message : message + _MOST_CAUSE_LINES])
    return _MODULE.sub("", cause, count=1)


def whole_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Cut a stream into lines.

    Args:
        chunks: UTF-8 text in pieces that end anywhere, even inside a character.

    Yields:
        Lines with their newline; the last may lack it.
    """
    decoder, rest = codecs.getincrementaldecoder("utf-8")(errors="replace"), ""
    for chunk in chunks:
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        yield from (f"{line}\n" for line in lines)
    if rest:
        yield rest


def _title(name: str) -> str:
    return name.replace("-", " ")


def _end(process: subprocess.Popen) -> None:
    # The process is a shell. The Python below it is reached through their group, and has ended when it closes the pipe.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        rest = threading.Thread(target=process.communicate, daemon=True)
        rest.start()
        rest.join(SECONDS_TO_STOP)
        os.killpg(process.pid, signal.SIGKILL)
