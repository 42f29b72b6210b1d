import json
import re

import pytest

from regan.common.errors import TrainingDivergedError
from regan.gan.log import TrainingLog, read_log


def add(log, **figures):
    values = {"generator_loss": 1.0, "discriminator_loss": 1.0} | figures
    log.add(values, num_images=4, seconds=2.0, waited=0.5)


def test_a_line_holds_the_means_since_the_last_one(tmp_path):
    with TrainingLog(tmp_path, 0.0, 1.0) as log:
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
    assert first["seconds_per_kimg"] == 500
    assert first["seconds_left"] == pytest.approx(0.992 * 500)
    assert 0.01 < first["host_memory_gb"] < 100
    assert (second["generator_loss"], second["kimg"]) == (7.0, 0.012)
    assert "r1" not in second


def test_the_progress_line_is_told_speed_waiting_and_memory(tmp_path):
    with TrainingLog(tmp_path, 0.0, 1.0) as log:
        assert log.newest == {}
        add(log, augmentation_strength=0.25)
        log.flush(0.008)
    assert log.newest["generator_loss"] == 1.0
    assert log.newest["augmentation_strength"] == 0.25
    assert log.newest["s_per_kimg"] == 500
    assert log.newest["waiting"] == "25.0%"
    assert re.fullmatch(r"\d+\.\d GB \(host\)( and \d+\.\d GB \(gpu\))?", log.newest["memory"])


def test_a_resumed_run_remembers_how_long_the_discriminator_has_been_winning(tmp_path):
    lost = {"generator_loss": 20.0, "real_sign": 1.0, "fake_sign": -1.0}
    kimg = 0.0
    for lines in (3, 1):
        with TrainingLog(tmp_path, kimg, 1.0) as log:
            for _ in range(lines):
                kimg += 0.004
                add(log, **lost)
                log.flush(kimg)
    with TrainingLog(tmp_path, kimg, 1.0) as log:
        add(log, **lost)
        with pytest.raises(TrainingDivergedError, match="The discriminator has won"):
            log.flush(kimg + 0.004)
    assert len(read_log(tmp_path)) == 5  # the line that says so too


def test_nothing_is_written_where_no_step_was_made(tmp_path):
    with TrainingLog(tmp_path, 0.0, 1.0) as log:
        log.flush(0.0)
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e3])
def test_divergence_stops_the_run_and_names_the_figure(tmp_path, value):
    with TrainingLog(tmp_path, 0.0, 1.0) as log:
        add(log, generator_loss=value)
        with pytest.raises(TrainingDivergedError, match="generator_loss"):
            log.flush(0.004)
    assert not (tmp_path / "log.jsonl").exists()


def test_a_resumed_run_removes_later_lines_and_half_a_line(tmp_path):
    lines = [json.dumps({"kimg": kimg}) for kimg in (0.1, 0.2, 0.3)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + '\n{"kimg": 0.')
    with TrainingLog(tmp_path, 0.2, 1.0):
        pass
    assert [line["kimg"] for line in read_log(tmp_path)] == [0.1, 0.2]
