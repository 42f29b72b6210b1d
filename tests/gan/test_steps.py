import keras
import numpy as np
import pytest
from keras import ops, tree

from regan import backend
from regan.gan import losses, steps
from regan.gan.inputs import Inputs, TrainingImages
from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork
from regan.gan.steps import Phases, adam_update, average, initial_state

_STEPS = (1e-6, -1e-6)


@pytest.fixture
def float64():
    for name in ("float64", "float32"):
        keras.config.set_floatx(name)
        keras.config.set_dtype_policy(name)
        if name == "float64":
            yield


@pytest.fixture
def networks(config, random):
    return GeneratorNetwork.build(config, random), DiscriminatorNetwork.build(config, random)


@pytest.fixture
def batches(config, random):
    images = TrainingImages(random.integers(0, 256, (9, 32, 32, 1), dtype=np.uint8), np.arange(9) % 2)
    return tree.map_structure(ops.convert_to_tensor, Inputs(config, images).draw(0))


def adam_state(value, moment, updates):
    return {
        "generator": {"w": ops.convert_to_tensor(np.float32(value))},
        "generator_moment": {"w": ops.convert_to_tensor(np.float32(moment))},
        "generator_updates": ops.convert_to_tensor(np.float32(updates)),
    }


def test_first_update_of_adam_moves_by_the_rate_against_the_gradient():
    for gradient in (3.0, -0.01):
        gradients = {"w": ops.convert_to_tensor(np.float32(gradient))}
        changed = adam_update(adam_state(1.0, 0.0, 0), "generator", gradients, 0.1, 0.99)
        assert float(changed["generator"]["w"]) == pytest.approx(1.0 - 0.1 * np.sign(gradient), rel=1e-4)
        assert float(changed["generator_updates"]) == 1


def test_later_updates_of_adam_follow_the_paper():
    # Kingma and Ba, algorithm 1, with beta1 = 0.
    weight, moment = 1.0, 0.0
    state = adam_state(weight, moment, 0)
    for step, gradient in enumerate([0.5, -2.0, 0.25], start=1):
        moment = 0.9 * moment + 0.1 * gradient**2
        weight -= 0.01 * gradient / (np.sqrt(moment / (1 - 0.9**step)) + 1e-8)
        gradients = {"w": ops.convert_to_tensor(np.float32(gradient))}
        state |= adam_update(state, "generator", gradients, 0.01, 0.9)
    assert float(state["generator"]["w"]) == pytest.approx(weight, rel=1e-5)


def test_rate_and_decay_are_corrected_for_the_lazy_update(config, networks, monkeypatch):
    seen = []

    def note(state, network, gradients, rate, beta2):
        seen.append((network, rate, beta2))
        return {}

    monkeypatch.setattr(steps, "adam_update", note)
    for network, interval in (("generator", 4), ("discriminator", 16)):
        update = steps._update(backend.OneDevice(), network, config, interval)
        state = {network: {}, f"{network}_moment": {}, f"{network}_updates": ops.zeros(())}
        update(state, {})
        correction = interval / (interval + 1)
        assert seen[-1] == (network, config.learning_rate * correction, 0.99**correction)


def test_average_halves_the_distance_in_one_half_life():
    state = {"generator": {"w": np.float32(1.0)}, "average": {"w": np.float32(0.0)}}
    for _ in range(10):
        state |= average(state, np.float32(0.5**0.1))
    assert float(state["average"]["w"]) == pytest.approx(0.5, rel=1e-5)


def test_one_call_on_both_halves_equals_one_call_for_each(networks, batches):
    _, network = networks
    batch = batches["discriminator"]
    weights = network.weights()
    real = ops.cast(batch["images"], "float32") / 127.5 - 1
    synthetic = -0.3 * real
    scores = network.scores(
        weights, steps._interleave(synthetic, real), steps._interleave(batch["labels"], batch["real_labels"])
    )
    together = steps._separate(scores)
    apart = network.scores(weights, synthetic, batch["labels"]), network.scores(weights, real, batch["real_labels"])
    for ours, expected in zip(together, apart, strict=True):
        assert np.asarray(ours) == pytest.approx(np.asarray(expected), rel=1e-4, abs=1e-5)


def test_styles_change_latent_at_the_cut(config, networks, batches):
    generator, discriminator = networks
    phases = Phases(config, generator, discriminator)
    batch = batches["generator"] | {"cut": ops.convert_to_tensor(np.int32(3))}
    styles, first = phases._mixed_styles(generator.weights(), batch)
    other = generator.styles(generator.weights(), batch["other_latents"], batch["labels"])
    assert np.asarray(styles)[:, 2] == pytest.approx(np.asarray(first), abs=1e-6)
    assert np.asarray(styles)[:, 3] == pytest.approx(np.asarray(other), abs=1e-6)


def test_path_mean_is_updated_before_the_penalty(config, networks, batches):
    generator, discriminator = networks
    phases = Phases(config, generator, discriminator)
    batch, weights = batches["path_length"], generator.weights()
    loss, (changes, _) = phases._path_loss(weights, {"path_mean": ops.zeros(())}, batch)
    styles, _ = phases._mixed_styles(weights, batch)
    lengths = np.asarray(
        losses.path_lengths(lambda w: generator.images(weights, w, batch["noise"]), styles, batch["direction"])
    )
    mean = 0.01 * lengths.mean()
    assert float(changes["path_mean"]) == pytest.approx(mean, rel=1e-4)
    assert float(loss) == pytest.approx(2 * 4 * ((lengths - mean) ** 2).mean(), rel=1e-4)


@pytest.mark.parametrize("penalty", ["path length", "R1"])
def test_second_order_gradients_equal_numerical_differences(penalty, config, batches, random, float64):
    # In float64: in float32 the kinks of the leaky rectifier hide the last digits.
    generator, discriminator = GeneratorNetwork.build(config, random), DiscriminatorNetwork.build(config, random)
    phases = Phases(config, generator, discriminator)
    loss, weights, batch = {
        "path length": (phases._path_loss, generator.weights(), batches["path_length"]),
        "R1": (phases._r1_loss, discriminator.weights(), batches["discriminator"]),
    }[penalty]
    batch = tree.map_structure(lambda x: ops.cast(x, "float64") if "float" in str(x.dtype) else x, batch)
    state = {"path_mean": ops.zeros((), "float64")}
    _, gradients = backend.value_and_gradient(loss)(weights, state, batch)
    for path in list(weights)[::4]:
        direction = random.standard_normal(weights[path].shape)
        ahead, behind = (float(loss(weights | {path: weights[path] + h * direction}, state, batch)[0]) for h in _STEPS)
        numerical = (ahead - behind) / (_STEPS[0] - _STEPS[1])
        assert float(ops.sum(gradients[path] * direction)) == pytest.approx(numerical, rel=1e-6, abs=1e-12), path


def test_r1_loss_is_half_gamma_times_the_mean_norm_times_the_interval(config, networks, batches):
    generator, discriminator = networks
    phases = Phases(config, generator, discriminator)
    loss, (_, figures) = phases._r1_loss(discriminator.weights(), {}, batches["discriminator"])
    assert float(loss) == pytest.approx(float(figures["r1"]) * config.r1_gamma / 2 * 16, rel=1e-5)
    assert float(figures["r1"]) > 0


def test_state_starts_with_the_average_equal_to_the_generator(config, networks):
    state = initial_state(config, *networks)
    assert state["average"].keys() == state["generator"].keys()
    assert all(np.array_equal(state["average"][path], value) for path, value in state["generator"].items())
