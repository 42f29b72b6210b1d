"""The time left of a run, predicted and then corrected by what its steps took."""

import pytest

from pipelines.remaining import Remaining


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


TITLES = ["preflight", "train teacher", "train GAN", "generate negative", "generate positive"]
SECONDS = {"preflight": 0.0, "train teacher": 10.0, "train GAN": 100.0, "generate": 20.0}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def left(clock):
    remaining = Remaining(TITLES, clock)
    remaining.start(1, "preflight")
    remaining.expect(SECONDS)
    remaining.finish(1, ran=True)
    return remaining


def run_step(remaining, clock, number, title, seconds, ran=True):
    remaining.start(number, title)
    clock.now += seconds
    remaining.finish(number, ran=ran)


def test_nothing_is_said_before_anything_is_predicted(clock):
    assert Remaining(TITLES, clock).seconds() is None


def test_the_prediction_counts_every_step_that_is_to_come(left):
    assert left.seconds() == 150


def test_a_running_step_counts_down(left, clock):
    left.start(2, "train teacher")
    clock.now += 4
    assert left.seconds() == 146
    clock.now += 100
    assert left.seconds() == 140


def test_a_step_that_took_five_times_as_long_stretches_the_others(left, clock):
    run_step(left, clock, 2, "train teacher", 50)
    # A twentieth of 150 s is taken as predicted: (7.5 + 50) / (7.5 + 10).
    assert left.seconds() == pytest.approx(140 * 57.5 / 17.5)
    run_step(left, clock, 3, "train GAN", 500)
    assert left.seconds() == pytest.approx(40 * (7.5 + 550) / (7.5 + 110))


def test_a_step_that_was_kept_corrects_nothing(left, clock):
    run_step(left, clock, 2, "train teacher", 0.1, ran=False)
    assert left.seconds() == pytest.approx(140)


def test_what_a_step_says_itself_is_the_least_that_is_left(left, clock):
    left.start(3, "train GAN")
    left.bound(3, 600)
    assert left.seconds() == pytest.approx(10 + 40 + 600)
    clock.now += 100
    assert left.seconds() == pytest.approx(10 + 40 + 500)


def test_steps_without_a_prediction_count_nothing(clock):
    remaining = Remaining(["train teacher", "something else"], clock)
    remaining.expect(SECONDS)
    assert remaining.seconds() == 10
    run_step(remaining, clock, 1, "something else", 500)
    assert remaining.seconds() == pytest.approx(10)


def test_items_of_a_loop_run_side_by_side(left):
    left.start(4, "generate negative")
    left.start(5, "generate positive")
    assert left.seconds() == 150
    left.finish(5, ran=False)
    left.finish(4, ran=False)
    assert left.seconds() == 110
