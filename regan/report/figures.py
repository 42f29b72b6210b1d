"""The figures of the report, each from plain numbers to an `<svg>` element."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from regan.artifacts.entry import Curve
from regan.common.text import is_number, printable
from regan.report import formatting as fmt
from regan.report import svg

# Colours of Okabe and Ito, distinguishable with colour blindness; line styles repeat the distinction.
COLORS = {"reference": "#0072B2", "candidate": "#C04A00", "control": "#55606B"}
DASHES = {"reference": "-", "candidate": (0, (6, 2)), "control": (0, (1.2, 1.6))}
SERIES = ("#0072B2", "#C04A00", "#007A5A", "#8A4F7D")
SERIES_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1, 2)))
KEPT = "#007A5A"
_MANY = 60  # points from which on a curve is drawn as its running mean, with the points pale behind it


@dataclass(frozen=True)
class Difference:
    """A difference between two classifiers, with its 95 % interval and the role that sets its colour."""

    label: str
    value: float
    lower: float
    upper: float
    role: str = "candidate"


@dataclass(frozen=True)
class Distance:
    """A distance of one snapshot to the real images, with its standard error where it has one."""

    kimg: float
    value: float
    standard_error: float | None = None


@dataclass(frozen=True)
class Line:
    """One curve: points, its name in the legend, and colour and dashes."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    dashes: Any = "-"


def points(curve: Curve | None) -> tuple[list[float], list[float]]:
    """x and y of a curve of the history, without the points that are not numbers; empty where there is no curve."""
    if curve is None:
        return [], []
    pairs = [(x, y) for x, y in zip(curve.x, curve.y) if is_number(x) and is_number(y)]
    return [float(x) for x, _ in pairs], [float(y) for _, y in pairs]


def smooth(y: Sequence[float]) -> np.ndarray:
    """Running mean over 1/25 of a long curve, float64 `(n,)`; a short one unchanged."""
    values = np.asarray(y, np.float64)
    if len(values) < _MANY:
        return values
    window = np.ones(len(values) // 25)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def difference_figure(rows: Sequence[Difference], margin: float, measure: str, name: str) -> str:
    """Intervals of differences with zero and the margin; the first row is the primary comparison."""
    with svg.style():
        figure = svg.new_figure(460, 66 + 52 * len(rows))
        ax = figure.add_subplot()
        reach = [-margin, 0.0, *(edge for row in rows for edge in (row.lower, row.upper))]
        span = max(max(reach) - min(reach), 2 * margin)
        left, right = min(reach) - 0.12 * span, max(max(reach), margin / 2) + 0.12 * span
        for place, row in enumerate(rows):
            _draw_band(ax, -place, left, right, margin)
            _draw_difference(ax, -place, row, left)
        ax.set(xlim=(left, right), ylim=(0.6 - len(rows), 0.72), yticks=[])
        ax.spines["left"].set_visible(False)
        ax.grid(False)
        ax.locator_params(axis="x", nbins=7)
        below = ax.secondary_xaxis(-20 / 52 / (len(rows) + 0.12))
        below.set_xticks([-margin, 0], ["beyond the margin  ", "  no difference"])
        for label, side in zip(below.get_xticklabels(), ("right", "left")):
            label.set(horizontalalignment=side, color=svg.INK)
        below.spines["bottom"].set_visible(False)
        below.tick_params(length=0, pad=1)
        below.set_xlabel(f"Difference in {measure}")
        said = "; ".join(f"{r.label} {fmt.signed(r.value)} ({fmt.interval(r.lower, r.upper, sign=True)})" for r in rows)
        return svg.render(figure, name, f"Differences in {measure} with 95 % intervals, margin {margin:g}: {said}")


def _draw_band(ax: Axes, place: float, left: float, right: float, margin: float) -> None:
    low, high = place - 0.26, place + 0.26
    ax.fill_between([-margin, right], low, high, color="#f1f4f6", lw=0, zorder=0.4)
    ax.fill_between([left, -margin], low, high, color="#f6e0d0", lw=0, zorder=0.5)
    ax.plot([0, 0], [low, high], color=svg.INK, lw=1.2, solid_capstyle="butt")
    ax.plot([-margin, -margin], [low, high], color="#8a3a06", lw=1.2, ls=(0, (4, 3)))


def _draw_difference(ax: Axes, place: float, row: Difference, text_at: float) -> None:
    color = COLORS[row.role]
    ax.plot([row.lower, row.upper], [place, place], color=color, lw=2.6)
    for edge in (row.lower, row.upper):
        ax.plot([edge, edge], [place - 0.09, place + 0.09], color=color, lw=2.0)
    ax.plot([row.value], [place], "o", color=color, ms=8, mec=svg.PAPER, mew=1.2)
    label = f"{row.label}: {fmt.signed(row.value)} ({fmt.interval(row.lower, row.upper, sign=True)})"
    ax.text(text_at, place + 0.31, printable(label), va="bottom", ha="left", fontsize=svg.FONT_SIZE)


def line_figure(
    lines: Sequence[Line],
    name: str,
    *,
    title: str,
    x_label: str,
    y_label: str = "",
    level: tuple[float, str] | None = None,
    y_limits: tuple[float, float] | None = None,
) -> str:
    """Curves over one axis, such as losses over training; `level` is a horizontal line, value and name."""
    with svg.style():
        figure = svg.new_figure(460, 260)
        ax = figure.add_subplot()
        for line in lines:
            _draw_line(ax, line)
        if level is not None:
            _draw_level(ax, *level)
        _label(ax, title, x_label, y_label)
        if y_limits:
            ax.set_ylim(*y_limits)
        if len(lines) > 1:
            _legend(ax)
        ends = "; ".join(f"{line.label} ends at {fmt.significant(line.y[-1])}" for line in lines)
        return svg.render(figure, name, f"{title} over {x_label}: {ends}")


def distance_figure(rows: Sequence[Distance], name: str, *, title: str, kept: float, floor: float) -> str:
    """One distance for each snapshot: the kept one marked, and the floor of real against real images."""
    kimg, values = [row.kimg for row in rows], [row.value for row in rows]
    errors: Any = [row.standard_error for row in rows]
    with svg.style():
        figure = svg.new_figure(460, 280)
        ax = figure.add_subplot()
        ax.plot(kimg, values, color=SERIES[0], marker="o", ms=4, lw=1.4)
        if None not in errors:
            ax.errorbar(kimg, values, yerr=errors, fmt="none", ecolor=SERIES[0], elinewidth=1.2, capsize=2.5)
        _draw_level(ax, floor, "floor: real against real")
        chosen = [point for point in zip(kimg, values) if abs(point[0] - kept) < 1e-6]
        for x, y in chosen:
            ax.plot([x], [y], "D", color=KEPT, ms=9, mec=svg.PAPER, mew=1.2, label=f"selected: {fmt.number(x, 1)} kimg")
        _label(ax, title, "training, kimg (thousand images shown)", "")
        if chosen:
            _legend(ax)
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
        said = ", ".join(f"{fmt.significant(y)} at {fmt.number(x, 1)} kimg" for x, y in chosen) or "none marked"
        return svg.render(figure, name, f"{title} of {len(rows)} snapshots; selected: {said}")


def roc_figure(
    curves: Sequence[tuple[Line, tuple[float, float] | None]], positive: str, negative: str, name: str
) -> str:
    """ROC curves over the diagonal of chance; each with the point of its threshold, if known."""
    with svg.style():
        figure = svg.new_figure(440, 440)
        ax = figure.add_subplot()
        ax.plot([0, 1], [0, 1], color=svg.RULE, lw=1.2)
        along: Any = {"rotation": 45, "rotation_mode": "anchor", "ha": "center", "va": "top"}
        ax.text(0.71, 0.7, "chance", color=svg.MUTED, fontsize=svg.FONT_SIZE - 1, **along)
        for line, operating_point in curves:
            ax.plot(line.x, line.y, color=line.color, ls=line.dashes, label=printable(line.label))
            if operating_point is not None:
                ax.plot(*operating_point, "o", color=line.color, ms=8, mec=svg.PAPER, mew=1.4)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        ax.set_xlabel(printable(f"False positive rate: {negative} images classified as {positive}"))
        ax.set_ylabel(printable(f"Sensitivity: {positive} images classified as {positive}"))
        ax.legend(loc="lower right")
        return svg.render(figure, name, "ROC curves: " + "; ".join(line.label for line, _ in curves))


def _draw_line(ax: Axes, line: Line) -> None:
    if len(line.x) >= _MANY:
        ax.plot(line.x, line.y, color=line.color, lw=0.8, alpha=0.35)
    marker = "o" if len(line.x) == 1 else ""
    ax.plot(line.x, smooth(line.y), color=line.color, ls=line.dashes, marker=marker, label=printable(line.label))


def _draw_level(ax: Axes, value: float, label: str) -> None:
    ax.axhline(value, color=svg.MUTED, lw=1.2, ls=(0, (4, 3)), label=printable(label))


def _label(ax: Axes, title: str, x_label: str, y_label: str) -> None:
    ax.set_title(printable(title), pad=8)
    ax.set_xlabel(printable(x_label))
    ax.set_ylabel(printable(y_label))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=x_label == "epoch"))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6))


def _legend(ax: Axes) -> None:
    ax.legend(loc="best", labelspacing=0.25)
