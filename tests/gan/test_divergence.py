import numpy as np
import pytest

from regan.common.errors import TrainingDivergedError
from regan.gan.divergence import DivergenceMonitor, require_finite

LOST = {"generator_loss": 11.0, "real_sign": 1.0, "fake_sign": -1.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("r1", float("nan")),
        ("path_penalty", float("inf")),
        ("augmentation_strength", float("-inf")),
        ("generator_loss", 101.0),
        ("discriminator_loss", 1e30),
        ("path_length", 1001.0),
    ],
)
def test_a_figure_beyond_its_bounds_is_named(name, value):
    figures = {"generator_loss": 99.0, "discriminator_loss": 2.0, "path_length": 999.0, "r1": 1e6, "path_penalty": 1e5}
    DivergenceMonitor().require_bounded(figures)
    with pytest.raises(TrainingDivergedError, match=f"Training diverged: {name}="):
        DivergenceMonitor().require_bounded(figures | {name: value})


def test_a_discriminator_that_wins_for_five_lines_ends_the_run():
    monitor = DivergenceMonitor()
    for _ in range(4):
        monitor.require_balance(LOST)
    with pytest.raises(TrainingDivergedError, match=r"discriminator has won.*augment='ada'"):
        monitor.require_balance(LOST)


@pytest.mark.parametrize("change", [{"generator_loss": 9.0}, {"real_sign": 0.99}, {"fake_sign": -0.99}])
def test_a_line_on_which_it_does_not_begins_the_count_anew(change):
    monitor = DivergenceMonitor([LOST] * 4)
    monitor.require_balance(LOST | change)
    for _ in range(4):
        monitor.require_balance(LOST)
    with pytest.raises(TrainingDivergedError):
        monitor.require_balance(LOST)


def test_a_state_that_is_not_finite_is_refused_with_the_place():
    state = {"generator": {"kernel": np.ones(3), "bias": np.zeros(2)}, "path_mean": np.float32(1)}
    require_finite(state)
    state["generator"]["bias"][1] = np.inf
    with pytest.raises(TrainingDivergedError, match="generator/bias"):
        require_finite(state)
