"""The price table and its look-up."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import pytest

from pointsman.providers.prices import (
    default_models,
    model_card,
    price_row,
    refs_of_model,
    table_date,
)
from pointsman.providers.registry import all_providers, get_provider
from pointsman.types import Usage

DATA = Path(__file__).parent.parent / "src" / "pointsman" / "data"
TABLE = json.loads((DATA / "models.json").read_text("utf-8"))
MODELS = TABLE["models"]


def test_the_table_is_small_dated_and_says_where_it_is_from() -> None:
    assert (DATA / "models.json").stat().st_size <= 150_000
    assert datetime.date.fromisoformat(table_date()) >= datetime.date(2026, 11, 1)
    assert "genai-prices" in TABLE["source"] and "MIT" in TABLE["source"]
    assert len(MODELS) >= 300


def test_every_row_is_of_a_known_provider_and_has_sane_prices() -> None:
    for row in MODELS:
        assert row["provider"] in all_providers(), row
        assert 0 <= row["in"] <= 1000 and 0 <= row["out"] <= 3000, row
        assert 0 <= row.get("cached", 0) <= max(row["in"], 0.001), row
        assert row.get("context", 1) > 0, row
        assert row["match"] and all(row["match"]), row


def test_every_test_of_a_name_is_of_a_known_kind_and_in_lower_case() -> None:
    for row in MODELS:
        for test in (test for tests in row["match"] for test in tests):
            assert test[0] in "=^$*~" and len(test) > 1, row
            if test[0] == "~":
                re.compile(test[1:])
            else:
                assert test == test.lower(), row


def test_every_exact_name_finds_its_own_row() -> None:
    for row in MODELS:
        found = price_row(row["provider"], row["id"])
        assert found is not None and found.id == row["id"]


@pytest.mark.parametrize(
    ("provider", "model", "row"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai", "gpt-6-luna-2026-09-01", "gpt-6-luna"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("anthropic", "claude-opus-5-5", "claude-opus-5-5"),
        ("gemini", "gemini-2.5-flash-lite-preview-06-17", "gemini-2.5-flash-lite"),
        ("openai", "GPT-4o", "gpt-4o"),
    ],
)
def test_a_dated_name_finds_its_model_and_not_a_longer_or_shorter_one(
    provider: str, model: str, row: str
) -> None:
    found = price_row(provider, model)
    assert found is not None and found.id == row


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("no-such-provider", "gpt-4o"),
        ("openai", ""),
        ("gemini", "gemini-2.5-flash-lite-preview" + "-tts" * 100_000),
    ],
)
def test_what_is_not_in_the_table_has_no_price(provider: str, model: str) -> None:
    assert price_row(provider, model) is None


def test_a_card_has_the_table_s_facts_and_the_provider_s_abilities() -> None:
    card = model_card(get_provider("openai"), "gpt-4o-mini")
    assert card.ref == "openai:gpt-4o-mini"
    assert (card.input_usd_per_mtok, card.output_usd_per_mtok) == (0.15, 0.6)
    assert card.cached_usd_per_mtok == 0.075
    assert card.context_tokens == 128_000
    assert card.vision and card.tools and card.json_schema and not card.local
    usage = Usage(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=1_000_000)
    assert card.cost_usd(usage) == pytest.approx(0.6 * 0.15 + 0.4 * 0.075 + 0.6)


def test_a_card_of_an_unknown_model_has_no_price_and_so_no_cost() -> None:
    card = model_card(get_provider("openai"), "no-such-model")
    assert card.input_usd_per_mtok is None
    assert card.cost_usd(Usage(input_tokens=5)) is None


def test_the_models_of_auto_are_priced_cheap_to_strong() -> None:
    chosen = [name for name in all_providers() if default_models(name)]
    assert {"openai", "anthropic", "gemini"} <= set(chosen)
    for provider in chosen:
        rows = [price_row(provider, model) for model in default_models(provider)]
        prices = [row.output for row in rows if row is not None]
        assert len(prices) == len(rows), provider
        assert prices == sorted(prices), provider
    assert default_models("no-such-provider") == ()


def test_a_bare_model_name_tells_whose_it_is() -> None:
    assert "openai:gpt-4o-mini" in refs_of_model("gpt-4o-mini")
    assert refs_of_model("no-such-model") == []
