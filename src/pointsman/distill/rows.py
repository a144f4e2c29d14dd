"""Rows to learn from and to be scored on: a text, what it is, and what else is known of it.

A record has `text` and either `label` (a string) or `labels` (a list; in CSV and TSV `a|b`). It may
have `soft` (label → probability, as a teacher gives them), `weight` (above 0) and `lang`. Other keys
are left out, and named to whoever asks.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.distill.lines import Progress
from pointsman.distill.records import COLUMNS, Record, read_records
from pointsman.errors import DistillError

__all__ = ["LabelSet", "Row", "label_set", "read_rows", "read_texts"]

MAX_LABEL_CHARS = 200
MAX_LABELS_OF_ROW = 1000
MAX_LABELS = 4096
# Rows below this number teach nothing that could be measured.
MIN_ROWS = 10
MAX_WEIGHT = 1e6
MAX_IGNORED = 32


class Row(Struct, frozen=True):
    """A text and its labels: one, or for multi-label rows any number, each once.

    `soft` are probabilities by label, 0 to 1, where a teacher gave them. `weight` says how much the
    row counts, 1 for most.
    """

    text: str
    labels: tuple[str, ...]
    soft: Mapping[str, float] | None = None
    weight: float = 1.0
    lang: str | None = None


class LabelSet(Struct, frozen=True):
    """The labels that rows have, sorted; `multi` if a row may have several, or none."""

    names: tuple[str, ...]
    multi: bool


def read_rows(
    path: str | Path,
    *,
    encoding: str | None = None,
    ignored: set[str] | None = None,
    progress: Progress = lambda done, total: None,
) -> Iterator[Row]:
    """Yield the rows of a file of any size, in bounded memory and in the file's order.

    The name says the format: `.jsonl`, `.csv` or `.tsv` (each also with `.gz`), or `.parquet`.
    `encoding` is for files that are not UTF-8 and have no byte order mark. Keys that are no part of
    a row are put into `ignored`, 32 at most. `progress` is as for `read_records`.

    Raises:
        DistillError: a row that cannot be read, or has no label; names the file and the line.
        MissingExtra: Parquet, and pyarrow is not installed.
    """
    path = Path(path)
    for number, record in read_records(path, encoding, progress):
        if ignored is not None and len(record) > len(COLUMNS.intersection(record)):
            spare = [key[:MAX_LABEL_CHARS] for key in record if key not in COLUMNS]
            ignored.update(spare[: max(0, MAX_IGNORED - len(ignored))])
        yield _row(record, f"{path}:{number}")


def read_texts(path: str | Path, *, encoding: str | None = None) -> Iterator[str]:
    """Yield the texts of a file, labelled or not; in a `.txt` each line is one, blank ones aside.

    Raises:
        DistillError, MissingExtra: as `read_rows`, but that no label is asked for.
    """
    path = Path(path)
    for number, record in read_records(path, encoding):
        yield _text(record, f"{path}:{number}")


def label_set(rows: Iterable[Row]) -> LabelSet:
    """Give the labels of rows that something can be learned from.

    Raises:
        DistillError: under 10 rows, under two labels, over 4,096, or no text in any row.
    """
    names: set[str] = set()
    multi = texts = False
    count = 0
    for row in rows:
        count += 1
        names.update(row.labels)
        multi = multi or len(row.labels) != 1
        texts = texts or bool(row.text.strip())
        if len(names) > MAX_LABELS:
            raise DistillError(
                f"over {MAX_LABELS} different labels, such as '{min(names)[:40]}': is 'label' really"
                " the class of a row, and not a text or a number?"
            )
    if count < MIN_ROWS:
        raise DistillError(
            f"{count} rows are too few to learn from: give {MIN_ROWS} at least, and some hundreds"
            " for a result that can be relied on"
        )
    if not texts:
        raise DistillError("all texts are empty: is 'text' the right column?")
    if len(names) < 2 and not (multi and names):
        only = f"only the label '{min(names)}'" if names else "no label at all"
        raise DistillError(
            f"the rows have {only}, so there is nothing to tell apart: add rows of another class"
            " (of ordinary text, labelled 'other', if all else is meant)"
        )
    return LabelSet(tuple(sorted(names)), multi)


def _row(record: Record, where: str) -> Row:
    text = _text(record, where)
    soft = record.get("soft")
    weight = record.get("weight")
    lang = record.get("lang")
    if lang is not None and not isinstance(lang, str):
        raise DistillError(f"{where}: 'lang' must be a string such as \"de\", not {_kind(lang)}")
    return Row(
        text=text,
        labels=_labels(record, where),
        soft=_soft(soft, where) if soft not in (None, "") else None,
        weight=_weight(weight, where) if weight not in (None, "") else 1.0,
        lang=lang or None,
    )


def _text(record: Record, where: str) -> str:
    text = record.get("text")
    if isinstance(text, str):
        return text
    if text is not None:
        raise DistillError(f"{where}: 'text' must be a string, not {_kind(text)}")
    raise DistillError(f"{where}: no 'text'{_instead(record, 'text')}")


def _labels(record: Record, where: str) -> tuple[str, ...]:
    one, several = record.get("label"), record.get("labels")
    if one is not None and several is not None:
        raise DistillError(f"{where}: both 'label' and 'labels': leave one of them out")
    if one is not None:
        return (_label(one, where),)
    if isinstance(several, str):
        several = [each for each in several.split("|") if each.strip()]
    if isinstance(several, list):
        if len(several) > MAX_LABELS_OF_ROW:
            raise DistillError(f"{where}: over {MAX_LABELS_OF_ROW} labels")
        return tuple(dict.fromkeys(_label(each, where) for each in several))
    if several is not None:
        raise DistillError(f"{where}: 'labels' must be a list of strings, not {_kind(several)}")
    raise DistillError(
        f"{where}: no 'label' (or 'labels'){_instead(record, 'label')}; rows without labels can be"
        " labelled by a teacher: 'pointsman distill new --unlabelled FILE'"
    )


def _label(value: Any, where: str) -> str:
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int):
        value = str(value)
    if not isinstance(value, str):
        raise DistillError(f"{where}: a label must be a string, not {_kind(value)}")
    label = value.strip()
    if not label:
        raise DistillError(f"{where}: an empty label: leave the row out, or name its class")
    if len(label) > MAX_LABEL_CHARS:
        raise DistillError(
            f"{where}: a label of over {MAX_LABEL_CHARS} characters: is it the text that stands there?"
        )
    return label


def _soft(value: Any, where: str) -> dict[str, float]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            pass  # Said below.
    if isinstance(value, dict) and len(value) <= MAX_LABELS:
        # A column of Parquet has all labels in each row, and None for those that a row lacks.
        found = {_label(key, where): p for key, p in value.items() if p is not None}
        if all(_is_number(p) and 0 <= p <= 1 for p in found.values()):
            return {key: float(p) for key, p in found.items()}
    raise DistillError(f"{where}: 'soft' must be an object of labels and probabilities from 0 to 1")


def _weight(value: Any, where: str) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            pass  # Said below.
    if not _is_number(value) or not 0 < value <= MAX_WEIGHT:
        raise DistillError(
            f"{where}: 'weight' must be a number above 0 and at most {MAX_WEIGHT:g}; leave out a row"
            " that should not count"
        )
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "a list" if isinstance(value, list) else "an object")


def _instead(record: Record, wanted: str) -> str:
    keys = [key[:40] for key in record]
    near = difflib.get_close_matches(wanted, [key.strip().lower() for key in keys], 1, 0.6)
    meant = next((key for key in keys if near and key.strip().lower() == near[0]), None)
    has = ", ".join(f"'{key}'" for key in keys[:8]) or "nothing"
    if meant is not None and meant != wanted:
        return f": it has {has}; rename '{meant}' to '{wanted}'"
    return f": it has {has}; rename the one that is meant to '{wanted}'"
