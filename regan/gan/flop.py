"""Arithmetic of the networks, by their shapes: no framework is loaded."""

from regan.gan.configuration import GanConfig


def generator_flop(config: GanConfig) -> float:
    """Floating-point operations of a generated image, of the convolutions alone."""
    total = 0.0
    for size in config.sizes:
        maps, below, area = config.maps(size), config.maps(max(size // 2, 4)), size**2
        # A transposed convolution reads each pixel of the smaller image once for each of its nine weights.
        total += 18 * maps * ((below * area / 4 + maps * area) if size > 4 else maps * area)
        total += 2 * maps * config.channels * area
    return total


def discriminator_flop(config: GanConfig) -> float:
    """Floating-point operations of a judged image, of the convolutions alone."""
    top = config.maps(4)
    total = 2.0 * config.channels * config.maps(config.size) * config.size**2 + 18 * (top + 1) * top * 16
    for size in config.sizes[1:]:
        maps, below, area = config.maps(size), config.maps(size // 2), size**2
        total += 18 * maps * (maps * area + below * area / 4) + 2 * maps * below * area / 4
    return total + 2 * 16 * top * top


def step_flop(config: GanConfig) -> float:
    """Floating-point operations of a training step per real image, with its share of lazy regularisation.

    A pass forward counts once, by the inputs once, by the weights once; the gradient of a gradient six times.
    """
    generator, discriminator = generator_flop(config), discriminator_flop(config)
    path = 6 * generator * 0.5 / config.path_interval if config.path_weight else 0.0
    main = 3 * generator + 2 * discriminator + generator + 6 * discriminator
    return main + path + 6 * discriminator / config.r1_interval
