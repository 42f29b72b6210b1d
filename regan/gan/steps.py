"""One training step as pure functions of a state and a batch.

A step has five phases, in this order: generator, path-length regularisation (every `path_interval` steps),
discriminator, moving average, R1 (every `r1_interval` steps). Each phase takes the state and its inputs, and returns
the entries of the state that it changes. Gradients and their application are separate functions, because replicas
average gradients between the two, and TensorFlow cannot do that inside a function that XLA compiles.

References:
    Karras et al. 2020, appendix B ("lazy regularization"). https://arxiv.org/abs/1912.04958
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from regan import backend
from regan.gan import losses
from regan.gan.augmentation.strength import STATE, STRENGTH, adjust_strength, initial_strength
from regan.gan.augmentation.transforms import augment
from regan.gan.configuration import GanConfig
from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork

State = dict[str, Any]
Batch = dict[str, Any]
Figures = dict[str, Any]

ADAM_EPSILON = 1e-8  # Kingma and Ba 2015
_SHARED_LENGTH = "path_length_of_all"  # mean over the whole batch, where replicas share it


def initial_state(
    config: GanConfig, generator_network: GeneratorNetwork, discriminator_network: DiscriminatorNetwork
) -> State:
    """Make the state before the first step: initial weights, everything else zero.

    Args:
        config: Configuration of the run.
        generator_network: Gives the generator's initial weights.
        discriminator_network: Gives the discriminator's.

    Returns:
        Weights, moving average and Adam's second moments by path; counts of updates and mean path length `()`; mean
        style `(style_size,)`; with ADA also its strength.
    """
    generator, discriminator = generator_network.weights(), discriminator_network.weights()
    return {
        "generator": generator,
        "discriminator": discriminator,
        "average": generator,
        "generator_moment": {path: ops.zeros_like(value) for path, value in generator.items()},
        "discriminator_moment": {path: ops.zeros_like(value) for path, value in discriminator.items()},
        "generator_updates": ops.zeros(()),
        "discriminator_updates": ops.zeros(()),
        # Tracked in training, since truncation needs the mean of w of many latents.
        "style_mean": ops.zeros((config.style_size,)),
        "path_mean": ops.zeros(()),
        **(initial_strength() if config.ada else {}),
    }


def average(state: State, decay: Any) -> State:
    """Exponential moving average of the generator's weights; `decay` `()` is the weight of the old average."""
    weights = {path: mean * decay + state["generator"][path] * (1 - decay) for path, mean in state["average"].items()}
    return {"average": weights}


class Phases:
    """The phases of one configuration, each compiled on its first call.

    Every phase is `phase(state, batch) -> (changes, figures)`; `average` is `average(state, decay) -> changes`.

    Args:
        config: Configuration of the run.
        generator_network: The generator as functions of its weights.
        discriminator_network: The discriminator as a function of its weights.
        replicas: Devices that hold the state and share the batch; None = one device.
    """

    def __init__(
        self,
        config: GanConfig,
        generator_network: GeneratorNetwork,
        discriminator_network: DiscriminatorNetwork,
        replicas: backend.OneDevice | backend.Replicas | None = None,
    ) -> None:
        self.config = config
        self._replicas = replicas = replicas or backend.OneDevice()
        self.generator_network, self.discriminator_network = generator_network, discriminator_network
        strength = (STRENGTH,) if config.ada else ()
        update = _update(replicas, "generator", config, config.path_interval if config.path_weight else 0)
        reads = ("discriminator", "style_mean", *strength)
        self.generator = _phase(replicas, "generator", self._generator_loss, reads, update)
        shared = (_SHARED_LENGTH,) if replicas.num > 1 else ()
        self._path_length = _phase(replicas, "generator", self._path_loss, ("path_mean", *shared), update)
        self._mean_length = replicas.mean(lambda weights, batch: ops.mean(self._path_lengths(weights, batch)))
        # R1 is always on; path length has interval 0 where its weight is 0, and then needs no correction.
        update = _update(replicas, "discriminator", config, config.r1_interval)
        reads = ("generator", *strength)
        self._discriminator = _phase(replicas, "discriminator", self._discriminator_loss, reads, update)
        self._adjust_strength = replicas.each(partial(adjust_strength, config))
        self.r1 = _phase(replicas, "discriminator", self._r1_loss, strength, update)
        self._average = replicas.each(average)

    def path_length(self, state: State, batch: Batch) -> tuple[State, Figures]:
        """Path-length regularisation. Replicas need the mean length of the whole batch before their gradients."""
        if self._replicas.num > 1:
            state = state | {_SHARED_LENGTH: self._mean_length(state["generator"], batch)}
        return self._path_length(state, batch)

    def discriminator(self, state: State, batch: Batch) -> tuple[State, Figures]:
        """Update the discriminator, then adjust the augmentation strength by the mean over all replicas."""
        changes, figures = self._discriminator(state, batch)
        if self.config.ada:
            changes |= self._adjust_strength(_select(state, STATE), figures["real_sign"], batch["adjust"])
            figures |= {STRENGTH: changes[STRENGTH]}
        return changes, figures

    def average(self, state: State, decay: Any) -> State:
        """Update the moving average of the generator's weights; see the function `average`."""
        return self._average(_select(state, ("generator", "average")), decay)

    def _generator_loss(self, weights: Any, state: State, batch: Batch) -> tuple[Any, Any]:
        styles, first = self._mixed_styles(weights, batch)
        images = self.generator_network.images(weights, styles, batch["noise"])
        shown = self._augment(images, batch, "transforms", state)
        scores = self.discriminator_network.scores(state["discriminator"], shown, batch["labels"])
        loss = losses.generator_loss(scores)
        # The mean of w is kept here, because this phase computes styles in every step.
        center = ops.mean(first, axis=0)
        style_mean = center + (state["style_mean"] - center) * self.config.style_decay
        return loss, ({"style_mean": style_mean}, {"generator_loss": loss})

    def _path_lengths(self, weights: Any, batch: Batch) -> Any:
        styles, _ = self._mixed_styles(weights, batch)
        return losses.path_lengths(
            lambda w: self.generator_network.images(weights, w, batch["noise"]), styles, batch["direction"]
        )

    def _path_loss(self, weights: Any, state: State, batch: Batch) -> tuple[Any, Any]:
        lengths, decay = self._path_lengths(weights, batch), self.config.path_decay
        own = ops.mean(lengths)
        mean = state.get(_SHARED_LENGTH, ops.stop_gradient(own))
        # Karras et al. 2020, equation 4, with a running mean as the target length a. It is updated first.
        path_mean = state["path_mean"] + decay * (mean - state["path_mean"])
        penalty = ops.mean(ops.square(lengths - path_mean))
        # The gradient also flows through the running mean, and so through the mean over all replicas, which is a
        # constant here. This term has the value 0 on the whole batch and the missing part of the gradient.
        through_mean = 2 * decay * (mean - path_mean) * (own - mean)
        # Times the interval, as for R1: the penalty is computed once in so many steps.
        loss = (penalty - through_mean) * self.config.path_weight * self.config.path_interval
        return loss, ({"path_mean": path_mean}, {"path_length": own, "path_penalty": penalty})

    def _discriminator_loss(self, weights: Any, state: State, batch: Batch) -> tuple[Any, Any]:
        styles, _ = self._mixed_styles(state["generator"], batch)
        synthetic = self.generator_network.images(state["generator"], styles, batch["noise"])
        synthetic = self._augment(synthetic, batch, "transforms", state)
        real = self._augment(self._real_images(batch), batch, "real_transforms", state)
        labels = _interleave(batch["labels"], batch["real_labels"]) if self.config.num_labels else None
        # One call on both halves, which is faster than two; `_interleave` keeps their statistics apart.
        scores = self.discriminator_network.scores(weights, _interleave(synthetic, real), labels)
        synthetic_scores, real_scores = _separate(scores)
        loss = losses.discriminator_loss(synthetic_scores, real_scores)
        figures = {
            "discriminator_loss": loss,
            "real_sign": _mean_sign(real_scores),
            "fake_sign": _mean_sign(synthetic_scores),
        }
        return loss, ({}, figures)

    def _r1_loss(self, weights: Any, state: State, batch: Batch) -> tuple[Any, Any]:
        # The gradient by the images before augmentation: R1 is about the data, whatever augmentation does to them.
        norms = losses.squared_gradient_norms(
            lambda images: self.discriminator_network.scores(
                weights, self._augment(images, batch, "real_transforms", state), batch["real_labels"]
            ),
            self._real_images(batch),
        )
        penalty = ops.mean(norms)
        # Times the interval, because the penalty is computed once in so many steps (lazy regularisation).
        return penalty * (self.config.r1_gamma / 2 * self.config.r1_interval), ({}, {"r1": penalty})

    def _mixed_styles(self, weights: Any, batch: Batch) -> tuple[Any, Any]:
        """Styles `(n, num_styles, d)` that switch latents at `batch["cut"]`, and those of the first latent `(n, d)`."""
        # Both latents in one call, and the second half discarded where there is no mixing: shapes stay static.
        both = ops.concatenate([batch["latents"], batch["other_latents"]])
        labels = ops.concatenate([batch["labels"], batch["labels"]]) if self.config.num_labels else None
        first, second = ops.split(self.generator_network.styles(weights, both, labels), 2)
        is_first = ops.arange(self.config.num_styles, dtype="int32") < batch["cut"]
        return ops.where(is_first[None, :, None], first[:, None], second[:, None]), first

    def _augment(self, images: Any, batch: Batch, drawn: str, state: State) -> Any:
        """Images `(n, size, size, channels)` as the discriminator gets them."""
        return augment(images, batch[drawn], state[STRENGTH]) if self.config.ada else images

    def _real_images(self, batch: Batch) -> Any:
        return ops.cast(batch["images"], keras.config.floatx()) / 127.5 - 1


def _update(
    replicas: backend.OneDevice | backend.Replicas, network: str, config: GanConfig, interval: int
) -> Callable[[State, dict[str, Any]], State]:
    """Make Adam's update of a network that has an extra update every `interval` steps (0: none) for its regularisation.

    Learning rate and decay are corrected for it, c = k / (k + 1), so that they stay the same per image (Karras et al.
    2020, appendix B). Both phases share the compiled function.
    """
    # k steps of the loss and one of the penalty are k + 1 updates where k were meant.
    correction = interval / (interval + 1) if interval else 1.0
    rate, beta2 = config.learning_rate * correction, config.beta2**correction

    def update(state: State, gradients: dict[str, Any]) -> State:
        return adam_update(state, network, gradients, rate, beta2)

    compiled, reads = replicas.each(update), (network, f"{network}_moment", f"{network}_updates")
    return lambda state, gradients: compiled(_select(state, reads), gradients)


def _phase(
    replicas: backend.OneDevice | backend.Replicas,
    network: str,
    loss: Callable[..., Any],
    reads: tuple[str, ...],
    update: Callable[[State, dict[str, Any]], State],
) -> Callable[[State, Batch], tuple[State, Figures]]:
    """Make a phase: gradient of a loss by the network's weights, then the update.

    Gradients, changes and figures are means over the replicas. `loss(weights, state, batch)` returns
    `(loss, (changes, figures))`, and gets the entries `reads` of the state.
    """
    gradients_of = replicas.mean(backend.value_and_gradient(loss))

    def phase(state: State, batch: Batch) -> tuple[State, Figures]:
        (_, (changes, figures)), gradients = gradients_of(state[network], _select(state, reads), batch)
        return changes | update(state, gradients), figures

    return phase


def _select(state: State, names: tuple[str, ...]) -> State:
    return {name: state[name] for name in names}


def adam_update(state: State, network: str, gradients: dict[str, Any], rate: float, beta2: float) -> State:
    """One update of Adam with beta1 = 0, which needs no first moment.

    Args:
        state: Weights, second moments and count of updates of the network.
        network: `generator` or `discriminator`.
        gradients: Gradients by path, in the shapes of the weights.
        rate: Learning rate.
        beta2: Decay of the second moment.

    Returns:
        Changed entries of the state, in the same shapes.

    References:
        Kingma and Ba 2015, algorithm 1. https://arxiv.org/abs/1412.6980
    """
    updates = state[f"{network}_updates"] + 1
    # Bias correction of the second moment, which starts at 0.
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
    """Join synthetic and real images so that no group of the minibatch deviation contains both kinds.

    One call of the discriminator on both then gives the same scores as one call on each, and is faster.
    """
    # Groups of four are i, i + n/4, i + 2n/4, i + 3n/4; as rows of a (4, n/4) table they are its columns.
    rows = [ops.reshape(x, (4, x.shape[0] // 4, *x.shape[1:])) for x in (synthetic, real)]
    return ops.reshape(ops.concatenate(rows, axis=1), (2 * synthetic.shape[0], *synthetic.shape[1:]))


def _separate(scores: Any) -> tuple[Any, Any]:
    synthetic, real = ops.split(ops.reshape(scores, (4, -1)), 2, axis=1)
    return ops.reshape(synthetic, (-1,)), ops.reshape(real, (-1,))


def _mean_sign(scores: Any) -> Any:
    return ops.mean(ops.sign(scores))
