"""One training step as pure functions of a state and a batch.

A step has five phases, in this order: generator, path-length regularisation (every `path_interval` steps),
discriminator, average, R1 (every `r1_interval` steps). Each phase takes the state and what was drawn for it, and gives
the entries of the state that it changes. Gradients and their application are separate functions, because replicas sum
gradients between the two.

References:
    Karras et al. 2020, appendix B ("lazy regularization"). https://arxiv.org/abs/1912.04958
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from regan import backend
from regan.gan import losses
from regan.gan.augmentation.strength import STATE, STRENGTH, adjusted, initial_strength
from regan.gan.augmentation.transforms import augment
from regan.gan.configuration import GanConfig
from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork

State = dict[str, Any]
Batch = dict[str, Any]
Figures = dict[str, Any]

ADAM_EPSILON = 1e-8


def initial_state(
    config: GanConfig, generator_network: GeneratorNetwork, discriminator_network: DiscriminatorNetwork
) -> State:
    """State before the first step: the weights as drawn, everything else at its start."""
    generator, discriminator = generator_network.weights(), discriminator_network.weights()
    return {
        "generator": generator,
        "discriminator": discriminator,
        "average": generator,
        "generator_moment": {path: ops.zeros_like(value) for path, value in generator.items()},
        "discriminator_moment": {path: ops.zeros_like(value) for path, value in discriminator.items()},
        "generator_updates": ops.zeros(()),
        "discriminator_updates": ops.zeros(()),
        "style_mean": ops.zeros((config.style_size,)),
        "path_mean": ops.zeros(()),
        **(initial_strength() if config.ada else {}),
    }


def average(state: State, decay: Any) -> State:
    """Move the averaged generator towards the current one; `decay` is the weight of what was."""
    weights = {path: mean * decay + state["generator"][path] * (1 - decay) for path, mean in state["average"].items()}
    return {"average": weights}


class Phases:
    """The phases of one configuration, each compiled on its first call.

    Every phase is `phase(state, batch) -> (changes, figures)`; `average` is `average(state, decay) -> changes`.

    Args:
        config: The run's configuration.
        generator_network: What is trained, as functions of weights.
        discriminator_network: The same.
    """

    def __init__(
        self, config: GanConfig, generator_network: GeneratorNetwork, discriminator_network: DiscriminatorNetwork
    ) -> None:
        self.config = config
        self.generator_network, self.discriminator_network = generator_network, discriminator_network
        strength = (STRENGTH,) if config.ada else ()
        update = _update("generator", config, config.path_interval if config.path_weight else 0)
        self.generator = _phase("generator", self._generator_loss, ("discriminator", "style_mean", *strength), update)
        self.path_length = _phase("generator", self._path_loss, ("path_mean",), update)
        update = _update("discriminator", config, config.r1_interval)
        reads = ("generator", *(STATE if config.ada else ()))
        self.discriminator = _phase("discriminator", self._discriminator_loss, reads, update)
        self.r1 = _phase("discriminator", self._r1_loss, strength, update)
        self._average = backend.jit(average)

    def average(self, state: State, decay: Any) -> State:
        """See `average`."""
        return self._average(_part(state, ("generator", "average")), decay)

    def _generator_loss(self, weights: Any, state: State, batch: Batch) -> tuple[Any, Any]:
        styles, first = self._mixed_styles(weights, batch)
        images = self.generator_network.images(weights, styles, batch["noise"])
        shown = self._shown(images, batch, "transforms", state)
        scores = self.discriminator_network.scores(state["discriminator"], shown, batch["labels"])
        loss = losses.generator_loss(scores)
        center = ops.mean(first, axis=0)
        style_mean = center + (state["style_mean"] - center) * self.config.style_decay
        return loss, ({"style_mean": style_mean}, {"generator_loss": loss})

    def _path_loss(self, weights: Any, state: State, batch: Batch) -> tuple[Any, Any]:
        styles, _ = self._mixed_styles(weights, batch)
        lengths = losses.path_lengths(
            lambda w: self.generator_network.images(weights, w, batch["noise"]), styles, batch["direction"]
        )
        # The running mean is updated first, and the gradient flows through it.
        path_mean = state["path_mean"] + self.config.path_decay * (ops.mean(lengths) - state["path_mean"])
        penalty = ops.mean(ops.square(lengths - path_mean))
        loss = penalty * self.config.path_weight * self.config.path_interval
        return loss, ({"path_mean": path_mean}, {"path_length": ops.mean(lengths), "path_penalty": penalty})

    def _discriminator_loss(self, weights: Any, state: State, batch: Batch) -> tuple[Any, Any]:
        styles, _ = self._mixed_styles(state["generator"], batch)
        synthetic = self.generator_network.images(state["generator"], styles, batch["noise"])
        synthetic = self._shown(synthetic, batch, "transforms", state)
        real = self._shown(self._real_images(batch), batch, "real_transforms", state)
        labels = _interleave(batch["labels"], batch["real_labels"]) if self.config.num_labels else None
        scores = self.discriminator_network.scores(weights, _interleave(synthetic, real), labels)
        synthetic_scores, real_scores = _separate(scores)
        loss = losses.discriminator_loss(synthetic_scores, real_scores)
        figures = {
            "discriminator_loss": loss,
            "real_sign": _mean_sign(real_scores),
            "fake_sign": _mean_sign(synthetic_scores),
        }
        if not self.config.ada:
            return loss, ({}, figures)
        changes = adjusted(self.config, state, figures["real_sign"], batch["adjust"])
        return loss, (changes, figures | {STRENGTH: changes[STRENGTH]})

    def _r1_loss(self, weights: Any, state: State, batch: Batch) -> tuple[Any, Any]:
        # The gradient is that by the images before augmentation.
        norms = losses.squared_gradient_norms(
            lambda images: self.discriminator_network.scores(
                weights, self._shown(images, batch, "real_transforms", state), batch["real_labels"]
            ),
            self._real_images(batch),
        )
        penalty = ops.mean(norms)
        return penalty * (self.config.r1_gamma / 2 * self.config.r1_interval), ({}, {"r1": penalty})

    def _mixed_styles(self, weights: Any, batch: Batch) -> tuple[Any, Any]:
        """Styles `(n, num_styles, d)` that change latent at `batch["cut"]`, and those of the first latent `(n, d)`."""
        both = ops.concatenate([batch["latents"], batch["other_latents"]])
        labels = ops.concatenate([batch["labels"], batch["labels"]]) if self.config.num_labels else None
        first, second = ops.split(self.generator_network.styles(weights, both, labels), 2)
        is_first = ops.arange(self.config.num_styles, dtype="int32") < batch["cut"]
        return ops.where(is_first[None, :, None], first[:, None], second[:, None]), first

    def _shown(self, images: Any, batch: Batch, drawn: str, state: State) -> Any:
        """Images as the discriminator sees them."""
        return augment(images, batch[drawn], state[STRENGTH]) if self.config.ada else images

    def _real_images(self, batch: Batch) -> Any:
        return ops.cast(batch["images"], keras.config.floatx()) / 127.5 - 1


def _update(network: str, config: GanConfig, interval: int) -> Callable[[State, dict[str, Any]], State]:
    """Adam's update of a network that takes one more every `interval` steps (0: none) for its regularisation.

    Rate and decay are corrected for it, so that they stay the same per image. Both phases share the compiled function.
    """
    correction = interval / (interval + 1) if interval else 1.0
    rate, beta2 = config.learning_rate * correction, config.beta2**correction

    def update(state: State, gradients: dict[str, Any]) -> State:
        return adam_update(state, network, gradients, rate, beta2)

    compiled, reads = backend.jit(update), (network, f"{network}_moment", f"{network}_updates")
    return lambda state, gradients: compiled(_part(state, reads), gradients)


def _phase(
    network: str,
    loss: Callable[..., Any],
    reads: tuple[str, ...],
    update: Callable[[State, dict[str, Any]], State],
) -> Callable[[State, Batch], tuple[State, Figures]]:
    """Gradient of a loss by the network's weights, then the update.

    `loss(weights, state, batch)` gives `(loss, (changes, figures))`, and is given the entries `reads` of the state.
    """
    gradients_of = backend.jit(backend.value_and_gradient(loss))

    def phase(state: State, batch: Batch) -> tuple[State, Figures]:
        (_, (changes, figures)), gradients = gradients_of(state[network], _part(state, reads), batch)
        return changes | update(state, gradients), figures

    return phase


def _part(state: State, names: tuple[str, ...]) -> State:
    return {name: state[name] for name in names}


def adam_update(state: State, network: str, gradients: dict[str, Any], rate: float, beta2: float) -> State:
    """One update of Adam with beta1 = 0, which needs no first moment.

    Args:
        state: Holds the weights at `network`, second moments and count of updates.
        network: `generator` or `discriminator`.
        gradients: By path, as the weights.
        rate: Learning rate.
        beta2: Decay of the second moment.

    Returns:
        The changed entries of the state.

    References:
        Kingma and Ba 2015, algorithm 1. https://arxiv.org/abs/1412.6980
    """
    updates = state[f"{network}_updates"] + 1
    correction = ops.sqrt(1 - ops.power(ops.cast(beta2, updates.dtype), updates))
    moments = {
        path: beta2 * moment + (1 - beta2) * ops.square(gradients[path])
        for path, moment in state[f"{network}_moment"].items()
    }
    weights = {
        path: value - rate * gradients[path] / (ops.sqrt(moments[path]) / correction + ADAM_EPSILON)
        for path, value in state[network].items()
    }
    return {network: weights, f"{network}_moment": moments, f"{network}_updates": updates}


def _interleave(synthetic: Any, real: Any) -> Any:
    """Both halves of a batch in an order in which no group of the minibatch deviation holds both kinds.

    One call of the discriminator on both is then the same as one call for each, and faster.
    """
    rows = [ops.reshape(x, (4, x.shape[0] // 4, *x.shape[1:])) for x in (synthetic, real)]
    return ops.reshape(ops.concatenate(rows, axis=1), (2 * synthetic.shape[0], *synthetic.shape[1:]))


def _separate(scores: Any) -> tuple[Any, Any]:
    synthetic, real = ops.split(ops.reshape(scores, (4, -1)), 2, axis=1)
    return ops.reshape(synthetic, (-1,)), ops.reshape(real, (-1,))


def _mean_sign(scores: Any) -> Any:
    return ops.mean(ops.sign(scores))
