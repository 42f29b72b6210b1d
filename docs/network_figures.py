"""The three networks in docs/networks.md, drawn from `regan.gan.configuration`."""

import math

from svg import PLAIN, REAL, SYNTHETIC, VERDICT, Figure

from regan.gan.configuration import GanConfig, configure

CLASSES = ("benign", "malignant")
LEFT, WIDTH, GAP = 22, 98, 22


def example(preset: str = "config-e", size: int = 256) -> GanConfig:
    """The network in the figures: class-conditional, grey images."""
    return configure(preset, size=size, channels=1, labels=CLASSES)


def mapping() -> Figure:
    """From a seed to the styles."""
    config = example()
    figure = Figure(880, 176, "Mapping network: from a seed to the styles of an image")
    joined = config.latent_size * (2 if config.num_labels else 1)
    for y in (33, 111):
        figure.arrow((158, y), (176, y), (176, 72), (192, 72))
    for start, end in ((292, 312), (468, 488), (588, 608), (718, 738)):
        figure.arrow((start, 72), (end, 72))
    figure.box(4, 4, 154, 58, PLAIN, "z", f"{config.latent_size} random numbers", "drawn from the seed")
    figure.box(4, 82, 154, 58, PLAIN, "class", f"one of {config.num_labels}", "if conditional")
    figure.box(192, 38, 100, 68, PLAIN, "concatenate", "normalised", f"{joined} numbers")
    dense = f"{config.mapping_layers} dense layers"
    figure.box(312, 38, 156, 68, REAL, dense, f"of {config.style_size}", f"learning rate x {config.mapping_rate:g}")
    figure.box(488, 38, 100, 68, SYNTHETIC, "w", f"{config.style_size} numbers")
    figure.box(608, 38, 110, 68, VERDICT, "truncation", "psi, towards", "the mean of w")
    figure.box(738, 38, 138, 68, SYNTHETIC, f"{config.num_styles} styles", "one for each layer", "of the synthesis")
    figure.text(440, 166, _caption(config))
    return figure


def synthesis() -> Figure:
    """From the styles to an image."""
    config = example()
    figure = Figure(880, 330, "Synthesis network: from a constant to an image, with doubling resolution")
    row, images = 150, 222
    for index, size in enumerate(config.sizes):
        x, height = LEFT + index * (WIDTH + GAP), _height(config.maps(size))
        middle, num_noise = x + WIDTH / 2, config.noise_sizes.count(size)
        # The style of a block's image is also that of the next block's first convolution.
        first = max(2 * index, 1)
        figure.text(middle, 20, f"styles {first} to {2 * index + 2}")
        figure.text(middle, 38, f"and noise, {num_noise} x")
        figure.arrow((middle, 46), (middle, row - height / 2))
        figure.arrow((middle, row + height / 2), (middle, images))
        if index:
            figure.arrow((x - GAP, row), (x, row))
            figure.arrow((x - GAP, images + 26), (x, images + 26))
        convolutions = "convolution" if num_noise == 1 else f"{num_noise} convolutions"
        lines = (f"{size} x {size}", f"{config.maps(size)} maps", convolutions)
        figure.box(x, row - height / 2, WIDTH, height, SYNTHETIC, *lines)
        figure.box(x, images, WIDTH, 52, REAL, *(("image",) if index == 0 else ("2 x image", "+ this block")))
    figure.text(LEFT, 300, f"learned constant, 4 x 4 x {config.maps(4)}", anchor="start")
    figure.text(858, 300, f"image, {config.size} x {config.size} x {config.channels}", anchor="end")
    figure.text(440, 322, _caption(config))
    return figure


def discriminator() -> Figure:
    """From an image to a score."""
    config = example()
    figure = Figure(880, 212, "Discriminator: from an image to a score, with halving resolution")
    row, smallest = 108, config.sizes[0]
    for index, size in enumerate(reversed(config.sizes)):
        x, height = LEFT + index * (WIDTH + GAP), _height(config.maps(size))
        if index:
            figure.arrow((x - GAP, row), (x, row))
        lines = (f"{size} x {size}", f"{config.maps(size)} maps", "residual block")
        if size == smallest:
            lines = (f"{size} x {size}", f"{config.maps(size)} + 1 maps", "dense layers")
        figure.box(x, row - height / 2, WIDTH, height, PLAIN if size == smallest else REAL, *lines)
    start, end = LEFT + WIDTH / 2, LEFT + (len(config.sizes) - 1) * (WIDTH + GAP) + WIDTH / 2
    figure.arrow((start, 28), (start, row - _height(config.maps(config.size)) / 2))
    figure.arrow((end, row - _height(config.maps(smallest)) / 2), (end, 28))
    figure.text(LEFT, 18, f"image {config.size} x {config.size} x {config.channels}", anchor="start")
    figure.text(858, 18, f"score for the class (one of {config.num_labels})", anchor="end")
    figure.text(
        LEFT, 178, "residual block: two convolutions and a linear shortcut, half the resolution", anchor="start"
    )
    figure.text(858, 178, "+ 1 map: minibatch standard deviation", anchor="end")
    figure.text(440, 204, _caption(config))
    return figure


def _caption(config: GanConfig) -> str:
    return f"config-e at {config.size} x {config.size}, class-conditional"


def _height(count: int) -> float:
    """Height of the box of a block, pixels: taller for more maps."""
    return 42 + 9 * math.log2(count / 8 + 1)
