import pytest

from regan.gan.configuration import configure
from regan.runs.costs import (
    bytes_needed,
    cost_checks,
    discriminator_parameters,
    generator_parameters,
    gpu_hours,
    relative_cost,
    rounded_bytes,
    seconds_per_kimg,
)
from regan.runs.settings import canonical_values, settings_checks


def plan(**settings):
    return settings_checks(canonical_values(settings))[1]


@pytest.mark.parametrize(
    ("preset", "size", "generator", "discriminator"),
    [  # trainable parameters of the official networks with RGB and no labels
        ("config-e", 256, 24_767_458, 24.00e6),
        ("config-f", 256, 30_034_338, 28.86e6),
        ("config-f", 1024, 30.37e6, 29.01e6),
    ],
)
def test_parameters_are_counted_as_published(preset, size, generator, discriminator):
    config = configure(preset, size=size, channels=3, labels=("one",))
    assert generator_parameters(config) == pytest.approx(generator, abs=5e3 if generator == 30.37e6 else 0)
    assert discriminator_parameters(config) == pytest.approx(discriminator, abs=5e3)


@pytest.mark.parametrize("labels", [("one",), ("benign", "malignant")])
def test_parameters_are_those_of_our_networks(labels):
    import numpy as np

    from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork

    config = configure("demo", size=32, channels=1, labels=labels)
    count = [
        sum(int(np.prod(value.shape)) for value in network.build(config, np.random.default_rng(0)).weights().values())
        for network in (GeneratorNetwork, DiscriminatorNetwork)
    ]
    assert count == [generator_parameters(config), discriminator_parameters(config)]


@pytest.mark.parametrize(
    ("preset", "size", "gflop"), [("config-e", 256, 399), ("config-f", 256, 1208), ("config-e", 64, 204)]
)
def test_the_cost_of_a_step_relates_as_the_counted_operations_do(preset, size, gflop):
    config = configure(preset, size=size, channels=1, labels=("one",))
    assert relative_cost(config) == pytest.approx(gflop / 399, rel=0.02)


def test_the_reference_experiment_needs_the_bytes_of_the_readme():
    needed = bytes_needed(plan(), 1000)
    assert needed.snapshots == pytest.approx(2.5e9, rel=0.02)
    assert needed.checkpoints == pytest.approx(1.0e9, rel=0.03)
    assert needed.images == pytest.approx(6.6e9 + 35e6, rel=0.01)
    assert needed.classifiers == pytest.approx(0.7e9, rel=0.05)
    assert needed.total == sum((needed.snapshots, needed.checkpoints, needed.images, needed.classifiers))
    assert needed.largest_step < needed.total


def test_two_networks_and_more_rounds_need_more():
    one, two = (bytes_needed(plan(conditional=c), 0) for c in (True, False))
    assert two.snapshots == pytest.approx(2 * one.snapshots, rel=0.1)
    rounds = bytes_needed(plan(rounds=3), 0)
    assert (rounds.images, rounds.classifiers * 3) == (3 * one.images, one.classifiers * 7)


def test_classifiers_are_those_of_the_backbone_that_the_settings_name():
    small, large = (bytes_needed(plan(classifier_backbone=b), 0) for b in ("small", "InceptionResNetV2"))
    assert (small.classifiers, large.classifiers) == (3 * 4 * 700_000, 3 * 4 * 55_900_000)


def test_hours_on_a_v100_are_those_of_the_readme():
    low, high, source = gpu_hours(plan(conditional=False, gan_kimg=25_000), "Tesla V100-SXM2-16GB")
    assert (low, high) == (pytest.approx(2 * 150, rel=0.01), pytest.approx(2 * 257, rel=0.01))
    assert "published" in source


def test_a_slower_gpu_takes_longer_and_an_unknown_one_is_said_to_be():
    names = ["NVIDIA H200", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB", "NVIDIA L4"]
    ceilings = [seconds_per_kimg(name)[0] for name in names]
    assert ceilings == sorted(ceilings)
    assert seconds_per_kimg("NVIDIA L40S") != seconds_per_kimg("NVIDIA L4")
    assert seconds_per_kimg("NVIDIA Quadro 9") is None
    assert "no figures for NVIDIA Quadro 9" in cost_checks(plan(), 10, "NVIDIA Quadro 9")[0][1].found


def test_what_is_not_known_is_reported():
    checks, _ = cost_checks(plan(classifier_backbone="NASNetLarge"), None, "")
    assert "the size of NASNetLarge is unknown" in checks[0].detail
    assert "real images not counted" in checks[0].detail
    assert checks[1].found == "none"
    assert "no GPU was found" in cost_checks(plan(), 10, None)[0][1].found


@pytest.mark.parametrize(
    ("value", "text"), [(1.234e10, "12 GB"), (2.566e11, "260 GB"), (9.9e6, "9.9 MB"), (10, "10 bytes")]
)
def test_bytes_are_told_in_two_digits(value, text):
    assert rounded_bytes(value) == text
