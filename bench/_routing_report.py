"""Puts what bench/routing.py found into docs/benchmarks.md, with two plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from _docs import write_section

Found = dict[str, Any]
COLOURS = {"mixing": "#888888", "router": "#0b6e4f", "oracle": "#b5651d"}
TITLES = {"mixing": "mixing fixed models", "router": "Pointsman", "oracle": "oracle of the query"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 260, 52, 14, 44, 40


def write_docs(result: Found, docs: Path) -> list[Path]:
    """Write the section and the plots; gives the paths written."""
    page = docs / "benchmarks.md"
    write_section(page, "routing", "bench/routing.py", text_of(result))
    image = docs / "img" / "routing_hulls.svg"
    image.write_text(hull_plot(result["hulls"]), "utf-8")
    other = docs / "img" / "routing_reliability.svg"
    other.write_text(reliability_plot(result["calibration"]["curve"]), "utf-8")
    return [page, image, other]


def text_of(result: Found) -> str:
    parts = [
        "**On benchmarks that it knows** (dev; the first pair also by five folds of the training rows):",
        _table([*result["pairs"], result["held_out"] | {"folds": True}]),
        "**On benchmarks left out of training** (all their training rows; the last: a fifth of MMLU's "
        "subjects at a time):",
        _table([*result["left_out"], result["subjects_left_out"] | {"left_out": "subjects"}]),
        _hull_lines(result["hulls"]),
        "![Quality against cost: mixing, the router, the oracle](img/routing_hulls.svg)",
        _calibration_line(result["calibration"]),
        "![What was said against what was so](img/routing_reliability.svg)",
        _cost_line(result),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(rows: Sequence[Found]) -> str:
    lines = [
        "| strong / weak | prompts | APGR [95 %] | CPT(50 %) | CPT(80 %) | ECE | longest first |"
        " neighbours | factorised | subject | query |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        name = f"{row['strong']} / {row['weak']}"
        if row.get("folds"):
            name += ", folds"
        if row.get("left_out"):
            name = f"{row['left_out'].replace('|', ', ')}: {name}"
        interval = row["apgr_95"]
        cells = [
            name,
            f"{row['rows']:,}",
            f"{row['apgr']:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]",
            *(
                _cell(row.get(key))
                for key in (
                    "cpt50", "cpt80", "calibration_error", "longest_first", "minilm_neighbours",
                    "minilm_factorised", "subject_oracle", "query_oracle",
                )
            ),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _hull_lines(hulls: Sequence[Found]) -> str:
    lines = [
        "**Many models.** The share of the way from random mixing of fixed models (0) to the oracle of "
        "the query (1), as the area under the hull of quality against the logarithm of cost:",
        "",
        "| benchmarks | models | prompts | share [95 %] | best fixed model |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in hulls:
        low, high = each["way_95"]
        lines.append(
            f"| {each['benchmarks'].replace('|', ', ')} | {len(each['models'])} | {each['rows']} |"
            f" {each['way']:.3f} [{low:.3f}, {high:.3f}] | {each['best_fixed']}"
            f" ({each['best_fixed_score']:.3f}) |"
        )
    return "\n".join(lines)


def _calibration_line(found: Found) -> str:
    return (
        f"**Calibration** of the probability that a model answers well, on dev: {found['error']:.3f} over"
        f" all {found['outcomes']:,} outcomes; of the {found['models']} models with 100 or more, the"
        f" median is {found['model_median']:.3f} and the worst {found['model_worst']:.3f}"
        f" ({found['model_worst_name']})."
    )


def _cost_line(result: Found) -> str:
    clock, cpu = result["latency_us_p50"], result["cpu_us"]
    each = "; ".join(
        f"{int(chars):,} characters {clock[chars]:.0f} µs ({cpu[chars]:.0f} µs)" for chars in clock
    )
    known = result["abilities"]
    return (
        f"**Cost.** {result['model_bytes']:,} bytes. One decision with its features, median by the clock"
        f" (mean processor time): {each}.\n\n"
        f"**Abilities** of models left out, error in logits: from public scores {known['public_sd']},"
        f" from the price {known['price_sd']}; with nothing known {known['mean_sd']}.\n\n"
        "**RouteLLM's own figures** for gpt-4-1106-preview / mixtral-8x7b (Ong et al., arXiv 2406.18665):"
        " its best routers reach an APGR of about 0.80 on MT-Bench and about 0.60 on MMLU, with training"
        " data added from near these tests."
    )


def hull_plot(hulls: Sequence[Found]) -> str:
    """A panel for each set of benchmarks."""
    width = WIDTH * max(len(hulls), 1)
    parts = [_open(width, HEIGHT)]
    for number, found in enumerate(hulls):
        parts += _panel(found, number * WIDTH)
    for place, (name, colour) in enumerate(COLOURS.items()):
        parts.append(
            f'<rect x="{LEFT + 150 * place}" y="8" width="12" height="4" fill="{colour}"/>'
            f'<text x="{LEFT + 150 * place + 17}" y="14">{TITLES[name]}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _panel(found: Found, x0: int) -> list[str]:
    curves = found["curves"]
    fixed_x, fixed_y = curves["fixed"]
    low, high = math.log10(min(fixed_x)), math.log10(max(fixed_x))
    floor, best = min(fixed_y), max(max(curves["oracle"][1]), max(fixed_y))

    def x(cost: float) -> float:
        share: float = (math.log10(cost) - low) / max(high - low, 1e-9)
        return x0 + LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        share: float = (value - floor) / max(best - floor, 1e-9)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    title = escape(found["benchmarks"].replace("|", ", "))
    parts = [f'<text x="{x0 + LEFT}" y="34" font-weight="bold">{title}</text>']
    for step in range(5):
        value = floor + (best - floor) * step / 4
        parts.append(
            f'<line x1="{x0 + LEFT}" x2="{x0 + WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"'
            f' stroke="#ddd"/><text x="{x0 + LEFT - 6}" y="{y(value) + 4:.1f}"'
            f' text-anchor="end">{value:.2f}</text>'
        )
    for cost in (min(fixed_x), max(fixed_x)):
        parts.append(
            f'<text x="{x(cost):.1f}" y="{HEIGHT - 20}" text-anchor="middle">${cost * 1000:.2g}</text>'
        )
    parts.append(
        f'<text x="{x0 + (LEFT + WIDTH) / 2}" y="{HEIGHT - 5}" text-anchor="middle">for 1,000 calls</text>'
    )
    for name, colour in COLOURS.items():
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(*curves[name], strict=True))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
    for a, b in zip(fixed_x, fixed_y, strict=True):
        parts.append(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.5" fill="#888888"/>')
    return parts


def reliability_plot(curve: Sequence[Sequence[float]]) -> str:
    size, edge = 280, 44
    span = size - edge - 14

    def x(value: float) -> float:
        return edge + value * span

    def y(value: float) -> float:
        return size - edge - value * span

    points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in curve)
    parts = [
        _open(size, size),
        f'<line x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}" stroke="#ccc"/>',
        f'<polyline points="{points}" fill="none" stroke="#0b6e4f" stroke-width="2"/>',
    ]
    for a, b in curve:
        parts.append(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="#0b6e4f"/>')
    for value in (0, 0.5, 1):
        parts.append(
            f'<text x="{x(value)}" y="{size - edge + 16}" text-anchor="middle">{value:g}</text>'
            f'<text x="{edge - 6}" y="{y(value) + 4}" text-anchor="end">{value:g}</text>'
        )
    parts += [
        f'<text x="{x(0.5)}" y="{size - 8}" text-anchor="middle">said</text>',
        f'<text x="12" y="{y(0.5)}" transform="rotate(-90 12 {y(0.5)})" text-anchor="middle">was so</text>',
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def _open(width: int, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="sans-serif" font-size="11" fill="#222">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
    )
