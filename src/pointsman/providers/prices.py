"""Prices and context lengths by model, from the shipped table; pure but for one read of the data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct, field

from pointsman.providers.registry import Provider
from pointsman.types import ModelCard

__all__ = ["PriceRow", "default_models", "model_card", "price_row", "refs_of_model", "table_date"]

MAX_NAME_CHARS = 256


class PriceRow(Struct, frozen=True):
    """A model's facts. Prices in US dollars per million tokens.

    `match` holds alternatives, each a list of tests on a model's name in lower case that must all
    hold: `=name`, `^prefix`, `$suffix`, `*part`, `~regular expression`.
    """

    provider: str
    id: str
    match: tuple[tuple[str, ...], ...]
    input: float = field(name="in")
    output: float = field(name="out")
    cached: float | None = None
    context: int | None = None


class _Table(Struct, frozen=True):
    source: str
    date: str
    unit: str
    models: tuple[PriceRow, ...]


class _Rows(Struct, frozen=True):
    """One provider's rows: by exact name in lower case, and by rules in the table's order."""

    named: dict[str, PriceRow] = field(default_factory=dict)
    rules: list[tuple[tuple[str, ...], PriceRow]] = field(default_factory=list)


class _Defaults(Struct, frozen=True):
    date: str
    note: str
    models: dict[str, tuple[str, ...]]


@cache
def _table() -> tuple[_Table, Mapping[str, _Rows]]:
    text = files("pointsman").joinpath("data/models.json").read_bytes()
    table = msgspec.json.decode(text, type=_Table)
    by_provider: dict[str, _Rows] = {}
    for row in table.models:
        rows = by_provider.setdefault(row.provider, _Rows())
        rows.named[row.id.lower()] = row
        for tests in row.match:
            if len(tests) == 1 and tests[0].startswith("="):
                rows.named.setdefault(tests[0][1:], row)
            else:
                rows.rules.append((tests, row))
    return table, by_provider


@cache
def _defaults() -> _Defaults:
    text = files("pointsman").joinpath("data/defaults.json").read_bytes()
    return msgspec.json.decode(text, type=_Defaults)


def table_date() -> str:
    """The day of the price table, ISO 8601."""
    return _table()[0].date


def price_row(provider: str, model: str) -> PriceRow | None:
    """Give the facts of a provider's model; an exact name goes before a rule, case aside."""
    rows = _table()[1].get(provider)
    if rows is None or len(model) > MAX_NAME_CHARS:
        return None
    name = model.lower()
    row = rows.named.get(name)
    return row or next((row for tests, row in rows.rules if _holds(tests, name)), None)


def model_card(provider: Provider, model: str) -> ModelCard:
    """Give what the tables say of a model; abilities are the provider's."""
    row = price_row(provider.name, model)
    able = provider.capabilities
    return ModelCard(
        ref=f"{provider.name}:{model}",
        provider=provider.name,
        model=model,
        input_usd_per_mtok=row.input if row else None,
        output_usd_per_mtok=row.output if row else None,
        cached_usd_per_mtok=row.cached if row else None,
        context_tokens=row.context if row else None,
        vision=able.vision,
        tools=able.tools,
        json_schema=able.json_schema,
        logprobs=able.logprobs,
    )


def default_models(provider: str) -> tuple[str, ...]:
    """The models that `auto` takes of a provider when nothing is configured, cheap to strong."""
    return _defaults().models.get(provider, ())


def refs_of_model(name: str) -> list[str]:
    """The refs of the providers whose table has a model of exactly this name."""
    return [
        f"{provider}:{name}" for provider, rows in _table()[1].items() if name.lower() in rows.named
    ]


def _holds(tests: Sequence[str], name: str) -> bool:
    return all(_test(test[0], test[1:], name) for test in tests)


def _test(kind: str, text: str, name: str) -> bool:
    match kind:
        case "=":
            return name == text
        case "^":
            return name.startswith(text)
        case "$":
            return name.endswith(text)
        case "*":
            return text in name
        case _:
            return re.search(text, name) is not None
