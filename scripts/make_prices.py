"""Make src/pointsman/data/models.json from the data of the package `genai-prices`.

    uv run --no-project --with genai-prices==0.2.3 python scripts/make_prices.py
    (or: python -m venv … ; pip install genai-prices==0.2.3 ; python scripts/make_prices.py)

genai-prices is MIT-licensed, copyright Pydantic Services Inc.; only facts (names, prices, context
lengths) are taken. Prices are US dollars per million tokens; where a price rises with the prompt's
length, the base price is taken, and so is the price without a time limit or with the latest start.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from genai_prices import data, types

OUT = Path(__file__).parent.parent / "src" / "pointsman" / "data" / "models.json"

# genai-prices' names for providers, and ours.
PROVIDERS = {
    "anthropic": "anthropic", "openai": "openai", "google": "gemini", "mistral": "mistral",
    "groq": "groq", "deepseek": "deepseek", "x-ai": "xai", "cerebras": "cerebras",
    "fireworks": "fireworks", "together": "together", "perplexity": "perplexity",
    "moonshotai": "moonshot", "cohere": "cohere", "novita": "novita", "zai": "zai",
    "minimax": "minimax", "huggingface_together": None,
}  # fmt: skip


def tests(match: Any) -> list[list[str]]:
    """Give a match as alternatives, each a list of tests that must all hold.

    A test is `=name`, `^prefix`, `$suffix`, `*part` or `~regular expression`, on the name in lower
    case: genai-prices goes by that, too.
    """
    match match:
        case types.ClauseEquals(equals=text):
            return [["=" + text.lower()]]
        case types.ClauseStartsWith(starts_with=text):
            return [["^" + text.lower()]]
        case types.ClauseEndsWith(ends_with=text):
            return [["$" + text.lower()]]
        case types.ClauseContains(contains=text):
            return [["*" + text.lower()]]
        case types.ClauseRegex(regex=text):
            return [["~" + text]]
        case types.ClauseOr(or_=parts):
            return [each for part in parts for each in tests(part)]
        case types.ClauseAnd(and_=parts):
            products = itertools.product(*(tests(part) for part in parts))
            return [[test for each in product for test in each] for product in products]
        case _:
            raise SystemExit(f"an unknown kind of match: {match!r}")


def number(price: Any) -> float | None:
    if price is None:
        return None
    if isinstance(price, types.TieredPrices):
        price = price.base
    return float(price) if isinstance(price, Decimal | int | float) else None


def price_of(prices: Any) -> Any:
    if not isinstance(prices, list):
        return prices
    today = datetime.date.today()
    free = [each for each in prices if each.constraint is None]
    dated = [
        each
        for each in prices
        if isinstance(each.constraint, types.StartDateConstraint)
        and each.constraint.start_date <= today
    ]
    dated.sort(key=lambda each: each.constraint.start_date)
    chosen = dated or free or prices
    return chosen[-1].prices


def main() -> None:
    rows: list[dict[str, Any]] = []
    skipped = 0
    for provider in data.providers:
        name = PROVIDERS.get(provider.id)
        if name is None:
            continue
        for model in provider.models:
            price = price_of(model.prices)
            cost_in, cost_out = number(price.input_mtok), number(price.output_mtok)
            found = tests(model.match)
            if cost_out is None and "embed" in model.id:
                cost_out = 0.0  # An embedding has no answer to pay for.
            if model.deprecated or cost_in is None or cost_out is None:
                skipped += 1
                continue
            row: dict[str, Any] = {"provider": name, "id": model.id, "match": found}
            row |= {"in": cost_in, "out": cost_out}
            if (cached := number(price.cache_read_mtok)) is not None:
                row["cached"] = cached
            if model.context_window:
                row["context"] = model.context_window
            rows.append(row)
    head = {
        "source": f"genai-prices {importlib.metadata.version('genai-prices')} (MIT), facts only",
        "date": datetime.date.today().isoformat(),
        "unit": "US dollars per million tokens; context in tokens",
    }
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    OUT.write_text(json.dumps(head)[:-1] + f', "models": [\n{lines}\n]}}\n', "utf-8")
    print(f"{len(rows)} models in {OUT} ({OUT.stat().st_size} bytes); left out {skipped}")


if __name__ == "__main__":
    main()
