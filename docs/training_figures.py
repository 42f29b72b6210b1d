"""Width, losses, schedule and averaging in docs/networks.md, drawn from the presets of `regan.gan.configuration`."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from network_figures import example
from svg import PLAIN, REAL, SYNTHETIC, VERDICT, Figure

from regan.gan.configuration import PRESETS

COLOURS = {"demo": VERDICT, "config-e": REAL, "config-f": SYNTHETIC}


def maps() -> Figure:
    """Width of the networks of each preset."""
    figure = Figure(880, 312, "Feature maps at each resolution, by preset")
    sizes = example(size=1024).sizes
    left, top, bottom, group = 70, 44, 244, 88
    counts = {(preset, size): example(preset, 1024).maps(size) for preset in PRESETS for size in sizes}
    ceiling = max(counts.values())

    def place(count: int) -> float:
        return bottom - (bottom - top) * math.log2(count) / math.log2(ceiling)

    for count in (2**power for power in range(0, ceiling.bit_length(), 3)):
        figure.text(left - 10, place(count) + 4, str(count), anchor="end")
        figure.arrow((left, place(count)), (left + group * len(sizes), place(count)), head=False, dashed=True)
    for index, size in enumerate(sizes):
        for which, preset in enumerate(PRESETS):
            x = left + index * group + 12 + 22 * which
            figure.bar(x, min(place(counts[preset, size]), bottom - 2), 20, bottom, COLOURS[preset])
        figure.text(left + (index + 0.5) * group, bottom + 20, str(size))
    figure.text(left + group * len(sizes) / 2, bottom + 44, "resolution inside the network, pixels")
    figure.text(left, 24, "feature maps", anchor="start")
    for which, preset in enumerate(PRESETS):
        figure.box(600 + 90 * which, 8, 82, 24, COLOURS[preset], preset)
    return figure


def losses() -> Figure:
    """Losses of the two networks."""
    figure = Figure(880, 300, "Loss as a function of the discriminator's score")
    axes = Axes(figure, (-6.0, 6.0), (0.0, 6.0))
    axes.draw(
        "score of the discriminator: below 0 looks synthetic, above 0 looks real", (-6, -3, 0, 3, 6), (0, 2, 4, 6)
    )
    axes.curve(lambda score: math.log1p(math.exp(-score)), SYNTHETIC)
    axes.curve(lambda score: math.log1p(math.exp(score)), REAL)
    figure.box(250, 24, 190, 42, SYNTHETIC, "softplus(-score)", "generator; real images")
    figure.box(460, 24, 190, 42, REAL, "softplus(score)", "synthetic images")
    return figure


def schedule() -> Figure:
    """Losses that each training step computes."""
    config = example()
    rows = (
        ("generator", 1, SYNTHETIC),
        (f"path length, every {config.path_interval}", config.path_interval, VERDICT),
        ("discriminator", 1, REAL),
        ("moving average", 1, PLAIN),
        (f"R1, every {config.r1_interval}", config.r1_interval, VERDICT),
    )
    figure = Figure(880, 200, "Losses that each training step computes")
    left, cell = 172, 22
    for row, (name, interval, colour) in enumerate(rows):
        y = 12 + row * 30
        figure.text(left - 14, y + 14, name, anchor="end")
        for step in range(2 * config.r1_interval):
            figure.square(left + step * cell, y, cell - 4, colour if step % interval == 0 else None)
    figure.text(
        left,
        186,
        f"one column is one step with a minibatch of {config.batch_size} images; time runs to the right",
        anchor="start",
    )
    return figure


def averaging() -> Figure:
    """Weight of past steps in the averaged generator."""
    figure = Figure(880, 300, "Weight of a past step in the moving average of the generator")
    half_lives = {preset: example(preset).average_kimg for preset in PRESETS}
    axes = Axes(figure, (0.0, 40.0), (0.0, 1.0))
    axes.draw("age of the step, thousands of images (kimg)", (0, 10, 20, 30, 40), (0, 0.5, 1))
    for index, half_life in enumerate(sorted(set(half_lives.values()))):
        presets = [preset for preset, value in half_lives.items() if value == half_life]
        axes.curve(lambda ago, half_life=half_life: 0.5 ** (ago / half_life), COLOURS[presets[0]])
        figure.box(
            560, 30 + 52 * index, 220, 42, COLOURS[presets[0]], ", ".join(presets), f"half-life {half_life:g} kimg"
        )
    return figure


@dataclass(frozen=True)
class Axes:
    """Axes of a plot.

    Attributes:
        figure: The figure that contains the plot.
        x: Smallest and largest value of x.
        y: Smallest and largest value of y.
    """

    figure: Figure
    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Position of a value in the figure, pixels."""
        left, right, bottom, top = 70, 850, self.figure.height - 56, 16
        return (
            left + (right - left) * (x - self.x[0]) / (self.x[1] - self.x[0]),
            bottom + (top - bottom) * (y - self.y[0]) / (self.y[1] - self.y[0]),
        )

    def draw(self, label: str, ticks_x: tuple[float, ...], ticks_y: tuple[float, ...]) -> None:
        """Draw horizontal lines, the ticks of both axes, and the label of x."""
        for tick in ticks_y:
            left, y = self.place(self.x[0], tick)
            self.figure.arrow((left, y), self.place(self.x[1], tick), head=False, dashed=tick != self.y[0])
            self.figure.text(left - 10, y + 4, f"{tick:g}", anchor="end")
        for tick in ticks_x:
            x, bottom = self.place(tick, self.y[0])
            self.figure.text(x, bottom + 20, f"{tick:g}")
        self.figure.text(460, self.figure.height - 12, label)

    def curve(self, function: Callable[[float], float], colour: str) -> None:
        """Draw a function of x, cut off at the largest y."""
        steps = [self.x[0] + (self.x[1] - self.x[0]) * index / 120 for index in range(121)]
        self.figure.curve([self.place(step, min(function(step), self.y[1])) for step in steps], colour)
