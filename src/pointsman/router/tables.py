"""Recorded outcomes in the tables that RouteLLM and RouterBench publish: a prompt and a column of
scores for each model.

RouteLLM: `prompt`, then a column for each model, True or False. RouterBench: `sample_id`, `prompt`
(a list of turns as Python writes it), `eval_name`, and for each model `NAME`, `NAME|model_response`,
`NAME|total_cost`. Scores lie from 0 to 1; an empty cell is no outcome.

Source: lm-sys/RouteLLM at c5e4ef6, routellm/evals/mmlu/responses; withmartian/routerbench at 30e0925,
convertors and evaluate_routers.py.
"""

from __future__ import annotations

import ast
import csv
import gzip
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from pointsman.errors import MissingExtra, RouteError
from pointsman.router.rows import Outcome, Row

__all__ = ["is_table", "table_rows"]

MAX_CELL_CHARS = 1_000_000
_FACTS = {"prompt", "id", "sample_id", "benchmark", "eval_name", "domain", "index", ""}
_NO_MODEL = {
    "oracle_model_to_route_to",
    "oracle",
    "embedding",
    "rl_contaminated",
    "split",
    "source",
}
_TRUE, _FALSE = {"true", "1", "1.0"}, {"false", "0", "0.0"}
_COST, _ANSWER = "|total_cost", "|model_response"


def is_table(path: Path) -> bool:
    """Say whether a file's name is that of a table: `.csv`, `.csv.gz` or `.parquet`."""
    return path.name.lower().endswith((".csv", ".csv.gz", ".parquet"))


def table_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a table, a batch in memory at a time.

    Raises:
        RouteError: it cannot be read, or a score is none; names the file and the row.
        MissingExtra: Parquet, and pyarrow is not installed.
    """
    parquet = path.suffix.lower() == ".parquet"
    models: list[str] | None = None
    for number, cells in enumerate(_parquet(path) if parquet else _csv(path), 2):
        if models is None:
            models = _models(cells, path)
        found = {
            name: outcome for name in models if (outcome := _outcome(cells, name, path, number))
        }
        if found:
            yield Row(
                prompt=_prompt(cells.get("prompt"), path, number),
                models=found,
                id=str(cells.get("sample_id") or cells.get("id") or ""),
                benchmark=str(cells.get("eval_name") or cells.get("benchmark") or ""),
                domain=str(cells["domain"]) if cells.get("domain") else None,
            )


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(MAX_CELL_CHARS)
    try:
        with _opened(path) as file:
            yield from csv.DictReader(file)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise RouteError(f"{path} cannot be read: {error}") from error


def _opened(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8", newline=""))
    return path.open(encoding="utf-8", newline="")


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra(f"{path}: reading Parquet", "parquet") from error
    try:
        with parquet.ParquetFile(path) as file:
            # Answers are long and not looked at.
            wanted = [name for name in file.schema_arrow.names if not name.endswith(_ANSWER)]
            for batch in file.iter_batches(batch_size=256, columns=wanted):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise RouteError(f"{path} cannot be read: {error}") from error


def _models(cells: Mapping[str, Any], path: Path) -> list[str]:
    names = [name for name in cells if isinstance(name, str)]
    if "prompt" not in names:
        raise RouteError(f"{path} has no column 'prompt'")
    routed = {
        name.removesuffix(_COST).removesuffix(_ANSWER)
        for name in names
        if name.endswith((_COST, _ANSWER))
    }
    found = [
        name
        for name in names
        if (name in routed if routed else name not in _FACTS | _NO_MODEL)
        and not name.startswith("Unnamed")
        and "|" not in name
    ]
    if not found:
        raise RouteError(f"{path} has no column of a model's scores")
    return found


def _outcome(cells: Mapping[str, Any], name: str, path: Path, number: int) -> Outcome | None:
    cell = cells.get(name)
    if cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell)):
        return None
    text = str(cell).strip().lower()
    if text in _TRUE or text in _FALSE:
        return Outcome(float(text in _TRUE))
    try:
        return Outcome(float(text))
    except ValueError as error:
        raise RouteError(
            f"{path}:{number}: '{name}' is no score from 0 to 1: {text[:40]!r}"
        ) from error


def _prompt(cell: Any, path: Path, number: int) -> str:
    """The prompt; the turns of a list, as RouterBench writes it, are joined by a line's end."""
    if not isinstance(cell, str):
        raise RouteError(f"{path}:{number}: the prompt is no text")
    if cell.startswith(("['", '["')) and cell.endswith("]") and len(cell) <= MAX_CELL_CHARS:
        try:
            turns = ast.literal_eval(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return cell
        if isinstance(turns, list) and all(isinstance(turn, str) for turn in turns):
            return "\n".join(turns)
    return cell
