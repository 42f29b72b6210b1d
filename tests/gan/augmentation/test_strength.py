import dataclasses

import numpy as np
import pytest
from keras import ops, tree

from regan.gan.augmentation.strength import SIGNS, STRENGTH, adjust_strength, initial_strength
from regan.gan.configuration import configure
from regan.gan.inputs import Inputs, TrainingImages
from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork
from regan.gan.steps import Phases, initial_state

TINY = {"base_maps": 64, "max_maps": 8, "latent_size": 8, "style_size": 8, "mapping_layers": 1, "batch_size": 4}


@pytest.fixture(scope="module")
def config():
    return configure("demo", size=32, channels=1, labels=("b", "m"), augment="ada", ada_kimg=0.16, **TINY)


def strengths(config, signs):
    state, seen = initial_strength(), []
    for number, sign in enumerate(signs, start=1):
        state |= adjust_strength(config, state, np.float32(sign), np.bool_(number % 4 == 0))
        seen.append(float(state[STRENGTH]))
    return seen, state


def test_every_four_steps_the_strength_moves_by_the_images_seen(config):
    # Four steps of four images, of the 160 that go from 0 to 1.
    seen, state = strengths(config, [0.5, 0.7, 0.7, 0.7, 1, 1, 1])  # a mean of 0.65 is above the target
    assert seen == pytest.approx([0, 0, 0, 0.1, 0.1, 0.1, 0.1])
    assert float(state[SIGNS]) == 3


def test_it_falls_where_real_images_are_known_too_little_and_stays_from_0_to_1(config):
    assert strengths(config, [1.0] * 8 + [0.5] * 4)[0][-1] == pytest.approx(0.1)
    assert strengths(config, [0.5] * 4)[0][-1] == 0
    assert strengths(config, [1.0] * 80)[0][-1] == 1


@pytest.fixture(scope="module")
def networks(config):
    random = np.random.default_rng(0)
    return GeneratorNetwork.build(config, random), DiscriminatorNetwork.build(config, random)


@pytest.fixture(scope="module")
def batches(config):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 1), dtype=np.uint8)
    return Inputs(config, TrainingImages(pixels, np.arange(9) % 2)).draw(0)


def test_draws_belong_to_the_step_and_leave_all_others_as_they_were(config, batches):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 1), dtype=np.uint8)
    plain = Inputs(dataclasses.replace(config, ada=False), TrainingImages(pixels, np.arange(9) % 2)).draw(0)
    for phase, drawn in plain.items():
        tree.map_structure(np.testing.assert_array_equal, {n: batches[phase][n] for n in drawn}, drawn)
    chances = [batches["generator"]["transforms"], batches["discriminator"]["transforms"]]
    chances = [drawn["chance"] for drawn in [*chances, batches["discriminator"]["real_transforms"]]]
    assert len({chance.tobytes() for chance in chances}) == 3


def test_both_kinds_of_images_are_augmented_and_strength_zero_changes_no_figure(config, networks, batches):
    def losses(config, strength):
        phases, state = Phases(config, *networks), initial_state(config, *networks)
        state |= {STRENGTH: ops.convert_to_tensor(np.float32(strength))} if config.ada else {}
        loss_of = {
            "generator": (phases._generator_loss, "generator"),
            "discriminator": (phases._discriminator_loss, "discriminator"),
            "r1": (phases._r1_loss, "discriminator"),
        }
        found = {}
        for name, (loss, network) in loss_of.items():
            batch = tree.map_structure(ops.convert_to_tensor, batches["discriminator" if name == "r1" else name])
            value, (_, figures) = loss(state[network], state, batch)
            found |= {name: float(value)} | {n: float(f) for n, f in figures.items() if n != STRENGTH}
        return found

    plain = losses(dataclasses.replace(config, ada=False), 0)
    assert losses(config, 0) == plain
    strong = losses(config, 1)
    assert all(strong[name] != plain[name] for name in ("generator", "discriminator", "r1"))


@pytest.mark.parametrize("left_alone", ["transforms", "real_transforms"])
def test_each_kind_of_image_is_augmented_by_itself(config, networks, batches, left_alone):
    batch = dict(batches["discriminator"])
    unused = {"chance": np.ones_like(batch[left_alone]["chance"])}
    batch = tree.map_structure(ops.convert_to_tensor, batch | {left_alone: batch[left_alone] | unused})
    phases, state = Phases(config, *networks), initial_state(config, *networks)
    losses = [
        float(
            phases._discriminator_loss(state["discriminator"], state | {STRENGTH: ops.convert_to_tensor(p)}, batch)[0]
        )
        for p in (np.float32(0), np.float32(1))
    ]
    assert losses[0] != losses[1]


def test_a_step_adjusts_the_strength_in_the_state_and_tells_it(config, networks, batches, monkeypatch):
    state = initial_state(config, *networks) | {SIGNS: ops.convert_to_tensor(np.float32(10))}
    batch = tree.map_structure(ops.convert_to_tensor, batches["discriminator"] | {"adjust": np.bool_(True)})
    phases = Phases(config, *networks)
    monkeypatch.setattr(phases, "_discriminator", lambda state, batch: ({}, {"real_sign": ops.ones(())}))
    changes, figures = phases.discriminator(state, batch)
    assert float(changes[STRENGTH]) == float(figures[STRENGTH]) == pytest.approx(0.1)
    assert float(changes[SIGNS]) == 0


def test_a_run_without_it_has_no_strength_in_its_state(config, networks):
    assert STRENGTH not in initial_state(dataclasses.replace(config, ada=False), *networks)
    assert STRENGTH in initial_state(config, *networks)
