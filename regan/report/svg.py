"""Matplotlib figures as SVG that stands inside the page: same bytes each time, no style attributes, no stray ids."""

import io
import warnings
import xml.etree.ElementTree as ET
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from regan.common.text import printable

INK, MUTED, RULE, PAPER = "#1c2530", "#5a6672", "#c9d1d9", "#ffffff"
FONT_SIZE = 12.0
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "path.simplify": True,
    "font.size": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.labelsize": FONT_SIZE - 1,
    "ytick.labelsize": FONT_SIZE - 1,
    "legend.fontsize": FONT_SIZE - 1,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#e8ecf0",
    "grid.linewidth": 0.8,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.borderpad": 0.0,
    "legend.handlelength": 2.2,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.use": True,
}


def style() -> AbstractContextManager[None]:
    """The report's look, to be entered while a figure is drawn and rendered."""
    return matplotlib.rc_context(_SETTINGS)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` by `height` CSS pixels."""
    figure = Figure(figsize=(width / 72, height / 72))
    FigureCanvasSVG(figure)
    return figure


def render(figure: Figure, name: str, description: str) -> str:
    """The figure as an `<svg>` element.

    Args:
        figure: Drawn within `style()`.
        name: Letters, digits and hyphens, unique in the page: ids inside begin with it.
        description: What the figure shows, for those who cannot see it.

    Returns:
        SVG without XML declaration, style attributes or scripts; the same figure gives the same text.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings(), matplotlib.rc_context(_SETTINGS | {"svg.hashsalt": name}):
        # The browser brings its own fonts, so a letter that Matplotlib's font lacks (a Japanese class name) is no loss.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ET.fromstring(buffer.getvalue())
    _drop_metadata(root)
    _rewrite(root, name)
    left, top, width, height = root.attrib["viewBox"].split()
    root.attrib.clear()
    root.attrib.update(viewBox=f"{left} {top} {width} {height}", width=width, height=height, role="img")
    root.set("aria-labelledby", f"{name}-title")
    title = ET.Element("title", id=f"{name}-title")
    title.text = printable(description)
    root.insert(0, title)
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _drop_metadata(root: ET.Element) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)


def _rewrite(root: ET.Element, name: str) -> None:
    used = {value for element in root.iter() for value in _references(element)}
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if (link := element.attrib.pop(_LINK, None)) is not None:
            element.set("href", f"#{name}-{link.removeprefix('#')}")
        if "clip-path" in element.attrib:
            element.set("clip-path", f"url(#{name}-{_clip(element)})")
        if (identity := element.attrib.pop("id", None)) in used:
            element.set("id", f"{name}-{identity}")
        if element.attrib.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        if "d" in element.attrib:
            element.set("d", " ".join(element.attrib["d"].split()))
        # A strict content security policy forbids style attributes; each of these is an attribute of its own in SVG.
        for declaration in filter(None, element.attrib.pop("style", "").split(";")):
            key, value = (part.strip() for part in declaration.split(":", 1))
            if key != "font-family":
                element.set(key, value)


def _references(element: ET.Element) -> list[str]:
    link = element.attrib.get(_LINK)
    return ([link.removeprefix("#")] if link else []) + ([_clip(element)] if "clip-path" in element.attrib else [])


def _clip(element: ET.Element) -> str:
    return element.attrib["clip-path"].removeprefix("url(#").removesuffix(")")
