"""What the verbs print: tables for people, JSON for machines, progress on a terminal only."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from pointsman.local.progress import Step

__all__ = ["config_option", "echo_json", "json_option", "progress_bar", "step_bar", "table"]

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False),
    help="Configuration file; the default is $POINTSMAN_CONFIG, then ./pointsman.toml.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def echo_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(msgspec.json.encode(value).decode())


def table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Give rows as aligned columns; the last column is cut to the terminal's width."""
    cells = [[*headers], *([*row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    limit = shutil.get_terminal_size((100, 24)).columns
    lines = []
    for row in cells:
        line = "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        lines.append(
            line if len(line) <= limit or not sys.stdout.isatty() else line[: limit - 1] + "…"
        )
    return "\n".join(lines)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Give a function that shows (bytes done, bytes in all); silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr, show_pos=False) as bar:

        def show(done: int, total: int | None) -> None:
            bar.length = max(total or 0, done, 1)
            bar.update(done - bar.pos)

        yield show


def step_bar(show: Callable[[int, int | None], None]) -> Callable[[Step], None]:
    """Give a function that shows the steps of a pull on one bar: all files one after another.

    Hashing goes by without a bar of its own: it runs beside the fetching, or is short.
    """
    done: dict[str, tuple[int, int]] = {}

    def step(now: Step) -> None:
        if now.file is not None and now.status == "downloading":
            done[now.file] = (now.done_bytes, max(now.total_bytes or 0, now.done_bytes))
            show(sum(each for each, _ in done.values()), sum(total for _, total in done.values()))

    return step
