"""Renders the result: a few lines for the terminal, a generated part of docs/benchmarks.md, a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

BEGIN = "<!-- overhead: made by bench/overhead.py --write-docs -->"
END = "<!-- overhead: end -->"
PLOT = Path("img") / "overhead_frontier.svg"
OURS = "pointsman"
MIB = 1024 * 1024

Found = dict[str, Any]
Pick = Callable[[Found], Any]
SCENARIOS = {"passed": "passed through", "translated": "Anthropic client, OpenAI upstream"}


class Row:
    """One line of a table: how the figure is found, and how it is written."""

    def __init__(self, title: str, pick: Pick, form: str, *, scale: float = 1.0) -> None:
        self.title = title
        self.pick = pick
        self.form = form
        self.scale = scale

    def value(self, found: Found) -> float | None:
        """The figure of one gateway, in the unit of the row; None where there is none."""
        try:
            value = self.pick(found)
        except (KeyError, TypeError):
            return None
        if isinstance(value, dict):
            value = value["median"]
        return None if value is None else float(value) * self.scale

    def text(self, value: float | None) -> str:
        return "–" if value is None else self.form.format(value)


def path(*keys: str) -> Pick:
    """Give what finds a figure by its keys, from the outermost in."""

    def pick(found: Found) -> Any:
        value: Any = found
        for key in keys:
            value = value[key]
        return value

    return pick


def _request_rows(scenario: str) -> list[Row]:
    at = ("scenarios", scenario)
    return [
        Row("added latency, p50", path(*at, "alone", "added_p50_ms"), "{:.3f} ms"),
        Row("added latency, p99", path(*at, "alone", "added_p99_ms"), "{:.3f} ms"),
        Row(
            "CPU per 1,000 requests, 1 at a time",
            path(*at, "alone", "cpu_s_per_1000"),
            "{:.3f} s",
        ),
        Row(
            "CPU per 1,000 requests, 16 at a time", path(*at, "busy", "cpu_s_per_1000"), "{:.3f} s"
        ),
        *(
            Row(f"requests/s at a p99 of {limit} ms", path(*at, "frontier", "at", limit), "{:,.0f}")
            for limit in ("1", "5", "10", "50", "100")
        ),
    ]


def _stream_rows(scenario: str) -> list[Row]:
    rows = []
    for kind, title in (("paced", "20 ms apart"), ("unpaced", "unpaced")):
        at = ("scenarios", scenario, kind)
        rows += [
            Row(
                f"{title}: added time to first chunk", path(*at, "first_chunk_p50_ms"), "{:.3f} ms"
            ),
            Row(
                f"{title}: added delay per chunk, p50", path(*at, "chunk_delay_p50_ms"), "{:.3f} ms"
            ),
            Row(
                f"{title}: added delay per chunk, p99", path(*at, "chunk_delay_p99_ms"), "{:.3f} ms"
            ),
            Row(f"{title}: added gap between chunks, mean", path(*at, "gap_mean_ms"), "{:.4f} ms"),
            Row(f"{title}: added gap, p99", path(*at, "gap_stretch_p99_ms"), "{:.3f} ms"),
            Row(f"{title}: CPU per 1,000 streams", path(*at, "cpu_s_per_1000"), "{:.2f} s"),
        ]
    busy = ("scenarios", scenario, "unpaced_busy")
    rows.append(
        Row("unpaced, 16 at a time: CPU per 1,000", path(*busy, "cpu_s_per_1000"), "{:.2f} s")
    )
    rows.append(Row("unpaced, 16 at a time: streams/s", path(*busy, "per_s"), "{:,.0f}"))
    return rows


PROCESS_ROWS = [
    Row("memory, idle", path("memory", "idle_bytes"), "{:.0f} MiB", scale=1 / MIB),
    Row("memory, steady under load", path("memory", "steady_bytes"), "{:.0f} MiB", scale=1 / MIB),
    Row("memory, after that load", path("memory", "after_bytes"), "{:.0f} MiB", scale=1 / MIB),
    Row("memory, at the end of the run", path("memory", "end_bytes"), "{:.0f} MiB", scale=1 / MIB),
    Row(
        "growth per 1,000 requests under load",
        path("memory", "slope_bytes_per_1000"),
        "{:+.1f} KiB",
        scale=1 / 1024,
    ),
    Row("cold start to the first answer", path("first_answer_s"), "{:.2f} s"),
    Row("`serve` until it listens", path("ready_s"), "{:.2f} s"),
    Row("import", path("import_s"), "{:.0f} ms", scale=1e3),
    Row("packages installed", path("install", "packages"), "{:.0f}"),
    Row("size installed", path("install", "size_bytes"), "{:.0f} MB", scale=1e-6),
]


def _table(rows: Iterable[Row], contenders: dict[str, Found]) -> list[str]:
    """A table of figures, each rival's with its ratio to ours."""
    names = [name for name in contenders if name != "relay"]
    if "relay" in contenders:
        names.append("relay")
    titles = [contenders[name]["title"] for name in names]
    lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(names)]
    for row in rows:
        values = {name: row.value(contenders[name]) for name in names}
        if all(value is None for value in values.values()):
            continue
        ours = values.get(OURS)
        cells = [_cell(row, values[name], ours, name) for name in names]
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    return lines


def _cell(row: Row, value: float | None, ours: float | None, name: str) -> str:
    text = row.text(value)
    if name in (OURS, "relay") or value is None or not ours or ours < 0 or value <= 0:
        return text
    return f"{text} ({_ratio(value / ours)})"


def _ratio(value: float) -> str:
    return f"{value:,.0f}×" if value >= 10 else f"{value:.2g}×"


def summary_lines(result: Found) -> list[str]:
    """A few figures for the terminal."""
    contenders = result["contenders"]
    lines = []
    for scenario, title in SCENARIOS.items():
        some = [
            contenders[name] for name in contenders if scenario in contenders[name]["scenarios"]
        ]
        lines += [f"{title}:", *_plain(_request_rows(scenario), some)]
        lines += _plain(_stream_rows(scenario), some)
    gateways = [found for name, found in contenders.items() if name != "relay"]
    lines += ["process:", *_plain(PROCESS_ROWS, gateways)]
    return lines


def _plain(rows: Sequence[Row], some: Sequence[Found]) -> list[str]:
    lines = [f"  {'':44}" + "".join(f"{each['title']:>16}" for each in some)]
    for row in rows:
        cells = "".join(f"{row.text(row.value(each)):>16}" for each in some)
        lines.append(f"  {row.title.replace('`', ''):44}{cells}")
    return lines


def write_docs(result: Found, docs: Path) -> list[Path]:
    """Put the result between the markers of benchmarks.md, and draw the plot."""
    page = docs / "benchmarks.md"
    text = page.read_text("utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the markers {BEGIN} and {END}")
    page.write_text(f"{head}{BEGIN}\n\n{section(result)}\n{END}{tail}", "utf-8")
    plot = docs / PLOT
    plot.parent.mkdir(exist_ok=True)
    plot.write_text(frontier_svg(result), "utf-8")
    return [page, plot]


def section(result: Found) -> str:
    """The generated part of the page."""
    contenders = result["contenders"]
    machine = result["machine"]
    gib = machine["memory_bytes"] / 1024**3
    virtual = "a virtual machine with " if machine["virtual"] else ""
    flags = "" if result["settings"] == "full" else f" --{result['settings']}"
    foreign = max(found["foreign_cpu_share"] for found in contenders.values())
    mock = next(iter(contenders.values()))["mock"]
    lines = [
        f"Measured {result['date'][:10]} at commit `{result['commit']}` by"
        f" `python bench/overhead.py{flags}` in {result['seconds'] / 60:.0f} minutes, on {virtual}"
        f"{machine['cores']} cores of {machine['cpu']} ({float(machine['mhz'] or 0) / 1000:.1f} GHz),"
        f" {gib:.0f} GiB, Linux {machine['kernel']}, Python {machine['python']}. Other processes took"
        f" at most {foreign:.1%} of the processors. Nothing is drawn at random, so there is no seed."
        + (" The two cores are threads of one physical core." if machine["shared_core"] else ""),
        "",
        "| | version | settings |",
        "|---|---|---|",
        *(
            f"| {found['title']} | {found['package']} {found['version']} | {found['settings']} |"
            for found in contenders.values()
        ),
        "",
        f"The mock and the load generator together, on their core and with no gateway between, do"
        f" {mock['busy']['per_s']:,.0f} requests/s 16 at a time, and {mock['alone']['per_s']:,.0f}/s"
        f" one at a time (p50 {mock['alone']['latency_ms']['p50'] * 1000:.0f} µs). Medians; in"
        " brackets the ratio to Pointsman.",
        "",
    ]
    for scenario, title in SCENARIOS.items():
        some = {k: v for k, v in contenders.items() if scenario in v["scenarios"]}
        lines += [f"#### Requests, {title}", "", *_table(_request_rows(scenario), some), ""]
        if scenario == "passed":
            lines += [f"![Requests per second against p99 latency]({PLOT.as_posix()})", ""]
        lines += [f"#### Streams, {title}", "", *_table(_stream_rows(scenario), some), ""]
    gateways = {name: found for name, found in contenders.items() if name != "relay"}
    lines += ["#### The process", "", *_table(PROCESS_ROWS, gateways), ""]
    return "\n".join(lines)


COLOURS = {"pointsman": "#0b6e4f", "switchyard": "#b5651d", "litellm": "#5b5ea6"}
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 30, 55


class Axis:
    """A logarithmic axis from value to pixel."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        powers = [10.0**power for power in range(first, last + 1)]
        return [value for value in powers if self.low <= value <= self.high]


def _points(found: Found) -> list[tuple[float, float, int]]:
    """(requests/s, p99 in ms, concurrency) of the sweeps' medians."""
    by_level: dict[int, list[Found]] = {}
    for sweep in found["scenarios"]["passed"]["frontier"]["sweeps"]:
        for point in sweep:
            by_level.setdefault(point["concurrency"], []).append(point)

    def middle(values: list[float]) -> float:
        return sorted(values)[len(values) // 2]

    return [
        (middle([p["per_s"] for p in points]), middle([p["p99_ms"] for p in points]), level)
        for level, points in sorted(by_level.items())
    ]


def frontier_svg(result: Found) -> str:
    """Requests per second against p99, a line per gateway, both axes logarithmic."""
    lines = {
        name: _points(found)
        for name, found in result["contenders"].items()
        if "frontier" in found["scenarios"]["passed"]
    }
    everything = [point for points in lines.values() for point in points]
    x = Axis(
        0.7 * min(p[0] for p in everything),
        1.4 * max(p[0] for p in everything),
        LEFT,
        WIDTH - RIGHT,
    )
    y = Axis(
        0.7 * min(p[1] for p in everything),
        1.4 * max(p[1] for p in everything),
        HEIGHT - BOTTOM,
        TOP,
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' font-family="sans-serif" font-size="13">',
        "<title>Requests per second against p99 latency, at rising concurrency</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_grid(x, y),
        *(
            _curve(name, result["contenders"][name]["title"], points, x, y, TOP + 10 + 24 * index)
            for index, (name, points) in enumerate(lines.items())
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    for value in x.ticks():
        at = x(value)
        parts.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#dddddd"/>')
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value:,.0f}</text>'
        )
    for value in y.ticks():
        at = y(value)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value:g} ms</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle">requests per second, one core'
        "</text>"
    )
    parts.append(f'<text x="{LEFT}" y="{TOP - 10}">p99 latency</text>')
    return parts


def _curve(
    name: str, title: str, points: Sequence[tuple[float, float, int]], x: Axis, y: Axis, row: int
) -> str:
    """A gateway's line and its place in the legend, which is at the height `row`."""
    colour = COLOURS.get(name, "#444444")
    line = " ".join(f"{x(rate):.1f},{y(p99):.1f}" for rate, p99, _ in points)
    dots = "".join(
        f'<circle cx="{x(rate):.1f}" cy="{y(p99):.1f}" r="3" fill="{colour}">'
        f"<title>{escape(title)}, {level} at a time: {rate:,.0f}/s, p99 {p99:.2f} ms</title></circle>"
        for rate, p99, level in points
    )
    return (
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'
        f'<path d="M{WIDTH - RIGHT + 16} {row}h22" stroke="{colour}" stroke-width="3"/>'
        f'<text x="{WIDTH - RIGHT + 44}" y="{row + 4}">{escape(title)}</text>'
    )
