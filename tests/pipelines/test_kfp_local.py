"""kfp.local does what its documentation promises, with real steps in real processes."""

import logging
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output, PipelineTaskFinalStatus

from pipelines.kfp_local import StepError, cause_of_failure, whole_lines

ROOT = Path(__file__).resolve().parents[2]


@dsl.component(base_image="tiny", install_kfp_package=False)
def make(data: Output[Dataset], metrics: Output[Metrics], verdict: str = "passed") -> NamedTuple(
    "Made", [("verdict", str)]
):
    with open(data.path, "w") as file:
        file.write("made")
    metrics.log_metric("auc", 0.5)
    return (verdict,)


@dsl.component(base_image="tiny", install_kfp_package=False)
def use(data: Input[Dataset], used: Output[Artifact], other: Input[Dataset] | None = None):
    with open(data.path) as file, open(used.path, "w") as copy:
        copy.write(file.read() + ("" if other is None else " twice"))


@dsl.component(base_image="tiny", install_kfp_package=False)
def fail_without(path: str, data: Input[Dataset]):
    import os

    try:
        os.stat(path)
    except FileNotFoundError as error:
        raise ValueError(f"`path` must exist, because it is the point of this test. Received {path}.") from error


@dsl.component(base_image="tiny", install_kfp_package=False)
def talk(seconds: float):
    import logging
    import time

    logging.getLogger("regan").info("Talk: 1 of 2 words (50%)")
    time.sleep(seconds)


@dsl.component(base_image="tiny", install_kfp_package=False)
def die():
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@dsl.pipeline(name="fails-in-the-middle")
def fails_in_the_middle(path: str):
    made = make()
    failing = fail_without(path=path, data=made.outputs["data"]).set_display_name("the middle")
    use(data=made.outputs["data"]).set_display_name("needs the middle").after(failing)
    use(data=made.outputs["data"]).set_display_name("zz needs only the first")


@dsl.pipeline(name="asks")
def asks(verdict: str):
    made = make(verdict=verdict)
    with dsl.If(made.outputs["verdict"] == "passed"):
        use(data=made.outputs["data"]).set_display_name("behind the condition")


@dsl.component(base_image="tiny", install_kfp_package=False)
def tell(status: PipelineTaskFinalStatus, told: Output[Artifact]):
    with open(told.path, "w") as file:
        file.write(status.state)


@dsl.component(base_image="tiny", install_kfp_package=False)
def join(parts: Input[list[Dataset]], joined: Output[Artifact]):
    with open(joined.path, "w") as file:
        file.write(f"{len(parts)} parts")


@dsl.pipeline(name="tells-at-the-end")
def tells_at_the_end(path: str, verdict: str):
    with dsl.ExitHandler(tell()):
        asked = make(verdict=verdict)
        with dsl.If(asked.outputs["verdict"] == "passed"):
            failing = fail_without(path=path, data=asked.outputs["data"]).set_display_name("the middle")
            use(data=asked.outputs["data"]).set_display_name("needs the middle").after(failing)


@dsl.pipeline(name="loops")
def loops():
    with dsl.ParallelFor(["1/3", "2/3", "3/3"]) as part:
        made = make(verdict=part).set_display_name("one part")
    join(parts=dsl.Collected(made.outputs["data"]))


def test_after_a_failure_only_the_exit_task_runs_and_it_knows(run_tiny, tmp_path):
    with pytest.raises(StepError, match="it is the point of this test") as raised:
        run_tiny(tells_at_the_end, path=str(tmp_path / "absent"), verdict="passed")
    assert raised.value.step.title == "the middle"
    (told,) = tmp_path.glob("artifacts/*/tell/told")
    assert told.read_text() == "FAILED"
    assert not (tmp_path / "logs" / "needs-the-middle.log").exists()


@pytest.mark.parametrize(
    ("verdict", "titles"),
    [("passed", ["make", "the middle", "needs the middle", "tell"]), ("failed", ["make", "tell"])],
)
def test_the_exit_task_runs_after_a_good_run_too(run_tiny, tmp_path, verdict, titles):
    ran = run_tiny(tells_at_the_end, path=str(tmp_path), verdict=verdict)
    assert ran.titles(kept=False) == titles
    assert Path(ran.run.steps[-1].outputs["told"].path).read_text() == "SUCCEEDED"


def test_each_item_of_a_loop_has_a_log_of_its_own_and_is_counted(run_tiny):
    ran = run_tiny(loops)
    assert sorted(step.log.name for step in ran.run.steps) == [
        "join.log",
        "one-part-2.log",
        "one-part-3.log",
        "one-part.log",
    ]
    assert any(line == "Step 4 of 4: join" for line in ran.said)
    assert Path(ran.run.steps[-1].outputs["joined"].path).read_text() == "3 parts"


def test_items_that_run_side_by_side_leave_the_process_logging_as_it_was(run_tiny):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    run_tiny(loops)
    assert (root.handlers, root.level) == before


def test_a_failing_step_fails_the_run_and_names_itself_and_the_cause(run_tiny, tmp_path):
    with pytest.raises(StepError) as raised:
        run_tiny(fails_in_the_middle, path=str(tmp_path / "absent"))
    assert raised.value.step.title == "the middle"
    assert raised.value.cause == (
        f"ValueError: `path` must exist, because it is the point of this test. Received {tmp_path / 'absent'}."
    )
    assert "FileNotFoundError" in raised.value.step.log.read_text()


def test_nothing_is_started_after_a_failure(run_tiny, tmp_path):
    said: list[str] = []
    with pytest.raises(StepError):
        run_tiny(fails_in_the_middle, said=said, path=str(tmp_path / "absent"))
    after = "\n".join(said).split("the middle", 1)[1]
    assert "needs" not in after


def test_the_next_run_goes_on_after_the_finished_steps(run_tiny, tmp_path):
    path = tmp_path / "absent"
    with pytest.raises(StepError):
        run_tiny(fails_in_the_middle, path=str(path))
    path.touch()
    second = run_tiny(fails_in_the_middle, path=str(path))
    assert "make" in second.titles(kept=True)
    assert {"the middle", "needs the middle"} <= set(second.titles(kept=False))
    assert any("make, kept from an earlier run" in line for line in second.said)
    third = run_tiny(fails_in_the_middle, path=str(path))
    assert third.titles(kept=False) == []


def test_other_arguments_run_again(run_tiny):
    run_tiny(asks, verdict="failed")
    assert run_tiny(asks, verdict="failed").titles(kept=False) == []
    assert run_tiny(asks, verdict="passed").titles(kept=False) == ["make", "behind the condition"]


@pytest.mark.parametrize(("verdict", "steps"), [("passed", ["make", "behind the condition"]), ("failed", ["make"])])
def test_a_condition_on_a_named_output_is_asked(run_tiny, verdict, steps):
    assert run_tiny(asks, verdict=verdict).titles(kept=False) == steps


def test_an_optional_input_may_be_left_out(run_tiny):
    @dsl.pipeline(name="optional")
    def optional():
        made = make()
        use(data=made.outputs["data"]).set_display_name("one")
        use(data=made.outputs["data"], other=made.outputs["data"]).set_display_name("two")

    texts = {
        step.title: Path(step.outputs["used"].path) for step in run_tiny(optional).run.steps if step.title != "make"
    }
    assert texts["one"].read_text() == "made"
    assert texts["two"].read_text() == "made twice"


def test_progress_is_told_while_the_step_works_and_nothing_else(run_tiny):
    @dsl.pipeline(name="talks")
    def talks():
        talk(seconds=1.5)

    heard: list[tuple[float, str]] = []

    class Clock(list):
        def append(self, line):
            heard.append((time.monotonic(), line))

    run_tiny(talks, said=Clock())
    lines = [line for _, line in heard]
    assert lines[0] == "Step 1 of 1: talk"
    assert lines[1] == "    Talk: 1 of 2 words (50%)"
    assert lines[2].startswith("    done in")
    assert len(lines) == 3
    assert heard[2][0] - heard[1][0] > 1.4


@dsl.pipeline(name="predicts")
def predicts():
    first = make().set_display_name("predict")
    talk(seconds=0.5).set_display_name("talk-to-me").after(first)
    with dsl.ParallelFor(["1", "2"]) as verdict:
        make(verdict=verdict).after(first)


def test_the_time_left_is_said_from_the_first_prediction_on_and_in_one_line_for_the_run(run_tiny):
    status: list[str] = []

    def predict(step):
        return {"talk": 60.0, "make": 120.0} if step.title == "predict" else {}

    ran = run_tiny(predicts, status=status.append, predict=predict)
    assert "Step 1 of 4: predict" in ran.said
    assert status[0] == "Step 1 of 4"
    assert all(re.fullmatch(r"Step [2-4] of 4, about \d+ (min|s) left", line) for line in status[1:])
    # The step that should take a minute takes seconds: the rest of the run is corrected by that.
    left = [line for line in ran.said if line.startswith("Step 2")]
    assert left[0].startswith(("Step 2 of 4, about 5 min left: ", "Step 2 of 4, about 4 min left: "))


def test_a_second_run_says_that_its_steps_are_kept(run_tiny):
    run_tiny(asks, verdict="failed")
    assert run_tiny(asks, verdict="failed").said == ["Step 1 of 2: make, kept from an earlier run"]


def test_figures_of_a_step_are_told_when_it_is_done(run_tiny):
    assert any(line.endswith(": auc 0.5") for line in run_tiny(asks, verdict="failed").said)


def test_a_killed_step_fails_the_run_and_says_that_memory_may_be_the_cause(run_tiny):
    @dsl.pipeline(name="dies")
    def dies():
        die()

    with pytest.raises(StepError, match="ran out of memory"):
        run_tiny(dies)


def test_a_python_with_a_space_in_its_path_works_and_arguments_stay_as_they_are(run_tiny, tmp_path, monkeypatch):
    python = tmp_path / "with a space" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    made = run_tiny(asks, verdict="/data/python3 -m/images").run.steps[0]
    assert made.outputs["verdict"] == "/data/python3 -m/images"


def test_kfp_is_as_before_after_a_run(run_tiny):
    from kfp.local import cache, docker_task_handler, subprocess_task_handler
    from kfp.local.orchestrator import enhanced_dag_orchestrator, task_executor

    def mended():
        return (
            task_executor.execute_single_task,
            subprocess_task_handler.run_local_subprocess,
            docker_task_handler.run_docker_container,
            cache.LocalCache.put,
            enhanced_dag_orchestrator.ConditionEvaluator.__dict__["_resolve_pipeline_channel"],
        )

    before = mended()
    run_tiny(asks, verdict="failed")
    assert mended() == before


SLEEPER = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {here!r}]
import conftest
from kfp import dsl

@dsl.component(base_image="tiny", install_kfp_package=False)
def sleep(path: str):
    import os, signal, time
    def stop(*_):
        open(path + ".stopped", "w").close()
        raise SystemExit(1)
    signal.signal(signal.SIGTERM, stop)
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)

@dsl.pipeline(name="sleeps")
def sleeps(path: str):
    sleep(path=path)

import logging
import re
import signal
signal.signal(signal.SIGTERM, signal.default_int_handler)
output = Path(sys.argv[1])
conftest.run_in(output, sleeps, path=str(output / "pid"))
"""


def test_an_interrupt_stops_the_step_gently_and_leaves_no_process(tmp_path):
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER.format(root=str(ROOT), here=str(Path(__file__).parent)))
    launcher = subprocess.Popen([sys.executable, script, tmp_path], stderr=subprocess.PIPE)
    pid = tmp_path / "pid"
    while not (pid.is_file() and pid.read_text()):
        assert launcher.poll() is None, launcher.stderr.read()
        time.sleep(0.05)
    launcher.send_signal(signal.SIGTERM)
    launcher.wait(30)
    assert (tmp_path / "pid.stopped").is_file()
    status = Path("/proc", pid.read_text(), "status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_the_cause_is_the_message_of_the_last_exception():
    lines = [
        "Traceback (most recent call last):",
        '  File "a.py", line 1, in f',
        "KeyError: 'first'",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        '  File "b.py", line 2, in g',
        "    raise ValueError(...)",
        "ValueError: expected one thing,",
        "received another.",
    ]
    assert cause_of_failure(lines, 1) == "ValueError: expected one thing,\nreceived another."


def test_an_error_of_ours_is_named_by_its_code_without_the_module():
    lines = ["Traceback (most recent call last):", "regan.common.errors.SourceError: a.b.c: not found"]
    assert cause_of_failure(lines, 1) == "SourceError: a.b.c: not found"


def test_without_an_exception_the_cause_is_the_exit_status_and_the_last_lines():
    assert cause_of_failure(["one", "two"], 139) == (
        "The process ended with exit status 139, without an exception.\none\ntwo"
    )


def test_chunks_of_a_log_become_lines_whatever_their_borders():
    text = "überall\nzwei\nohne Ende"
    chunks = [bytes([byte]) for byte in text.encode()]
    assert list(whole_lines(chunks)) == ["überall\n", "zwei\n", "ohne Ende"]
