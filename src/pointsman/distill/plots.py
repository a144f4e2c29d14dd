"""The report's drawings as SVG, made of text: no library, no script, readable in light and in dark.

Colours are classes that the page's style sheet fills in, since a strict policy forbids styles here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pointsman.distill.markup import page_text
from pointsman.distill.metrics import Bin, Interval

__all__ = ["calibration", "interval", "matrix", "share_bar"]

CELL, GAP, LABEL_CHARS = 30, 2, 22
CHAR_WIDTH = 7
PLOT, EDGE = 260, 44


def matrix(labels: Sequence[str], cells: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix: a row for each true label, shaded by the share of the row."""
    names = [_short(label) for label in labels]
    left = max(map(len, names), default=0) * CHAR_WIDTH + 12
    top = left
    size = len(labels) * CELL
    parts = [
        f'<svg class="matrix" viewBox="0 0 {left + size + 8} {top + size + 8}"'
        f' width="{left + size + 8}" role="img" aria-label="Confusion matrix">'
    ]
    for row, name in enumerate(names):
        middle = row * CELL + CELL / 2
        parts.append(
            f'<text class="end" x="{left - 6}" y="{top + middle + 4}">{page_text(name)}</text>'
            f'<text transform="translate({left + middle + 4} {top - 6}) rotate(-90)">'
            f"{page_text(name)}</text>"
        )
    for row, counts in enumerate(cells):
        whole = sum(counts) or 1
        for column, count in enumerate(counts):
            x, y = left + column * CELL, top + row * CELL
            share = count / whole
            kind = "right" if row == column else "wrong"
            # One in a thousand must be seen as well.
            shade = max(share, 0.2) if count else 0.0
            title = f"{labels[row]} → {labels[column]}: {count} of {sum(counts)}"
            parts.append(
                f'<g><title>{page_text(title)}</title><rect class="ground" x="{x}" y="{y}"'
                f' width="{CELL - GAP}" height="{CELL - GAP}" rx="3"/>'
                f'<rect class="{kind}" x="{x}" y="{y}" width="{CELL - GAP}" height="{CELL - GAP}"'
                f' rx="3" fill-opacity="{shade:.3f}"/>'
            )
            if count:
                on_dark = " on-dark" if share > 0.5 else ""
                parts.append(
                    f'<text class="count{on_dark}" x="{x + (CELL - GAP) / 2}" y="{y + 18}">'
                    f"{_number(count)}</text>"
                )
            parts.append("</g>")
    return "".join(parts) + "</svg>"


def calibration(bins: Sequence[Bin]) -> str:
    """Draw how often claims held against how sure they were: on the diagonal they are honest."""
    most = max((each.count for each in bins), default=1)
    size = PLOT + EDGE + 10
    parts = [
        f'<svg class="plot" viewBox="0 0 {size} {size}" width="{size}" role="img"'
        ' aria-label="Calibration">'
    ]
    for step in range(0, 11, 2):
        x, y = _point(step / 10, step / 10)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" y1="10" x2="{x:.1f}" y2="{PLOT + 10}"/>'
            f'<line class="grid" x1="{EDGE}" y1="{y:.1f}" x2="{PLOT + EDGE}" y2="{y:.1f}"/>'
            f'<text class="count" x="{x:.1f}" y="{PLOT + 26}">{step * 10}</text>'
            f'<text class="end" x="{EDGE - 6}" y="{y + 4:.1f}">{step * 10}</text>'
        )
    low, high = _point(0, 0), _point(1, 1)
    parts.append(
        f'<line class="honest" x1="{low[0]}" y1="{low[1]}" x2="{high[0]}" y2="{high[1]}"/>'
        f'<text class="count" x="{EDGE + PLOT / 2}" y="{PLOT + 44}">said, %</text>'
        f'<text class="count" transform="translate(12 {10 + PLOT / 2}) rotate(-90)">held, %</text>'
    )
    points = [(*_point(each.confidence, each.accuracy), each) for each in bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    parts.append(f'<polyline class="curve" points="{path}"/>')
    for x, y, each in points:
        radius = 3 + 4 * (each.count / most) ** 0.5
        title = f"said {each.confidence:.1%}, held {each.accuracy:.1%}, {each.count} times"
        parts.append(
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{title}</title></circle>"
        )
    return "".join(parts) + "</svg>"


def interval(value: float, bounds: Interval) -> str:
    """Draw a share from 0 to 1 with the interval that it lies in."""
    low, high = (min(max(each, 0.0), 1.0) * 200 for each in bounds)
    return (
        '<svg class="interval" viewBox="-6 0 212 16" width="212" aria-hidden="true">'
        '<line class="grid" x1="0" y1="8" x2="200" y2="8"/>'
        f'<line class="range" x1="{low:.1f}" y1="8" x2="{high:.1f}" y2="8"/>'
        f'<circle class="dot" cx="{value * 200:.1f}" cy="8" r="5"/></svg>'
    )


def share_bar(share: float) -> str:
    """Draw a share from 0 to 1 as a bar."""
    return (
        '<svg class="bar" viewBox="0 0 100 8" width="100" height="8" aria-hidden="true">'
        '<rect class="ground" width="100" height="8" rx="4"/>'
        f'<rect class="right" width="{min(max(share, 0), 1) * 100:.1f}" height="8" rx="4"/></svg>'
    )


def _point(across: float, up: float) -> tuple[float, float]:
    return EDGE + across * PLOT, 10 + PLOT - up * PLOT


def _short(label: str) -> str:
    return label if len(label) <= LABEL_CHARS else label[: LABEL_CHARS - 1] + "…"


def _number(count: int) -> str:
    return str(count) if count < 1000 else f"{count / 1000:.0f}k"
