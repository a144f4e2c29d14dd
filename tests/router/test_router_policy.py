"""The dial, the hard limits and the reasons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.errors import RouteError
from pointsman.router.policy import Classify, Facts, decide, facts_of, steps
from pointsman.types import (
    Chat,
    Estimate,
    File,
    Image,
    Message,
    ModelCard,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

FACTS = Facts(text="a question", prompt_tokens=100, answer_tokens=100)


def card(ref: str, price: float | None = 1.0, **more) -> ModelCard:
    return ModelCard(
        ref=ref,
        provider="p",
        model=ref,
        input_usd_per_mtok=price,
        output_usd_per_mtok=price,
        **more,
    )


CHEAP, MIDDLE, DEAR = card("cheap", 0.1), card("middle", 1.0), card("dear", 10.0)
LADDER = [DEAR, CHEAP, MIDDLE]

prices = st.one_of(st.none(), st.floats(0, 1000))
ladders = st.lists(st.tuples(prices, st.booleans()), min_size=1, max_size=6).map(
    lambda rows: [card(f"m{n}", price, local=local) for n, (price, local) in enumerate(rows)]
)
shares = st.floats(0, 1)
guesses = st.one_of(st.none(), st.builds(Estimate, p_weak=shares, rank=shares))


def rung(decision) -> int:
    return [ref for ref, _ in decision.prices].index(decision.chosen)


@given(ladders, shares, shares, guesses)
def test_a_higher_dial_never_chooses_a_cheaper_model(cards, one, other, guess):
    low, high = sorted((one, other))
    assert rung(decide(FACTS, cards, low, guess)) <= rung(decide(FACTS, cards, high, guess))


@given(ladders, shares, shares, shares)
def test_a_harder_prompt_never_gets_a_cheaper_model(cards, dial, one, other):
    hard, easy = sorted((one, other))
    assert rung(decide(FACTS, cards, dial, Estimate(0.5, hard))) >= rung(
        decide(FACTS, cards, dial, Estimate(0.5, easy))
    )


@given(ladders, guesses)
def test_the_ends_of_the_dial_are_the_ends_of_the_ladder(cards, guess):
    assert rung(decide(FACTS, cards, 0.0, guess)) == 0
    assert rung(decide(FACTS, cards, 1.0, guess)) == len(cards) - 1


@given(ladders, shares, guesses)
def test_every_candidate_is_in_the_order_once_and_dearer_ones_come_first(cards, dial, guess):
    found = decide(FACTS, cards, dial, guess)
    ladder = [ref for ref, _ in found.prices]
    assert sorted(found.order) == sorted(c.ref for c in cards)
    place = ladder.index(found.chosen)
    assert list(found.order) == [*ladder[place:], *reversed(ladder[:place])]


@given(shares.filter(lambda d: 0 < d < 1), shares)
def test_between_two_models_the_dial_is_the_share_of_the_dearer_one(dial, rank):
    found = decide(FACTS, [DEAR, CHEAP], dial, Estimate(0.5, rank))
    assert (found.chosen == "dear") == (rank < dial)


def test_three_rungs_share_by_powers_of_the_dial():
    assert [decide(FACTS, LADDER, 0.5, Estimate(0.5, r)).chosen for r in (0.2, 0.3, 0.6)] == [
        "dear", "middle", "cheap",
    ]  # fmt: skip


def test_a_local_model_is_cheapest_and_one_without_a_price_dearest():
    cards = [card("unknown", None), card("free", 0.0), card("here", None, local=True)]
    found = decide(FACTS, cards, 1.0, None)
    assert found.prices == (("here", 0.0), ("free", 0.0), ("unknown", None))
    assert "its price is unknown: taken as the dearest" in found.reasons


@pytest.mark.parametrize(
    ("facts", "able", "why"),
    [
        (Facts("x", 900, 200), {"context_tokens": 1200}, "about 1100 tokens of 1000"),
        (Facts("x", 1, 1, vision=True), {"vision": True}, "no vision"),
        (Facts("x", 1, 1, tools=True), {"tools": True}, "no tools"),
        (Facts("x", 1, 1, json_schema=True), {"json_schema": True}, "no JSON schema"),
    ],
)
def test_hard_limits_come_before_the_dial(facts, able, why):
    unable = card("unable", 0.1, context_tokens=1000)
    found = decide(facts, [unable, card("able", 5.0, **able)], 0.0, None)
    assert found.chosen == "able"
    assert found.excluded == (("unable", why),)
    assert found.reasons == ("only candidate that can serve it", "1 excluded")
    with pytest.raises(RouteError, match=why) as caught:
        decide(facts, [unable], 0.0, None)
    assert "unable" in caught.value.message


def test_no_candidates_is_an_error():
    with pytest.raises(RouteError, match="it has no candidates"):
        decide(FACTS, [], 0.5, None)


def test_the_policy_asks_only_when_the_answer_matters():
    assert next(steps(FACTS, LADDER, 0.5)) == Classify("a question")
    for cards, dial in ((LADDER, 0.0), (LADDER, 1.0), ([CHEAP], 0.5)):
        with pytest.raises(StopIteration):
            next(steps(FACTS, cards, dial))


def test_without_a_classifier_it_goes_by_the_dial_and_says_so():
    assert decide(FACTS, LADDER, 0.4, None).chosen == "cheap"
    found = decide(FACTS, LADDER, 0.5, None)
    assert found.chosen == "dear"
    assert found.reasons == ("no classifier; by the dial alone",)


def test_the_header_says_why():
    found = decide(FACTS, LADDER, 0.5, Estimate(0.714, 0.2))
    assert found.header() == (
        'choice=dear; p=0.71; rank=0.20; dial=0.5; why="hard: the strongest"; next=middle'
    )


@given(st.text(min_size=8, max_size=60), st.sampled_from([0.0, 0.3, 0.9, 1.0]), guesses)
def test_the_header_is_one_ascii_line_and_holds_nothing_of_the_prompt(text, dial, guess):
    plain = decide(Facts("", 10, 10), LADDER, dial, guess).header()
    found = decide(Facts(text, 10, 10), LADDER, dial, guess).header()
    assert found == plain
    assert found.isascii() and found.isprintable()


def test_a_strange_ref_cannot_break_the_header():
    assert decide(FACTS, [card("é\r\nx: y")], 0.5, None).header().startswith("choice=???x: y; ")


def chat(*messages: Message, **more) -> Chat:
    return Chat(model="auto", messages=messages, **more)


def said(text: str, role="user") -> Message:
    return Message(role, (Text(text),))


def test_facts_of_a_plain_question():
    found = facts_of(chat(said("s" * 30, "system"), said("q" * 60), max_tokens=7))
    assert found == Facts(text="q" * 60, prompt_tokens=30, answer_tokens=7)


def test_a_short_message_is_read_with_what_came_before():
    long = "Solve this differential equation for all x."
    found = facts_of(chat(said(long), said("Here.", "assistant"), said("Go on")))
    assert found.text == f"{long}\nGo on"
    assert facts_of(chat(said("Hi"), said(long))).text == long


def test_facts_of_tools_images_files_and_schemas():
    messages = (
        Message("user", (Text("Look"), Image(url="https://x/i.png"), File(text="t" * 300))),
        Message("assistant", (ToolCall(id="1", name="f", arguments='{"a":1}'),)),
        Message("tool", (ToolResult("1", (Text("r" * 300),)),)),
    )
    tool = Tool(name="f", parameters={"type": "object"})
    schema = ResponseFormat(kind="json_schema", schema={"type": "object"})
    found = facts_of(chat(*messages, tools=(tool,), response_format=schema))
    assert (found.vision, found.tools, found.json_schema) == (True, True, True)
    assert found.text == "Look"
    assert found.prompt_tokens > 2 * 1000 + 600 / 3
