import dataclasses
import math

import numpy as np
import pytest

from regan.common.errors import SettingError
from regan.gan.configuration import PRESETS, GanConfig, configure
from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork


def number_of(weights):
    return sum(math.prod(value.shape) for value in weights.values())


# STYLEGAN2, section 1: trainable parameters of the published networks, RGB, without labels.
@pytest.mark.parametrize(
    ("preset", "size", "generator", "discriminator"),
    [
        ("config-e", 256, 24_767_458, 24_001_089),
        ("config-f", 256, 30_034_338, 28_864_129),
        ("config-f", 1024, 30_370_060, 29_012_513),
    ],
)
def test_presets_have_the_published_number_of_parameters(preset, size, generator, discriminator):
    config = configure(preset, size=size, channels=3, labels=("a",))
    zeros = _Zeros()
    assert number_of(GeneratorNetwork.build(config, zeros).weights()) == generator
    assert number_of(DiscriminatorNetwork.build(config, zeros).weights()) == discriminator


class _Zeros(np.random.Generator):
    """Stands in for the source of initial weights where only their number matters."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        return np.zeros(size, dtype)


@pytest.mark.parametrize(
    ("preset", "maps"),
    [
        ("config-e", {4: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}),
        ("config-f", {4: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}),
    ],
)
def test_feature_maps_are_those_of_the_paper(preset, maps):
    config = configure(preset, size=1024, channels=3, labels=("a",))
    assert {size: config.maps(size) for size in maps} == maps


def test_counts_of_styles_and_noise_inputs_follow_from_the_size():
    config = configure("config-e", size=256, channels=3, labels=("a",))
    assert config.num_styles == 14
    assert len(config.noise_sizes) == 2 * 8 - 3


def test_r1_gamma_is_the_papers_at_1024_and_grows_with_the_number_of_pixels():
    assert configure("config-e", size=1024, channels=3, labels=("a",)).r1_gamma == 100
    assert configure("config-f", size=1024, channels=3, labels=("a",)).r1_gamma == 10
    assert configure("config-f", size=256, channels=3, labels=("a",)).r1_gamma == 10 / 16


def test_two_labels_make_a_conditional_network_and_one_does_not():
    assert configure("demo", size=32, channels=1, labels=("a", "b")).num_labels == 2
    assert configure("demo", size=32, channels=1, labels=("a",)).num_labels == 0


def test_kimg_of_zero_is_the_presets():
    assert configure("demo", size=32, channels=1, labels=("a",)).kimg == PRESETS["demo"]["kimg"]
    assert configure("demo", size=32, channels=1, labels=("a",), kimg=7).kimg == 7


def test_plain_values_give_the_configuration_back(config):
    assert GanConfig.from_dict(config.to_dict()) == config


def test_the_hash_ignores_the_length_of_the_run_and_nothing_else(config):
    assert dataclasses.replace(config, kimg=99.0).hash() == config.hash()
    assert dataclasses.replace(config, seed=1).hash() != config.hash()
    assert dataclasses.replace(config, labels=("x", "y")).hash() != config.hash()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 48}, "power of two between 32 and 1024"),
        ({"size": 16}, "power of two between 32 and 1024"),
        ({"channels": 2}, "`channels` must be 1"),
        ({"labels": ("a", "b", "c")}, "one class or two"),
        ({"batch_size": 6}, "multiple of 4"),
        ({"mapping_layers": 0}, "`mapping_layers` must be at least 1.*mapping_layers=0"),
        ({"kimg": -1.0}, "`kimg` must be"),
        ({"snapshot_kimg": 0.25}, "`snapshot_kimg` must be"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be greater than 0"),
    ],
)
def test_values_out_of_range_are_refused_by_name(config, changes, message):
    with pytest.raises(SettingError, match=message):
        dataclasses.replace(config, **changes)


def test_mapping_layers_are_the_presets_unless_others_are_asked_for():
    made = {n: configure("config-e", size=32, channels=1, labels=("a",), mapping_layers=n) for n in (0, 2)}
    assert {n: config.mapping_layers for n, config in made.items()} == {0: 8, 2: 2}
    assert made[0].hash() != made[2].hash()


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(SettingError, match="demo, config-e, config-f"):
        configure("config-x", size=32, channels=1, labels=("a",))


def test_an_unknown_field_is_refused():
    with pytest.raises(SettingError, match="no field gamma"):
        configure("demo", size=32, channels=1, labels=("a",), gamma=3)
