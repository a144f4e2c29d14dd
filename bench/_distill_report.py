"""Renders the result of bench/distill.py: lines for the terminal, a generated part of the docs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from _distill_plot import accuracy_svg
from _distill_rivals import OURS

BEGIN = "<!-- distill: made by bench/distill.py --write-docs -->"
END = "<!-- distill: end -->"
PLOT = Path("img") / "distill_accuracy.svg"

Found = dict[str, Any]
# Title, key, how it is written; the ratio to ours is given with each.
COSTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("shipped", "shipped_bytes", lambda value: _size(value)),
    ("latency p50", "latency_us_p50", lambda value: f"{value:,.0f} µs"),
    ("training", "train_s", lambda value: f"{value:,.1f} s"),
    ("memory of it", "train_peak_bytes", lambda value: _size(value)),
    ("memory of running", "run_peak_bytes", lambda value: _size(value)),
)


def summary_lines(result: Found) -> list[str]:
    """The figures for the terminal, a line for each contender at each set."""
    lines = []
    for name, each in result["sets"].items():
        lines += ["", _headline(name, each)]
        rows = [_header(each), *_rows(result, each)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        lines += [
            "  "
            + "  ".join(
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
    return lines


def write_docs(result: Found, docs: Path) -> list[Path]:
    """Put the result between the markers of benchmarks.md, and draw the plot."""
    page = docs / "benchmarks.md"
    head, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the markers {BEGIN} and {END}")
    page.write_text(f"{head}{BEGIN}\n\n{section(result)}\n{END}{tail}", "utf-8")
    plot = docs / PLOT
    plot.parent.mkdir(exist_ok=True)
    plot.write_text(accuracy_svg(result), "utf-8")
    return [page, plot]


def section(result: Found) -> str:
    """The generated part of the page."""
    lines = [
        _measured(result),
        "",
        "| | version | settings |",
        "|---|---|---|",
        *(
            f"| {each['title']} | {_versions(each)} | {each['settings']} |"
            for each in result["contenders"].values()
        ),
        "",
        f"![Accuracy against bytes, a panel for each set]({PLOT.as_posix()})",
        "",
        f"In brackets the ratio to {result['contenders'].get(OURS, {}).get('title', OURS)}; the range"
        " after an accuracy is its 95 % interval.",
        "",
    ]
    for name, each in result["sets"].items():
        header, *rows = [_header(each), *_rows(result, each)]
        lines += [
            f"#### {name}",
            "",
            _headline(name, each) + ".",
            "",
            f"| {' | '.join(header)} |",
            "|---|" + "---:|" * (len(header) - 1),
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
        ]
    return "\n".join(lines)


def _measured(result: Found) -> str:
    machine = result["machine"]
    flags = "" if result["settings"] == "full" else f" --{result['settings']}"
    virtual = "a virtual machine with " if machine["virtual"] else ""
    shares = [
        found["foreign_cpu_share"]
        for each in result["sets"].values()
        for found in each["found"].values()
        if "foreign_cpu_share" in found
    ]
    return (
        f"Measured {result['date'][:10]} at commit `{result['commit']}` by"
        f" `python bench/distill.py FOLDER{flags}` in {result['seconds'] / 60:.0f} minutes, on"
        f" {virtual}{machine['cores']} cores of {machine['cpu']}"
        f" ({float(machine['mhz'] or 0) / 1000:.1f} GHz), {machine['memory_bytes'] / 1024**3:.0f} GiB,"
        f" Linux {machine['kernel']}, Python {machine['python']}, seed {result['seed']}. Other"
        f" processes took at most {max(shares, default=0):.1%} of the processors during any of it."
    )


def _versions(contender: Found) -> str:
    return ", ".join(f"{name} {number}" for name, number in contender["versions"].items())


def _headline(name: str, each: Found) -> str:
    kind = "labels, several to a text" if each["multi"] else "classes"
    text = f"{name}: {each['labels']} {kind}, {each['train_rows']:,} rows to learn from"
    if not each["test_rows"]:
        return text + ", none to be tried on"
    where = "" if each["tested_on"] == name else f" of {each['tested_on']}"
    return f"{text}, {each['test_rows']:,} to be tried on{where}"


def _header(each: Found) -> list[str]:
    scores = ["accuracy", "macro-F1", *(["micro-F1"] if each["multi"] else [])]
    return ["", *(scores if each["test_rows"] else []), *(title for title, _, _ in COSTS)]


def _rows(result: Found, each: Found) -> list[list[str]]:
    ours = each["found"].get(OURS, {})
    rows = []
    for name, found in each["found"].items():
        title = result["contenders"][name]["title"]
        width = len(_header(each)) - 1
        if "failed" in found:
            rows.append(
                [f"{title} (failed: {found['failed'][:80].replace('|', '/')})", *["–"] * width]
            )
            continue
        rows.append([title, *_scores(each, found), *_costs(name, found, ours)])
    return rows


def _scores(each: Found, found: Found) -> list[str]:
    if not each["test_rows"]:
        return []
    low, high = found["accuracy_95"]
    cells = [f"{found['accuracy']:.3f} ({low:.3f}–{high:.3f})", f"{found['macro_f1']:.3f}"]
    return [*cells, *([f"{found['micro_f1']:.3f}"] if each["multi"] else [])]


def _costs(name: str, found: Found, ours: Found) -> list[str]:
    cells = []
    for _, key, form in COSTS:
        text = form(found[key])
        if name != OURS and ours.get(key):
            text += f" ({_ratio(found[key] / ours[key])})"
        cells.append(text)
    return cells


def _ratio(value: float) -> str:
    return f"{value:,.0f}×" if value >= 10 else f"{value:.2g}×"


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:,.2f} MB" if size_bytes < 1e7 else f"{size_bytes / 1e6:,.0f} MB"
