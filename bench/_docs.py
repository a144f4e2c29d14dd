"""Puts what a benchmark found into its own part of a page."""

from __future__ import annotations

from pathlib import Path


def write_section(page: Path, name: str, script: str, text: str) -> None:
    """Replace what stands between the page's two marks of that name."""
    begin, end = f"<!-- {name}: made by {script} --write-docs -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text("utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{page} lacks the marks {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", "utf-8")
