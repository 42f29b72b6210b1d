"""Arithmetic of the networks, against the weights of the networks that are built."""

import re

import numpy as np
import pytest

from regan.gan.configuration import configure
from regan.gan.flop import discriminator_flop, generator_flop, step_flop
from regan.gan.inputs import Stream, random_generator
from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork


def config(preset: str = "demo", size: int = 32, channels: int = 1, **changes):
    return configure(preset, size=size, channels=channels, labels=("a", "b"), **changes)


def test_a_training_step_of_the_reference_takes_399_gflop_an_image():
    # Counted by hand from the shapes of config-e at 256 x 256 for docs/scaling.md.
    assert step_flop(config("config-e", 256)) == pytest.approx(399e9, rel=0.001)


def products(network, kind: str) -> float:
    """Twice the multiplications of all kernels: each weight meets the pixels of the image that its name tells."""
    total = 0.0
    for name, kernel in network.build(config(), random_generator(0, Stream.WEIGHTS)).weights().items():
        if np.ndim(kernel) == 4 and name.startswith(kind):
            size = int(re.search(r"size_(\d+)|$", name)[1] or (4 if "last" in name else 32))
            # What doubles or halves the image works on the smaller side.
            is_halved = any(word in name for word in ("_up/", "/second/", "/shortcut/"))
            total += 2 * np.prod(np.shape(kernel)) * (size / (2 if is_halved else 1)) ** 2
    return total


def test_the_arithmetic_is_that_of_the_kernels_that_are_built():
    assert generator_flop(config()) == products(GeneratorNetwork, "synthesis")
    dense = 2 * 16 * 64 * 64  # the last maps, flattened, to as many numbers
    assert discriminator_flop(config()) == products(DiscriminatorNetwork, "discriminator") + dense


def test_without_path_length_a_step_is_cheaper_by_three_generators_every_interval():
    with_path, without = config(), config(path_weight=0.0)
    saved = step_flop(with_path) - step_flop(without)
    assert saved == pytest.approx(3 * generator_flop(with_path) / with_path.path_interval)


def test_twice_the_maps_cost_nearly_four_times_as_much():
    narrow, wide = config(base_maps=512, max_maps=64), config(base_maps=1024, max_maps=128)
    for flop in (generator_flop, discriminator_flop):
        assert 3.5 < flop(wide) / flop(narrow) < 4.0
