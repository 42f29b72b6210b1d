import json

import pytest

from regan.gan.log import TrainingDivergedError, TrainingLog, read_log


def add(log, **figures):
    values = {"generator_loss": 1.0, "discriminator_loss": 1.0} | figures
    log.add(values, num_images=4, seconds=2.0, waited=0.5)


def test_a_line_holds_the_means_since_the_last_one(tmp_path):
    with TrainingLog(tmp_path, 0.0) as log:
        add(log, generator_loss=1.0, r1=5.0)
        add(log, generator_loss=2.0)
        log.flush(0.008)
        add(log, generator_loss=7.0)
        log.flush(0.012)
    first, second = read_log(tmp_path)
    assert first["generator_loss"] == 1.5
    assert first["r1"] == 5.0  # the mean over the steps that had it
    assert first["images_per_second"] == 2.0
    assert first["waited_for_inputs"] == 0.25
    assert (second["generator_loss"], second["kimg"]) == (7.0, 0.012)
    assert "r1" not in second


def test_nothing_is_written_where_no_step_was_made(tmp_path):
    with TrainingLog(tmp_path, 0.0) as log:
        log.flush(0.0)
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e3])
def test_divergence_stops_the_run_and_names_the_figure(tmp_path, value):
    with TrainingLog(tmp_path, 0.0) as log:
        add(log, generator_loss=value)
        with pytest.raises(TrainingDivergedError, match="generator_loss"):
            log.flush(0.004)
    assert not (tmp_path / "log.jsonl").exists()


def test_a_resumed_run_removes_later_lines_and_half_a_line(tmp_path):
    lines = [json.dumps({"kimg": kimg}) for kimg in (0.1, 0.2, 0.3)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + '\n{"kimg": 0.')
    with TrainingLog(tmp_path, 0.2):
        pass
    assert [line["kimg"] for line in read_log(tmp_path)] == [0.1, 0.2]
