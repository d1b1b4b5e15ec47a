"""Line charts as SVG text: axes with ticks, lines with dots, a legend. Nothing is loaded when one is viewed.

Own code, because plotting libraries weigh tens of megabytes for the five pictures that are drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 76, 170, 46, 56
"""Room beside the axes; the legend is at the right."""
COLOURS = ("#1b6ac9", "#d1495b", "#2a9d5c", "#e08e0b", "#7b4fb5", "#0f9aa8", "#8a6d3b", "#555555")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: what it is called, which values have a tick, and where a value lies (any monotonous function)."""

    label: str
    ticks: Sequence[tuple[float, str]]
    place: Callable[[float], float]


@dataclass(slots=True)
class Chart:
    """One picture. Series are drawn in their order, each in a colour of its own."""

    title: str
    x: Axis
    y: Axis
    series: list[tuple[str, list[Point]]] = field(default_factory=list)

    def svg(self) -> str:
        """Return the picture."""
        shape = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        parts = [
            f'<svg {shape} font-family="system-ui, sans-serif" font-size="12" fill="#333">',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            f'<text x="{LEFT}" y="26" font-size="15" font-weight="600">{escape(self.title)}</text>',
            *self._axes(),
        ]
        for index, (name, points) in enumerate(self.series):
            parts += self._line(index, name, points)
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _axes(self) -> list[str]:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        parts = []
        for value, label in self.x.ticks:
            at = self._across(value)
            parts.append(f'<path d="M{at:.1f} {TOP}V{bottom}" stroke="#e6e6e6"/>')
            parts.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(label)}</text>')
        for value, label in self.y.ticks:
            at = self._down(value)
            parts.append(f'<path d="M{LEFT} {at:.1f}H{right}" stroke="#e6e6e6"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{escape(label)}</text>')
        middle = (LEFT + right) / 2
        parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#777"/>')
        parts.append(f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle">{escape(self.x.label)}</text>')
        turned = f'transform="rotate(-90 18 {(TOP + bottom) / 2})"'
        y_label = f'<text x="18" y="{(TOP + bottom) / 2}" text-anchor="middle" {turned}>{escape(self.y.label)}</text>'
        return [*parts, y_label]

    def _line(self, index: int, name: str, points: list[Point]) -> list[str]:
        colour = COLOURS[index % len(COLOURS)]
        placed = [(self._across(x), self._down(y)) for x, y in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in placed)
        row = TOP + 12 + 20 * index
        return [
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<g fill="{colour}">{dots}</g>',
            f'<path d="M{WIDTH - RIGHT + 14} {row}h20" stroke="{colour}" stroke-width="3"/>',
            f'<text x="{WIDTH - RIGHT + 40}" y="{row + 4}">{escape(name)}</text>',
        ]

    def _across(self, value: float) -> float:
        return _scaled(value, self.x, LEFT, WIDTH - RIGHT)

    def _down(self, value: float) -> float:
        return _scaled(value, self.y, HEIGHT - BOTTOM, TOP)


def _scaled(value: float, axis: Axis, start: float, end: float) -> float:
    """Return where a value lies between the first tick (at `start`) and the last."""
    low, high = axis.place(axis.ticks[0][0]), axis.place(axis.ticks[-1][0])
    share = (axis.place(value) - low) / (high - low) if high != low else 0.5
    return start + (end - start) * min(1.0, max(0.0, share))
