"""What the demo shows: a row per prompt, the totals, and what was saved. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from pointsman.types import ModelCard, Usage

__all__ = ["DEFAULT_COLUMNS", "HEADERS", "Row", "Totals", "cells", "line", "summary", "totals"]

HEADERS = ("#", "prompt", "hard", "chosen", "why", "tokens", "cost", "time", "overhead")
# The prompt's column takes what the others leave of the terminal.
WIDTHS = (3, 0, 4, 13, 30, 7, 9, 7, 9)
LEAST_PROMPT_CHARS = 20
DEFAULT_COLUMNS = 130


class Row(Struct, frozen=True):
    """One prompt's way. `difficulty` is the share of recorded models that got it wrong, 0 to 1."""

    number: int
    prompt: str
    benchmark: str
    difficulty: float
    model: str
    why: str
    streamed: bool
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    seconds: float
    overhead_ms: float | None
    text: str
    error: str | None = None


class Totals(Struct, frozen=True):
    """Sums over the rows. `strong_only_usd` prices the same tokens at the strong model."""

    requests: int
    failed: int
    by_model: dict[str, int]
    cost_usd: float
    strong_only_usd: float | None
    saved_usd: float | None
    saved_share: float | None
    seconds: float
    median_overhead_ms: float | None


def totals(rows: Sequence[Row], strong: ModelCard) -> Totals:
    """Add the rows up; what is saved is against sending each prompt to `strong`."""
    by_model: dict[str, int] = {}
    for row in rows:
        if row.error is None:
            by_model[row.model] = by_model.get(row.model, 0) + 1
    cost = sum(row.cost_usd or 0.0 for row in rows)
    prices = [
        strong.cost_usd(Usage(row.input_tokens, row.output_tokens))
        for row in rows
        if row.error is None
    ]
    known = [price for price in prices if price is not None]
    strong_only = sum(known) if prices and len(known) == len(prices) else None
    saved = None if strong_only is None else strong_only - cost
    overheads = sorted(row.overhead_ms for row in rows if row.overhead_ms is not None)
    return Totals(
        requests=len(rows),
        failed=sum(row.error is not None for row in rows),
        by_model=by_model,
        cost_usd=cost,
        strong_only_usd=strong_only,
        saved_usd=saved,
        saved_share=saved / strong_only if saved is not None and strong_only else None,
        seconds=sum(row.seconds for row in rows),
        median_overhead_ms=overheads[len(overheads) // 2] if overheads else None,
    )


def cells(row: Row, columns: int = DEFAULT_COLUMNS) -> str:
    """Give a row as a line of the table."""
    overhead = "-" if row.overhead_ms is None else f"{row.overhead_ms:.2f} ms"
    values = (
        str(row.number),
        " ".join(row.prompt.split()),
        f"{row.difficulty:.2f}",
        row.model,
        row.error or row.why,
        f"{row.input_tokens}+{row.output_tokens}",
        "-" if row.cost_usd is None else f"${row.cost_usd:.5f}",
        f"{row.seconds:.2f} s",
        overhead,
    )
    return line(values, columns)


def line(values: Sequence[str], columns: int = DEFAULT_COLUMNS) -> str:
    """Give values as one line of the table, `columns` wide; what is too long is cut with '…'."""
    prompt = columns - sum(WIDTHS) - 2 * (len(WIDTHS) - 1)
    widths = [width or max(prompt, LEAST_PROMPT_CHARS) for width in WIDTHS]
    cut = (
        value if len(value) <= width else value[: width - 1] + "…"
        for value, width in zip(values, widths, strict=True)
    )
    return "  ".join(v.ljust(w) for v, w in zip(cut, widths, strict=True)).rstrip()


def summary(sums: Totals, strong: str, strong_note: str) -> str:
    """Give the totals in words; `strong_note` says what the strong side and its price are."""
    where = ", ".join(f"{count} by {model}" for model, count in sums.by_model.items())
    lines = [
        f"{sums.requests} prompts: {where or 'none answered'}"
        + (f"; {sums.failed} failed" if sums.failed else ""),
        f"cost ${sums.cost_usd:.6f}",
    ]
    if sums.strong_only_usd is not None and sums.saved_share is not None:
        lines[-1] += (
            f"; the same tokens all at {strong}: ${sums.strong_only_usd:.6f};"
            f" saved ${sums.saved_usd:.6f} ({sums.saved_share:.0%})"
        )
    if sums.median_overhead_ms is not None:
        lines.append(f"median overhead of the gateway {sums.median_overhead_ms:.2f} ms a request")
    return "\n".join([*lines, strong_note])
