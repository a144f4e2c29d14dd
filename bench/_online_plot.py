"""Draws regret against requests: a panel for each simulated route, a line for each learner."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

COLOURS = ("#0b6e4f", "#5b5ea6", "#b5651d", "#a23b56", "#777777", "#1b7fb3", "#b39b1b")
COLUMNS = 2
WIDTH, HEIGHT = 420, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 40
LEGEND = 46


def curves_svg(found: dict[str, Any]) -> str:
    """The plot, as SVG: the mean over the seeds, and bands of 95 % for it."""
    names = list(next(iter(found.values()))["summary"])[:-1]
    rows = -(-len(found) // COLUMNS)
    width, height = WIDTH * min(COLUMNS, len(found)), LEGEND + HEIGHT * rows
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' role="img" font-family="sans-serif" font-size="11">',
        "<title>Regret against the best fixed choice, by request; below 0 is better than it</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, name in enumerate(names):
        x, y = 12 + number % 4 * 205, 16 + number // 4 * 16
        parts.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 18}" y2="{y - 4}" stroke="{COLOURS[number]}"'
            f' stroke-width="2"/><text x="{x + 24}" y="{y}">{escape(name)}</text>'
        )
    for number, (world, each) in enumerate(found.items()):
        x0, y0 = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT
        parts += _panel(x0, y0, world, each, names)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(x0: int, y0: int, world: str, each: dict[str, Any], names: Sequence[str]) -> list[str]:
    bands = {name: _bands([run["curves"][name] for run in each["runs"]]) for name in names}
    low = min(min(b[1]) for b in bands.values())
    high = max(max(b[2]) for b in bands.values())
    low, high = min(low, 0.0), max(high, 1.0)
    points = len(next(iter(bands.values()))[0])

    def x(index: int) -> float:
        return x0 + LEFT + index / (points - 1) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        share = (value - low) / (high - low)
        return y0 + LEGEND + HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<text x="{x0 + LEFT}" y="{y0 + LEGEND + 22}" font-weight="bold">{escape(world)}</text>'
    ]
    step = _step(high - low)
    for n in range(math.ceil(low / step), math.floor(high / step) + 1):
        at = y(n * step)
        colour = "#333333" if n == 0 else "#dddddd"
        parts.append(
            f'<line x1="{x0 + LEFT}" y1="{at:.1f}" x2="{x0 + WIDTH - RIGHT}" y2="{at:.1f}"'
            f' stroke="{colour}"/><text x="{x0 + LEFT - 6}" y="{at + 4:.1f}"'
            f' text-anchor="end">{n * step:g}</text>'
        )
    middle = x((points - 1) // 2)
    floor = y0 + LEGEND + HEIGHT - BOTTOM
    parts.append(
        f'<line x1="{middle:.1f}" y1="{y0 + LEGEND + TOP}" x2="{middle:.1f}" y2="{floor}"'
        ' stroke="#999999" stroke-dasharray="4 3"/>'
        f'<text x="{middle + 4:.1f}" y="{y0 + LEGEND + TOP + 10}" fill="#666666">drift</text>'
    )
    for index, label in ((0, "0"), ((points - 1) // 2, ""), (points - 1, str(each["requests"]))):
        parts.append(
            f'<text x="{x(index):.1f}" y="{floor + 16}" text-anchor="middle">{label}</text>'
        )
    parts.append(
        f'<text x="{x0 + WIDTH / 2:.1f}" y="{floor + 30}" text-anchor="middle">requests</text>'
    )
    for number, name in enumerate(names):
        mean, under, over = bands[name]
        edge = [f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(over)]
        edge += [f"{x(i):.1f},{y(v):.1f}" for i, v in reversed(list(enumerate(under)))]
        line = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(mean))
        parts.append(
            f'<polygon points="{" ".join(edge)}" fill="{COLOURS[number]}" opacity="0.13"/>'
        )
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{COLOURS[number]}" stroke-width="1.6"/>'
        )
    return parts


def _bands(curves: Sequence[Sequence[float]]) -> tuple[list[float], list[float], list[float]]:
    mean, under, over = [], [], []
    for values in zip(*curves, strict=True):
        middle = statistics.fmean(values)
        error = 1.96 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        mean.append(middle)
        under.append(middle - error)
        over.append(middle + error)
    return mean, under, over


def _step(spread: float) -> float:
    for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if spread / step < 7:
            return float(step)
    return 2000.0
