"""Draws accuracy against bytes: a panel for each set, the bytes on one logarithmic axis."""

from __future__ import annotations

import math
from typing import Any
from xml.sax.saxutils import escape

COLOURS = {
    "pointsman": "#0b6e4f",
    "fasttext": "#b5651d",
    "sklearn": "#5b5ea6",
    "whitelightning": "#a23b56",
}
COLUMNS = 3
WIDTH, HEIGHT = 300, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 34, 34
LEGEND = 34
TICKS = (1e4, 1e5, 1e6, 1e7, 1e8)
TICK_NAMES = {1e4: "10 kB", 1e5: "100 kB", 1e6: "1 MB", 1e7: "10 MB", 1e8: "100 MB"}

Found = dict[str, Any]
Point = tuple[str, float, float]


class Panel:
    """The plot of one set, at its place in the grid."""

    def __init__(self, number: int, points: list[Point], low: float, high: float) -> None:
        self.x0 = number % COLUMNS * WIDTH
        self.y0 = number // COLUMNS * HEIGHT + LEGEND
        self.low, self.high = math.log10(low), math.log10(high)
        self.worst = min(point[2] for point in points)
        self.best = max(point[2] for point in points)
        spread = max(self.best - self.worst, 0.02)
        self.worst, self.best = self.worst - spread * 0.12, self.best + spread * 0.12

    def x(self, size_bytes: float) -> float:
        share = (math.log10(size_bytes) - self.low) / (self.high - self.low)
        return self.x0 + LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.worst) / (self.best - self.worst)
        return self.y0 + HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def levels(self) -> list[float]:
        """Round values of accuracy, three to six of them."""
        spread = self.best - self.worst
        step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if spread / s < 6.5)
        first = math.ceil(self.worst / step)
        return [n * step for n in range(first, math.floor(self.best / step) + 1)]


def accuracy_svg(result: Found) -> str:
    """The plot, as SVG. Sets without test rows are left out."""
    sets = {name: each for name, each in result["sets"].items() if each["test_rows"]}
    plotted = {name: _points(each) for name, each in sets.items()}
    sizes = [point[1] for points in plotted.values() for point in points] or [1e5]
    low, high = 0.7 * min(sizes), 1.5 * max(sizes)
    rows = math.ceil(len(sets) / COLUMNS)
    width, height = WIDTH * min(COLUMNS, max(len(sets), 1)), LEGEND + rows * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        ' font-family="sans-serif" font-size="11">',
        "<title>Accuracy against bytes shipped, by set</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_legend(result),
    ]
    for number, (name, points) in enumerate(plotted.items()):
        if points:
            panel = Panel(number, points, low, high)
            parts += [*_frame(panel, name, sets[name]), *_marks(panel, points, result)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _points(each: Found) -> list[Point]:
    """(contender, bytes, accuracy), the latter micro-F1 where a text may have several labels."""
    key = "micro_f1" if each["multi"] else "accuracy"
    return [
        (name, found["shipped_bytes"], found[key])
        for name, found in each["found"].items()
        if key in found
    ]


def _legend(result: Found) -> list[str]:
    parts, at = [], 14
    shown = set()
    for name, each in result["contenders"].items():
        family = name.partition("-")[0]
        if family in shown:
            continue
        shown.add(family)
        title = "Pointsman" if family == "pointsman" else each["title"]
        parts.append(f'<circle cx="{at}" cy="16" r="4" fill="{COLOURS.get(family, "#444444")}"/>')
        parts.append(f'<text x="{at + 9}" y="20">{escape(title)}</text>')
        at += 34 + 7 * len(title)
    return parts


def _frame(panel: Panel, name: str, each: Found) -> list[str]:
    left, right = panel.x0 + LEFT, panel.x0 + WIDTH - RIGHT
    top, bottom = panel.y0 + TOP, panel.y0 + HEIGHT - BOTTOM
    what = "micro-F1" if each["multi"] else "accuracy"
    parts = [f'<text x="{left}" y="{top - 12}" font-weight="bold">{escape(name)}, {what}</text>']
    for size in TICKS:
        if panel.low <= math.log10(size) <= panel.high:
            at = panel.x(size)
            parts.append(f'<path d="M{at:.1f} {top}V{bottom}" stroke="#dddddd"/>')
            label = TICK_NAMES[size]
            parts.append(
                f'<text x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{label}</text>'
            )
    for level in panel.levels():
        at = panel.y(level)
        parts.append(f'<path d="M{left} {at:.1f}H{right}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{level:g}</text>')
    return parts


def _marks(panel: Panel, points: list[Point], result: Found) -> list[str]:
    ours = sorted((size, value) for name, size, value in points if name.startswith("pointsman-"))
    line = " ".join(f"{panel.x(size):.1f},{panel.y(value):.1f}" for size, value in ours)
    parts = []
    if len(ours) > 1:
        colour = COLOURS["pointsman"]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for name, size, value in points:
        title = escape(result["contenders"][name]["title"])
        colour = COLOURS.get(name.partition("-")[0], "#444444")
        parts.append(
            f'<circle cx="{panel.x(size):.1f}" cy="{panel.y(value):.1f}" r="4" fill="{colour}">'
            f"<title>{title}: {value:.3f} at {size / 1e6:.2f} MB</title></circle>"
        )
    return parts
