"""How long a run will take, from its settings and the speed of the machine."""

from dataclasses import replace

import pytest
import yaml
from kfp import components

from pipelines.compilation import compile_to_yaml
from pipelines.kfp_local import task_titles
from pipelines.parameters import PRESETS
from pipelines.synthetic_training_set import synthetic_training_set
from regan.common.cpus import available_cpus
from regan.runs.costs import gpu_hours
from regan.runs.settings import canonical_values, complete, settings_checks
from regan.runs.time_estimate import (
    MatrixRate,
    Workload,
    estimate_time,
    matrix_rate,
    on_gpu,
    rounded,
    time_checks,
)

QUIET = MatrixRate(220e9, 230e9, 2)
SHARED = MatrixRate(4e9, 5e9, 2)


def workload(num_real: int | None = 1200, **settings: object) -> Workload:
    return work_of(canonical_values(PRESETS["demo"] | settings), num_real)


def work_of(given: dict[str, str], num_real: int | None) -> Workload:
    _, plan = settings_checks(given)
    return Workload.of(plan, complete(given), num_real)


def test_the_demo_takes_minutes_here_and_hours_on_a_machine_at_4_gflops():
    assert 150 < estimate_time(workload(), QUIET).total < 900
    assert 3 * 3600 < estimate_time(workload(), SHARED).total < 12 * 3600


def test_many_cpus_shorten_the_networks_part_but_no_start():
    few, many = estimate_time(workload(), QUIET), estimate_time(workload(), MatrixRate(64 * 110e9, 7.1e12, 64))
    assert many.steps["explain run"] == pytest.approx(few.steps["explain run"])
    started = 30.0  # start and first calls, as in the module
    assert many.steps["train GAN"] - started == pytest.approx((few.steps["train GAN"] - started) / 4)
    assert many.total > 60


def test_the_preset_of_the_reference_takes_months_without_a_gpu():
    assert estimate_time(work_of({}, None), QUIET).total > 30 * 86_400


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        ({"gan_kimg": 100}, "train GAN"),
        ({"gan_seeds": "1-9000"}, "generate"),
        ({"classifier_epochs": 500}, "train student"),
        ({"gan_selection_images": 9000}, "select snapshot"),
        ({"data_size": 64}, "audit images"),
    ],
)
def test_more_work_takes_longer_in_its_step(settings, step):
    small, large = (estimate_time(workload(**values), QUIET).steps[step] for values in ({}, settings))
    assert large > 1.2 * small


@pytest.mark.parametrize(
    "graph", [{}, {"conditional": False}, {"rounds": 2}, {"generation_shards": 3}, {"conditional": False, "rounds": 3}]
)
def test_every_step_of_the_graph_is_predicted_and_counted(graph):
    text = next(yaml.safe_load_all(compile_to_yaml(synthetic_training_set(**graph))))
    titles = task_titles(components.load_component_from_text(yaml.safe_dump(text)).pipeline_spec)
    settings = {name: value for name, value in graph.items() if name != "generation_shards"}
    estimate = estimate_time(workload(**settings), QUIET)
    counts = dict.fromkeys(estimate.steps, 0)
    for title in titles:
        matching = [beginning for beginning in estimate.steps if f"{title} ".startswith(f"{beginning} ")]
        assert len(matching) == 1, title
        counts[matching[0]] += 1
    counts["generate"] //= graph.get("generation_shards", 1)
    assert counts == estimate.times


def test_a_gpu_changes_the_networks_steps_and_says_what_is_assumed():
    work = work_of({}, 3000)
    plan, cpu = work.plan, estimate_time(work, QUIET)
    gpu = on_gpu(cpu, "NVIDIA H200", gpu_hours(plan, "NVIDIA H200"), plan.networks)
    assert gpu.steps["prepare images"] == cpu.steps["prepare images"]
    low, high, _ = gpu_hours(plan, "NVIDIA H200")
    assert low * 3600 < gpu.steps["train GAN"] < high * 3600
    assert gpu.total < cpu.total / 10
    assert "NVIDIA H200" in gpu.assumed
    assert "not measured here" in gpu.assumed
    assert on_gpu(cpu, "Unknown 3000", None, 1) is None


def test_a_slow_machine_is_warned_of_with_the_time_and_what_to_do():
    estimate = estimate_time(workload(), SHARED)
    machine, run = time_checks(estimate, SHARED, "")
    assert (machine.ok, machine.found) == ("warn", "4 GFLOP/s on 2 CPUs")
    assert run.found in machine.advice
    assert "gan_kimg=" in machine.advice
    assert "scaled by the matrix product" in run.detail


def test_years_without_a_gpu_are_warned_of_and_years_with_one_are_not():
    estimate = replace(estimate_time(workload(), QUIET), total=1686 * 86_400.0)
    run = time_checks(estimate, QUIET, "")[1]
    assert (run.ok, run.found) == ("warn", "about 1,686 days")
    assert "gpu_count=1" in run.advice
    assert time_checks(estimate, QUIET, "NVIDIA L4")[1].ok == "info"


def test_a_quick_machine_and_one_with_a_gpu_are_not_warned_of():
    estimate = estimate_time(workload(), QUIET)
    assert [check.ok for check in time_checks(estimate, QUIET, "")] == ["info", "info"]
    assert time_checks(estimate, SHARED, "NVIDIA L4")[0].ok == "info"
    assert time_checks(None, QUIET, None)[1].found.startswith("unknown")


def test_the_matrix_product_is_timed_on_every_available_cpu_and_leaves_the_threads_as_they_were():
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    before = [pool["num_threads"] for pool in threadpool_info()]
    found = matrix_rate()
    assert 1e8 < found.rate <= found.best < 1e14
    assert found.cpus == available_cpus()
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (42, "42 s"), (58, "1 min"), (200, "3 min"), (3500, "1 h"), (5 * 3600, "5 h"), (180_000, "2 days")],
)
def test_a_rounded_time_has_one_unit(seconds, text):
    assert rounded(seconds) == text
