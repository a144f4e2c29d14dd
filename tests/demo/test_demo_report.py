"""The demo's prompts and what it says of them."""

from __future__ import annotations

import pytest

from pointsman.demo.prompts import load_prompts
from pointsman.demo.report import HEADERS, Row, cells, line, summary, totals
from pointsman.types import ModelCard

STRONG = ModelCard(
    ref="p:strong",
    provider="p",
    model="strong",
    input_usd_per_mtok=1.0,
    output_usd_per_mtok=10.0,
)


def row(number: int = 1, **more) -> Row:
    facts = {
        "prompt": "What is\n1 + 1?", "benchmark": "B", "difficulty": 0.25, "model": "local:small",
        "why": "p=0.80 the cheapest will do", "streamed": False, "input_tokens": 1000,
        "output_tokens": 100, "cost_usd": 0.0, "seconds": 1.5, "overhead_ms": 0.4, "text": "2",
    }  # fmt: skip
    return Row(number=number, **{**facts, **more})


def test_the_prompts_are_many_free_to_ship_and_sorted():
    prompts = load_prompts()
    assert len(prompts) >= 40
    assert {each.licence for each in prompts} <= {"MIT", "Apache-2.0"}
    hardness = [each.difficulty for each in prompts]
    assert hardness == sorted(hardness)
    assert hardness[0] < 0.2 and hardness[-1] > 0.8
    assert len({each.id for each in prompts}) == len(prompts)
    assert all(each.prompt.strip() and each.origin and each.benchmark for each in prompts)


def test_totals_price_all_tokens_at_the_strong_model():
    rows = [
        row(1),
        row(2, model="p:strong", cost_usd=0.002, overhead_ms=0.6),
        row(3, error="it failed", cost_usd=None, overhead_ms=None, seconds=0.5),
    ]
    sums = totals(rows, STRONG)
    assert (sums.requests, sums.failed) == (3, 1)
    assert sums.by_model == {"local:small": 1, "p:strong": 1}
    assert sums.cost_usd == pytest.approx(0.002)
    # Two answers of 1,000 tokens in and 100 out: 2 × (0.001 + 0.001).
    assert sums.strong_only_usd == pytest.approx(0.004)
    assert sums.saved_usd == pytest.approx(0.002)
    assert sums.saved_share == pytest.approx(0.5)
    assert sums.seconds == pytest.approx(3.5)
    assert sums.median_overhead_ms == 0.6


def test_without_a_price_or_an_answer_nothing_is_claimed_to_be_saved():
    unpriced = ModelCard(ref="p:x", provider="p", model="x")
    for sums in (totals([row()], unpriced), totals([row(error="no")], STRONG), totals([], STRONG)):
        assert (sums.strong_only_usd, sums.saved_usd, sums.saved_share) == (None, None, None)
        assert "saved" not in summary(sums, "p:x", "note")


def test_the_summary_says_what_went_where_and_what_the_strong_side_was():
    sums = totals([row(1), row(2, error="no")], STRONG)
    assert summary(sums, "p:strong", "It was a stand-in.") == (
        "2 prompts: 1 by local:small; 1 failed\n"
        "cost $0.000000; the same tokens all at p:strong: $0.002000; saved $0.002000 (100%)\n"
        "median overhead of the gateway 0.40 ms a request\n"
        "It was a stand-in."
    )


@pytest.mark.parametrize("columns", [130, 160, 250])
def test_a_line_of_the_table_fits_the_terminal_and_its_columns_align(columns):
    head = line(HEADERS, columns)
    one = cells(row(7, prompt="long words " * 60, why="w" * 99, input_tokens=200), columns)
    assert len(one) <= columns and "\n" not in one
    assert one[head.index("chosen") :].startswith("local:small")
    assert one[head.index("overhead") :] == "0.40 ms"
    assert one.count("…") == 2


def test_a_narrow_terminal_keeps_twenty_characters_of_the_prompt():
    assert "abcdefghijklmnopqrs…" in cells(row(prompt="abcdefghijklmnopqrstuvwxyz"), 10)


def test_a_row_without_cost_shows_dashes_and_a_failed_one_its_error():
    found = cells(row(cost_usd=None, overhead_ms=None, error="no such model"))
    assert "no such model" in found
    assert found.endswith(" -") and "$" not in found
