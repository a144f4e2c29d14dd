"""Recorded outcomes from a file of any form that is taken: JSON lines, or a table of scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pointsman.errors import RouteError
from pointsman.router.rows import Row, read_rows
from pointsman.router.tables import is_table, table_rows

__all__ = ["pair_rows", "recorded_rows"]

_PICKLES = (".pkl", ".pickle", ".pkl.gz")


def recorded_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file of outcomes; see `rows` and `tables` for the forms.

    Raises:
        RouteError: a row that cannot be read, or a pickle, which would run what it holds.
        MissingExtra: Parquet, and pyarrow is not installed.
    """
    if path.name.lower().endswith(_PICKLES):
        raise RouteError(
            f"{path} is a pickle, which can run any code when it is read: write it as CSV or Parquet"
        )
    yield from table_rows(path) if is_table(path) else read_rows(path)


def pair_rows(path: Path, strong: str, weak: str) -> tuple[list[Row], list[Row]]:
    """Give the rows that have both models' outcomes, and the others.

    Raises:
        RouteError: there are none with both; names the models that the file has.
    """
    both: list[Row] = []
    others: list[Row] = []
    names: dict[str, int] = {}
    for row in recorded_rows(path):
        for name in row.models:
            names[name] = names.get(name, 0) + 1
        (both if strong in row.models and weak in row.models else others).append(row)
    if not both:
        top = ", ".join(sorted(names, key=lambda n: -names[n])[:8]) or "none"
        raise RouteError(f"{path} has no row with both '{strong}' and '{weak}'; models: {top}")
    return both, others
