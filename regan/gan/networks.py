"""The three networks of StyleGAN2: mapping, synthesis and discriminator.

References:
    Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", figures 2d and 7 (skip outputs in the
    generator, residual blocks in the discriminator). https://arxiv.org/abs/1912.04958
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from regan.gan.configuration import GanConfig
from regan.gan.layers import (
    Convolution,
    Dense,
    ModulatedConvolution,
    Shape,
    append_minibatch_deviation,
    cast_to,
    leaky_relu,
    normal,
    normalise_second_moment,
)
from regan.gan.resampling import upsample

Weights = dict[str, Any]


class MappingNetwork(keras.layers.Layer):
    """Maps a latent z, and a class label in a conditional network, to a style w."""

    def __init__(self, config: GanConfig, random: np.random.Generator, name: str = "mapping") -> None:
        super().__init__(name=name)
        self.config = config
        # As wide as the latent, so that both count the same in the first layer.
        self.embedding = Dense(config.latent_size, random, name="embedding") if config.num_labels else None
        self.dense = _mapping_layers(config, config.style_size, random)

    def build(self, latents_shape: Shape, labels_shape: Shape | None = None) -> None:
        """Create the weights for latents `(n, latent_size)` and one-hot labels `(n, num_labels)`."""
        width = self.config.latent_size
        if self.embedding is not None:
            self.embedding.build((None, self.config.num_labels))
            width *= 2
        _build_chain(self.dense, width)

    def call(self, latents: Any, labels: Any = None) -> Any:
        """Map latents `(n, latent_size)` and one-hot labels `(n, num_labels)` to styles `(n, style_size)`."""
        x = normalise_second_moment(latents)
        # Latent and label are normalised each by itself, so that neither drowns the other.
        if self.embedding is not None:
            x = ops.concatenate([x, normalise_second_moment(self.embedding(labels))], axis=-1)
        for layer in self.dense:
            x = layer(x)
        return x


class SynthesisLayer(keras.layers.Layer):
    """Modulated convolution, noise, bias and leaky ReLU."""

    def __init__(
        self, size: int, filters: int, random: np.random.Generator, *, up: bool, compute: str, name: str
    ) -> None:
        super().__init__(name=name, autocast=False)
        self.size, self.random = size, random
        self.convolution = ModulatedConvolution(filters, random, up=up, compute=compute, name="convolution")

    def build(self, input_shape: Shape, style_shape: Shape) -> None:
        """Create the weights for maps `(n, height, width, maps)` and styles `(n, d)`."""
        self.convolution.build(input_shape, style_shape)
        # Strength 0: the network learns how much noise each layer needs.
        self.noise_strength = self.add_weight((), initializer="zeros", name="noise_strength")
        # The bias is added after the noise and before the activation, as in figure 2d of the paper.
        self.bias = self.add_weight((self.convolution.filters,), initializer="zeros", name="bias")
        # Drawn once and stored with the weights: with it, the same seed gives the same image.
        shape = (self.size, self.size, 1)
        self.noise = self.add_weight(shape, initializer=normal(self.random), trainable=False, name="noise")

    def call(self, x: Any, style: Any, noise: Any = None) -> Any:
        """Map maps `(n, h, w, maps)`, styles `(n, d)` and noise `(n, size, size, 1)` to `(n, size, size, filters)`.

        Without `noise`, the constant noise of the layer is used.
        """
        noise = self.noise if noise is None else noise
        x = self.convolution(x, style)
        return leaky_relu(x + ops.cast(noise * self.noise_strength, x.dtype) + ops.cast(self.bias, x.dtype))


class ToImage(keras.layers.Layer):
    """Maps to an image: a modulated 1 x 1 convolution without demodulation. Images are float32.

    Demodulation would fix the deviation of the image, which is what this layer has to decide.
    """

    def __init__(self, channels: int, random: np.random.Generator, *, compute: str, name: str) -> None:
        super().__init__(name=name, autocast=False)
        self.convolution = ModulatedConvolution(
            channels, random, kernel_size=1, demodulate=False, compute=compute, name="convolution"
        )

    def build(self, input_shape: Shape, style_shape: Shape) -> None:
        """Create the weights for maps `(n, height, width, maps)` and styles `(n, d)`."""
        self.convolution.build(input_shape, style_shape)
        self.bias = self.add_weight((self.convolution.filters,), initializer="zeros", name="bias")

    def call(self, x: Any, style: Any) -> Any:
        """Map maps `(n, height, width, maps)` and styles `(n, d)` to images `(n, height, width, channels)`."""
        return cast_to(self.convolution(x, style), "") + self.bias


class SynthesisNetwork(keras.layers.Layer):
    """Styles to an image: blocks of doubling size whose images are upsampled and summed (skip outputs)."""

    def __init__(self, config: GanConfig, random: np.random.Generator, name: str = "synthesis") -> None:
        super().__init__(name=name)
        self.config, self.random = config, random
        self.convolutions = [
            SynthesisLayer(
                size,
                config.maps(size),
                random,
                up=up,
                compute=config.compute(size),
                name=f"size_{size}_{'up' if up else 'same'}",
            )
            for size in config.sizes
            # The learned start is 4 x 4 already, so its block has one convolution and no upsampling.
            for up in ([False] if size == 4 else [True, False])
        ]
        self.outputs = [
            ToImage(config.channels, random, compute=config.compute(size), name=f"size_{size}_image")
            for size in config.sizes
        ]

    def build(self, styles_shape: Shape) -> None:
        """Create the weights for styles `(n, num_styles, style_size)`."""
        style_shape = (None, self.config.style_size)
        maps = self.config.maps(4)
        self.start = self.add_weight((4, 4, maps), initializer=normal(self.random), name="start")
        for layer in self.convolutions:
            layer.build((None, None, None, maps), style_shape)
            maps = layer.convolution.filters
        for size, output in zip(self.config.sizes, self.outputs, strict=True):
            output.build((None, None, None, self.config.maps(size)), style_shape)

    def call(self, styles: Any, noise: Sequence[Any] | None = None) -> Any:
        """Synthesise images from styles.

        Args:
            styles: `(n, num_styles, style_size)`, coarse to fine.
            noise: One `(n, size, size, 1)` for each size of `config.noise_sizes`; None = the constant noise.

        Returns:
            Images `(n, size, size, channels)`, about -1 to 1.
        """
        noise = list(noise) if noise is not None else [None] * len(self.convolutions)
        x = ops.broadcast_to(self.start, (styles.shape[0], *self.start.shape))
        x = self.convolutions[0](x, styles[:, 0], noise[0])
        image = self.outputs[0](x, styles[:, 1])
        for block, output in enumerate(self.outputs[1:], start=1):
            # The output layer of a block has the style of the first convolution of the next one (`num_styles`).
            first = 2 * block - 1
            x = self.convolutions[first](x, styles[:, first], noise[first])
            x = self.convolutions[first + 1](x, styles[:, first + 1], noise[first + 1])
            image = upsample(image) + output(x, styles[:, first + 2])
        return image


class DiscriminatorBlock(keras.layers.Layer):
    """Residual block: two convolutions that halve the image, and a linear shortcut."""

    def __init__(self, maps: int, filters: int, random: np.random.Generator, *, compute: str, name: str) -> None:
        super().__init__(name=name, autocast=False)
        # The paper's residual discriminator (section 4.1): both branches halve the image before they are added.
        # The sum of two branches has twice the variance; each is scaled so that the sum keeps that of the input.
        gain = math.sqrt(0.5)
        self.first = Convolution(maps, random, compute=compute, name="first")
        self.second = Convolution(filters, random, down=True, gain=gain, compute=compute, name="second")
        self.shortcut = Convolution(
            filters, random, kernel_size=1, down=True, activate=False, gain=gain, compute=compute, name="shortcut"
        )

    def build(self, input_shape: Shape) -> None:
        """Create the weights for maps `(n, height, width, maps)`."""
        for layer in (self.first, self.second, self.shortcut):
            layer.build(input_shape)

    def call(self, x: Any) -> Any:
        """Map `(n, h, w, maps)` to `(n, h / 2, w / 2, filters)`."""
        return self.second(self.first(x)) + self.shortcut(x)


class Discriminator(keras.layers.Layer):
    """Scores how real an image looks, given its class in a conditional network (projection on the label).

    References:
        Miyato and Koyama 2018, "cGANs with Projection Discriminator". https://arxiv.org/abs/1802.05637
    """

    def __init__(self, config: GanConfig, random: np.random.Generator, name: str = "discriminator") -> None:
        super().__init__(name=name)
        self.config = config
        top = config.maps(4)
        compute = config.compute(config.size)
        self.from_image = Convolution(
            config.maps(config.size), random, kernel_size=1, compute=compute, name="from_image"
        )
        self.blocks = [
            DiscriminatorBlock(
                config.maps(size), config.maps(size // 2), random, compute=config.compute(size), name=f"size_{size}"
            )
            for size in reversed(config.sizes[1:])
        ]
        # At full precision from here on: the deviation over a minibatch and the score are small differences.
        self.last = Convolution(top, random, name="last")
        self.dense = Dense(top, random, activate=True, name="dense")
        self.score = Dense(top if config.num_labels else 1, random, name="score")
        self.embedding = Dense(top, random, name="embedding") if config.num_labels else None
        # The label has a mapping of its own, as the latent has in the generator.
        self.label_dense = _mapping_layers(config, top, random) if config.num_labels else []

    def build(self, images_shape: Shape, labels_shape: Shape | None = None) -> None:
        """Create the weights for images `(n, size, size, channels)` and one-hot labels `(n, num_labels)`."""
        top = self.config.maps(4)
        self.from_image.build((None, None, None, self.config.channels))
        for block in self.blocks:
            block.build((None, None, None, block.first.filters))
        # One map more than the blocks give: the deviation over the minibatch.
        self.last.build((None, None, None, top + 1))
        # The maps of 4 x 4, flattened.
        self.dense.build((None, 16 * top))
        self.score.build((None, top))
        if self.embedding is not None:
            self.embedding.build((None, self.config.num_labels))
            _build_chain(self.label_dense, top)

    def call(self, images: Any, labels: Any = None) -> Any:
        """Map images `(n, size, size, channels)`, -1 to 1, and one-hot labels `(n, num_labels)` to scores `(n,)`."""
        x = self.from_image(images)
        for block in self.blocks:
            x = block(x)
        x = self.last(append_minibatch_deviation(cast_to(x, "")))
        x = self.score(self.dense(ops.reshape(x, (x.shape[0], -1))))
        return x[:, 0] if self.embedding is None else self._project(x, self.embedding(labels))

    def _project(self, x: Any, embedded: Any) -> Any:
        embedded = normalise_second_moment(embedded)
        for layer in self.label_dense:
            embedded = layer(embedded)
        # Divided, so that the sum of n products has the variance of one.
        return ops.sum(x * embedded, axis=-1) / math.sqrt(x.shape[-1])


def _mapping_layers(config: GanConfig, units: int, random: np.random.Generator) -> list[Dense]:
    return [
        Dense(units, random, rate=config.mapping_rate, activate=True, name=f"dense_{index}")
        for index in range(config.mapping_layers)
    ]


def _build_chain(layers: Sequence[Dense], width: int) -> None:
    for layer in layers:
        layer.build((None, width))
        width = layer.units


@dataclass(frozen=True)
class GeneratorNetwork:
    """Mapping and synthesis as pure functions of their weights. Create one with `GeneratorNetwork.build`."""

    config: GanConfig
    mapping: MappingNetwork
    synthesis: SynthesisNetwork

    @classmethod
    def build(cls, config: GanConfig, random: np.random.Generator) -> "GeneratorNetwork":
        """Build a generator with initial weights drawn from `random`."""
        # The order of drawing is part of every result: mapping before synthesis.
        generator = cls(config, MappingNetwork(config, random), SynthesisNetwork(config, random))
        generator.mapping.build((None, config.latent_size), (None, config.num_labels))
        generator.synthesis.build((None, config.num_styles, config.style_size))
        return generator

    def weights(self) -> Weights:
        """Initial trainable weights by path."""
        return _values(self.mapping.trainable_variables + self.synthesis.trainable_variables)

    def constants(self) -> Weights:
        """Initial constant noise by path, `(size, size, 1)` for each layer."""
        return _values(self.synthesis.non_trainable_variables)

    def styles(self, weights: Weights, latents: Any, labels: Any = None) -> Any:
        """Map latents `(n, latent_size)` and one-hot labels `(n, num_labels)` to styles `(n, style_size)`."""
        return _call(self.mapping, weights, latents, labels)

    def images(self, weights: Weights, styles: Any, noise: Sequence[Any] | None = None) -> Any:
        """Map styles `(n, num_styles, style_size)` to images `(n, size, size, channels)`, about -1 to 1.

        `noise` has one `(n, size, size, 1)` for each of `config.noise_sizes`; without it, `weights` must contain the
        constant noise too.
        """
        return _call(self.synthesis, weights, styles, noise)


@dataclass(frozen=True)
class DiscriminatorNetwork:
    """The discriminator as a pure function of its weights. Create one with `DiscriminatorNetwork.build`."""

    config: GanConfig
    layers: Discriminator

    @classmethod
    def build(cls, config: GanConfig, random: np.random.Generator) -> "DiscriminatorNetwork":
        """Build a discriminator with initial weights drawn from `random`."""
        discriminator = cls(config, Discriminator(config, random))
        shape = (None, config.size, config.size, config.channels)
        discriminator.layers.build(shape, (None, config.num_labels))
        return discriminator

    def weights(self) -> Weights:
        """Initial trainable weights by path."""
        return _values(self.layers.trainable_variables)

    def scores(self, weights: Weights, images: Any, labels: Any = None) -> Any:
        """Map images `(n, size, size, channels)`, -1 to 1, and one-hot labels `(n, num_labels)` to scores `(n,)`."""
        return _call(self.layers, weights, images, labels)


def _values(variables: Sequence[Any]) -> Weights:
    # Through NumPy: a TensorFlow variable converts to itself, and functions compiled for variables would be compiled
    # again for tensors.
    arrays = {variable.path: ops.convert_to_numpy(variable.value) for variable in variables}
    return {path: ops.convert_to_tensor(array) for path, array in arrays.items()}


def _call(network: keras.layers.Layer, weights: Weights, *inputs: Any) -> Any:
    # In a stateless scope Keras reads these tensors instead of the variables, so that one network serves the trained
    # weights, their average, and any snapshot.
    mapping = [(variable, weights[variable.path]) for variable in network.variables if variable.path in weights]
    with keras.StatelessScope(state_mapping=mapping):
        return network(*inputs)
