"""SVG figures for light and dark pages: filled boxes with white text, grey lines, no background."""

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

REAL, SYNTHETIC, VERDICT, PLAIN = "#2b6cb0", "#b45309", "#2f7d4f", "#5f6b7a"
LINE = "#808a96"  # contrast 3.5:1 on white and 5.3:1 on black, so text and lines are readable on both
SANS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'DejaVu Sans Mono', Menlo, monospace"


@dataclass
class Figure:
    """An SVG figure; the same calls give the same bytes.

    Attributes:
        width: Width, pixels.
        height: Height, pixels.
        title: What the figure shows, for screen readers.
    """

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def box(
        self, x: float, y: float, width: float, height: float, colour: str, *lines: str, mono: bool = False
    ) -> None:
        """A filled box with lines of white text; the first line is bold, and in a code font with `mono`."""
        self.parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="6" fill="{colour}"/>'
        )
        step = 16
        top = y + height / 2 - step * (len(lines) - 1) / 2 + 4.5
        for index, line in enumerate(lines):
            self.text(
                x + width / 2, top + index * step, line, colour="#ffffff", bold=index == 0, mono=mono and index == 0
            )

    def square(self, x: float, y: float, side: float, colour: str | None) -> None:
        """A small square, filled or outlined (`colour=None`)."""
        self.bar(x, y, side, y + side, colour)

    def bar(self, x: float, top: float, width: float, bottom: float, colour: str | None) -> None:
        """A bar of a bar chart, filled or outlined (`colour=None`)."""
        paint = f'fill="{colour}"' if colour else f'fill="none" stroke="{LINE}" stroke-opacity="0.5"'
        self.parts.append(
            f'<rect x="{_n(x)}" y="{_n(top)}" width="{_n(width)}" height="{_n(bottom - top)}" rx="2" {paint}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        line: str,
        *,
        colour: str = LINE,
        size: float = 12.5,
        anchor: str = "middle",
        bold: bool = False,
        mono: bool = False,
    ) -> None:
        """One line of text with its baseline at `y`."""
        weight = ' font-weight="600"' if bold else ""
        family = f' font-family="{MONO}"' if mono else ""
        self.parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" text-anchor="{anchor}" '
            f'fill="{colour}"{weight}{family}>{escape(line)}</text>'
        )

    def arrow(self, *points: tuple[float, float], head: bool = True, dashed: bool = False) -> None:
        """A grey line through the points, with an arrow head at the last one."""
        path = "M" + " L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        marker = ' marker-end="url(#head)"' if head else ""
        self.parts.append(f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="2"{dash}{marker}/>')

    def curve(self, points: list[tuple[float, float]], colour: str) -> None:
        """A coloured line through the points."""
        path = "M" + " L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self.parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')

    def svg(self) -> str:
        """The content of the SVG file."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-label="{escape(self.title)}" font-family="{SANS}">\n'
            f"<title>{escape(self.title)}</title>\n"
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="{LINE}"/></marker></defs>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
