import logging

import pytest

from regan.common.progress import Progress


class Clock:
    """Seconds that a test moves on by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_says_how_far_how_fast_and_what_is_left(caplog):
    caplog.set_level(logging.INFO, "regan")
    clock = Clock()
    progress = Progress("Generate images", 5000, clock=clock)
    progress.advance(0)
    clock.now = 10.0
    progress.advance(1250, loss=0.123456)
    assert caplog.messages == [
        "Generate images: 1,250 of 5,000 images (25%), 125 images/s, 30 s left, loss 0.1235",
    ]


def test_the_wait_for_the_first_unit_does_not_count_as_speed(caplog):
    caplog.set_level(logging.INFO, "regan")
    clock = Clock()
    progress = Progress("Train GAN", 1000, clock=clock)
    clock.now = 60.0
    progress.advance(10)
    clock.now = 65.0
    progress.advance(50)
    assert caplog.messages == [
        "Train GAN: 10 of 1,000 images (1%)",
        "Train GAN: 60 of 1,000 images (6%), 10 images/s, 1 min 34 s left",
    ]


def test_the_speed_is_that_of_the_latest_lines(caplog):
    caplog.set_level(logging.INFO, "regan")
    clock = Clock()
    progress = Progress("Train GAN", 1000, clock=clock)
    for second, done in [(5, 1), (10, 1), (15, 1), (20, 1), (25, 1), (30, 100), (35, 100), (40, 100)]:
        clock.now = float(second)
        progress.advance(done)
    assert "10.1 images/s" in caplog.messages[-1]


def test_lines_keep_their_distance(caplog):
    caplog.set_level(logging.INFO, "regan")
    clock = Clock()
    progress = Progress("Train", 100, clock=clock)
    for second in range(1, 12):
        clock.now = float(second)
        progress.advance()
    assert len(caplog.messages) == 2


def test_the_end_is_said_unless_the_loop_failed(caplog):
    caplog.set_level(logging.INFO, "regan")
    with Progress("Train", 1, "kimg") as progress:
        progress.advance()
    assert caplog.messages[0].startswith("Train: done, 1 kimg in")
    with pytest.raises(RuntimeError), Progress("Train", 1, "kimg"):
        raise RuntimeError
    assert len(caplog.messages) == 1


def test_nothing_to_do_is_refused():
    with pytest.raises(ValueError, match="must be more than 0"):
        Progress("Train", 0)
