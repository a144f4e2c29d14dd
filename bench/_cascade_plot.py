"""Draws quality against cost: a panel for each group of cases, a line for each way to route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

LINES = (
    ("oracle", "per-query oracle", "#777777"),
    ("cascade own", "cascade, verifier fitted to the task", "#0b6e4f"),
    ("cascade where it pays", "the same, asked first where it pays", "#5b5ea6"),
    ("cascade other tasks", "cascade, verifier from other tasks", "#1b7fb3"),
    ("router trained", "prompt only, fitted to the task", "#a23b56"),
    ("router shipped", "prompt only, as shipped", "#b5651d"),
)
COLUMNS = 2
WIDTH, HEIGHT = 420, 290
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 44
LEGEND = 42


def curves_svg(panels: Mapping[str, Mapping[str, Any]]) -> str:
    """The plot, as SVG. A panel has `budgets` and, by the name of a way, its `curves`."""
    rows = -(-len(panels) // COLUMNS)
    width, height = WIDTH * COLUMNS, LEGEND + HEIGHT * rows
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' role="img" font-family="sans-serif" font-size="11">',
        "<title>Share of right answers against what is spent per prompt</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (_, label, colour) in enumerate(LINES):
        x, y = 12 + number % 3 * 270, 16 + number // 3 * 16
        parts.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 18}" y2="{y - 4}" stroke="{colour}"'
            f' stroke-width="2"/><text x="{x + 24}" y="{y}">{escape(label)}</text>'
        )
    for number, (name, panel) in enumerate(panels.items()):
        x0, y0 = number % COLUMNS * WIDTH, LEGEND + number // COLUMNS * HEIGHT
        parts += _panel(x0, y0, name, panel["budgets"], panel["curves"])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(
    x0: int, y0: int, name: str, budgets: Sequence[float], curves: Mapping[str, Sequence[float]]
) -> list[str]:
    every = [value for curve in curves.values() for value in curve]
    low, high = min(every), max(every)
    step = next(each for each in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / each < 7)
    low, high = step * int(low / step), max(high, low + step)

    def x(budget: float) -> float:
        return x0 + LEFT + budget * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return y0 + HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{x0 + LEFT}" y="{y0 + 22}" font-weight="bold">{escape(name)}</text>']
    for n in range(round(low / step), int(high / step + 1e-9) + 1):
        parts.append(
            f'<line x1="{x(0):.1f}" y1="{y(n * step):.1f}" x2="{x(1):.1f}" y2="{y(n * step):.1f}"'
            f' stroke="#dddddd"/><text x="{x(0) - 6:.1f}" y="{y(n * step) + 4:.1f}"'
            f' text-anchor="end">{n * step:.2f}</text>'
        )
    floor = y0 + HEIGHT - BOTTOM
    for mark in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(
            f'<text x="{x(mark):.1f}" y="{floor + 16}" text-anchor="middle">{mark:g}</text>'
        )
    parts.append(
        f'<text x="{x(0.5):.1f}" y="{floor + 32}" text-anchor="middle">'
        "cost per prompt, in calls of the strong model</text>"
    )
    for key, _, colour in LINES:
        if key in curves:
            line = " ".join(
                f"{x(b):.1f},{y(v):.1f}" for b, v in zip(budgets, curves[key], strict=True)
            )
            parts.append(
                f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
            )
    ends = (budgets[0], curves["oracle"][0]), (budgets[-1], curves["router trained"][-1])
    (bx, by), (ex, ey) = ends
    parts.append(
        f'<line x1="{x(bx):.1f}" y1="{y(by):.1f}" x2="{x(ex):.1f}" y2="{y(ey):.1f}"'
        ' stroke="#999999" stroke-dasharray="4 3"/>'
    )
    return parts
