"""Renders the result of bench/local.py: lines for the terminal, a generated part of the docs."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

BEGIN = "<!-- local: made by bench/local.py --write-docs -->"
END = "<!-- local: end -->"
MIB = 1024 * 1024


def summary_lines(result: dict[str, Any]) -> list[str]:
    """The figures, a line each."""
    width = max(len(row[0]) for row in _rows(result)) + 2
    lines = [
        f"{title:{width}}{ours:>16}{bare:>16}{goal:>12}"
        for title, ours, bare, goal in _rows(result)
    ]
    memory = [
        f"{row['model']}: predicted {row['predicted_bytes'] / MIB:.0f} MiB, real"
        f" {row['resident_bytes'] / MIB:.0f} MiB ({row['error']:+.1%})"
        for row in result["memory"]
    ]
    return [f"{'':{width}}{'Pointsman':>16}{'bare engine':>16}{'goal':>12}", *lines, *memory]


def _rows(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    swaps, firsts, streams = result["swaps_s"], result["first_token_s"], result["streams"]
    cold, warm, bare = (statistics.median(swaps[name]) for name in ("cold", "warm", "bare"))
    added = statistics.median(
        via - direct for via, direct in zip(firsts["gateway"], firsts["bare"], strict=True)
    )
    call, command = (statistics.median(result["imports"][name]) for name in ("call", "command"))
    via, direct = (statistics.median(firsts[name]) for name in ("gateway", "bare"))
    return [
        ("swap, no process warm, p50", f"{cold * 1e3:.0f} ms", f"{bare * 1e3:.0f} ms", "250 ms"),
        ("swap, a process warm, p50", f"{warm * 1e3:.0f} ms", "–", "50 ms"),
        ("time to first token, p50", f"{via * 1e3:.2f} ms", f"{direct * 1e3:.2f} ms", "–"),
        ("added to it, p50 of the pairs", f"{added * 1e3:.2f} ms", "–", "3 ms"),
        (
            "CPU per streamed token",
            f"{streams['gateway_cpu_s'] * 1e6:.0f} µs",
            f"{streams['bare_cpu_s'] * 1e6:.0f} µs",
            "100 µs",
        ),
        (
            "tokens per second, SmolLM2-135M",
            f"{streams['gateway_per_s']:.0f}",
            f"{streams['bare_per_s']:.0f}",
            "–",
        ),
        ("import of 100 Ollama models", f"{call * 1e3:.0f} ms", "–", "1 s"),
        ("the same, all of the command", f"{command * 1e3:.0f} ms", "–", "–"),
    ]


def write_docs(result: dict[str, Any], docs: Path) -> Path:
    """Put the result between the markers of benchmarks.md."""
    page = docs / "benchmarks.md"
    head, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the markers {BEGIN} and {END}")
    page.write_text(f"{head}{BEGIN}\n\n{section(result)}\n{END}{tail}", "utf-8")
    return page


def section(result: dict[str, Any]) -> str:
    """The generated part of the page."""
    machine, times = result["machine"], result["times"]
    flags = "" if result["settings"] == "full" else f" --{result['settings']}"
    virtual = "a virtual machine with " if machine["virtual"] else ""
    return "\n".join(
        [
            f"Measured {result['date'][:10]} at commit `{result['commit']}` by"
            f" `python bench/local.py{flags}`, on {virtual}{machine['cores']} cores of"
            f" {machine['cpu']}, {machine['memory_bytes'] / 1024**3:.0f} GiB, Linux"
            f" {machine['kernel']}, Python {machine['python']}, xllamacpp {result['xllamacpp']}."
            f" Other processes took {result['foreign_cpu_share']:.1%} of the processors. Medians of"
            f" {times['swaps']} swaps, {times['firsts']} first tokens and {times['streams']} streams"
            " of 128 tokens each; nothing is drawn at random but the tiny model's weights (seed 0).",
            "",
            "| | Pointsman | bare engine | goal |",
            "|---|---:|---:|---:|",
            *(f"| {' | '.join(row)} |" for row in _rows(result)),
            "",
            "| model | context | slots | cache | predicted | real | error |",
            "|---|---:|---:|---|---:|---:|---:|",
            *(
                f"| {row['model']} | {row['context_tokens']:,} | {row['slots']} | {row['cache']}"
                f" | {row['predicted_bytes'] / MIB:.0f} MiB | {row['resident_bytes'] / MIB:.0f} MiB"
                f" | {row['error']:+.1%} |"
                for row in result["memory"]
            ),
            "",
        ]
    )
