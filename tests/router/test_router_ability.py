"""Abilities and outlooks: what is known of a model, and what it promises on a prompt."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.router.ability import (
    Abilities,
    Line,
    ability_of,
    canonical,
    public_scores,
    score_place,
)
from pointsman.router.facts import Facts
from pointsman.router.outlook import outlook, probability
from pointsman.router.thetas import fit_line
from pointsman.types import Ability, ModelCard, PromptReading

KNOWN = Abilities(
    recorded={"claude-3-opus-20240229": (1.0, 0.5)},
    verbosity={"claude-3-opus-20240229": 2.0},
    recorded_sd=0.1,
    public=Line((1.0, 0.0), (0.5, 0.0), 0.4, (-3.0, 1.0)),
    price=Line((0.0, 0.0), (1.0, 0.0), 0.8, (-3.0, 3.0)),
    mean=(0.25, 0.25),
    mean_sd=1.0,
    date="2026-11-24",
)


def card(price: float | None = 1.0, **changes: object) -> ModelCard:
    return ModelCard(
        ref="p:m", provider="p", model="m", input_usd_per_mtok=price, output_usd_per_mtok=price,
        **changes,
    )  # fmt: skip


def test_the_best_that_is_known_counts():
    assert KNOWN.of("claude-3-opus-20240229") == Ability(
        (1.0, 0.5), 0.1, "recorded outcomes", "2026-11-24", 2.0
    )
    assert KNOWN.of("anthropic/claude-3-opus").theta == (1.0, 0.5)
    public = KNOWN.of("claude-opus-4-8")
    score = public_scores()["claude-opus-4-8"]
    assert public.theta[0] == pytest.approx(1 + 0.5 * score_place(score.score))
    assert (public.source, public.date) == ("public scores: LiveBench, five tasks", score.date)
    assert KNOWN.of("never-heard-of", math.e).theta == pytest.approx((1.0, 0.0))
    assert KNOWN.of("never-heard-of") == Ability((0.25, 0.25), 1.0, "nothing known")
    sds = [KNOWN.of(*known).sd for known in (
        ("claude-3-opus-20240229",), ("claude-opus-4-8",), ("never-heard-of", 1.0), ("x",)
    )]  # fmt: skip
    assert sds == sorted(sds)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct-Turbo", "llama-3-1-8b"),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet"),
        ("gpt-4-turbo-2024-04-09", "gpt-4-turbo"),
        ("qwen3:8b", "qwen3"),
        ("deepseek-coder-v2", "deepseek-coder-v2"),
    ],
)
def test_a_name_without_how_it_is_served(name: str, plain: str):
    assert canonical(name) == plain


def test_public_scores_say_where_they_are_from():
    for each in public_scores().values():
        assert 0 <= each.score <= 1 and each.url.startswith("https://") and each.date >= "2024"


def test_an_outlook_by_hand():
    reading = PromptReading((1.0, 0.5), 0.25, 100.0, 0.5, 1.0)
    ability = Ability((1.0, 0.5), 0.0, "test", verbosity=2.0)
    found = outlook(reading, ability, card(), Facts("x", 1000, 4000))
    assert (found.ref, found.logit, found.sd) == ("p:m", 1.0, 0.0)
    assert found.p_success == pytest.approx(1 / (1 + math.exp(-1)))
    assert (found.answer_tokens, found.cost_usd) == (200.0, pytest.approx(1200 / 1e6))
    assert outlook(reading, ability, card(), Facts("x", 1000, 50)).answer_tokens == 50.0
    assert outlook(reading, ability, card(None), Facts("x", 10, 10)).cost_usd is None
    assert outlook(reading, ability, card(None, local=True), Facts("x", 10, 10)).cost_usd == 0.0


def test_what_is_not_known_pulls_to_a_half():
    known = PromptReading((1.0,), 0.0, 100.0, 0.5, 1.0)
    strange = PromptReading((1.0,), 0.0, 100.0, 0.5, 0.0)
    sure, unsure = Ability((2.0,), 0.1, "test"), Ability((2.0,), 1.5, "test")
    chances = [
        outlook(reading, ability, card(), Facts("x", 10, 10)).p_success
        for reading, ability in ((known, sure), (strange, sure), (known, unsure), (strange, unsure))
    ]
    assert chances == sorted(chances, reverse=True) and chances[-1] > 0.5


@given(st.floats(-1e6, 1e6), st.floats(0, 1e3))
def test_a_probability_is_one(logit: float, sd: float):
    assert 0 <= probability(logit, sd) <= 1
    assert probability(logit, sd) == pytest.approx(1 - probability(-logit, sd))


def test_a_line_is_found_and_its_error_is_that_of_models_left_out():
    places = {str(n): float(n) for n in range(6)}
    exact = fit_line(places, {name: (2 * x + 1, 0.0) for name, x in places.items()}, (1.0, 0.0))
    assert exact is not None and exact.theta(3.0) == pytest.approx((7.0, 0.0), abs=0.01)
    assert exact.sd < 0.02 and exact.places == (0.0, 5.0)
    rough = fit_line(places, {n: (x + (-1) ** int(x), 0.0) for n, x in places.items()}, (1.0, 0.0))
    assert rough is not None and rough.sd > 1.0
    assert fit_line({"a": 1.0}, {"a": (1.0,)}, (1.0,)) is None


def test_a_candidate_is_known_by_its_model_and_price():
    class Known:
        def ability(self, model: str, price: float | None = None) -> Ability:
            return Ability((price or 0.0,), 0.0, model)

    assert ability_of(card(2.0), Known()) == Ability((2.0,), 0.0, "m")
    assert ability_of(card(2.0, local=True), Known()).theta == (0.0,)
