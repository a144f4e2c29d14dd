"""Hard limits, expected utility under the dial, and the reasons."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_kit import CHEAP, DEAR, card, reading, situation

from pointsman.errors import RouteError
from pointsman.router.facts import Facts, facts_of
from pointsman.router.limits import Limits
from pointsman.router.online import Offset
from pointsman.router.prognosis import Level
from pointsman.router.ranking import decide, ranked
from pointsman.router.steps import Classify
from pointsman.types import (
    Chat,
    File,
    Image,
    Message,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

prices = st.one_of(st.none(), st.floats(0, 1000))
ladders = st.lists(st.tuples(prices, st.booleans(), st.floats(-3, 3)), min_size=1, max_size=6).map(
    lambda rows: (
        tuple(card(f"m{n}", price, local=local) for n, (price, local, _) in enumerate(rows)),
        {f"m{n}": theta for n, (_, _, theta) in enumerate(rows)},
    )
)
weights = st.floats(0, 1e6)
readings = st.builds(reading, st.floats(-4, 4), st.floats(0, 1))


def chosen(decision):
    return next(view for view in decision.views if view.ref == decision.chosen)


@given(ladders, weights, weights, readings)
def test_a_dollar_that_weighs_less_never_buys_less(ladder, one, other, read):
    heavy, light = max(one, other), min(one, other)
    cards, able = ladder
    if len(cards) < 2:
        return
    dear = chosen(decide(situation(cards, able, per_usd=light), read))
    cheap = chosen(decide(situation(cards, able, per_usd=heavy), read))
    assert dear.p_success >= cheap.p_success - 1e-9
    assert dear.cost_usd >= cheap.cost_usd - 1e-12


@given(ladders, readings)
def test_the_ends_of_the_dial_are_the_cheapest_and_the_likeliest(ladder, read):
    cards, able = ladder
    cheapest = decide(situation(cards, able, dial=0.0), read)
    assert cheapest.chosen == cheapest.prices[0][0]
    best = decide(situation(cards, able, dial=1.0), read)
    if best.views:
        assert chosen(best).p_success == max(view.p_success for view in best.views)


@given(ladders, weights, st.one_of(st.none(), readings))
def test_every_candidate_is_in_the_order_once(ladder, per_usd, read):
    cards, able = ladder
    found = decide(situation(cards, able, per_usd=per_usd), read)
    assert sorted(found.order) == sorted(c.ref for c in cards)
    assert found.order[0] == found.chosen
    assert [view.utility for view in found.views] == sorted(
        (view.utility for view in found.views), reverse=True
    )


def test_a_hard_prompt_goes_up_and_an_easy_one_stays_down():
    easy, hard = decide(situation(), reading(-5.0)), decide(situation(), reading(1.5))
    assert (easy.chosen, hard.chosen) == ("cheap", "dear")
    assert easy.reasons == ("the cheapest will do",)
    assert hard.reasons == ("worth the strongest",)


def test_one_without_a_price_counts_as_the_dearest_and_a_local_one_as_free():
    cards = [card("unknown", None), card("free", 0.0), card("here", None, local=True)]
    able = {"unknown": 2.0}
    found = decide(situation(cards, able, dial=1.0), reading())
    assert found.prices == (("here", 0.0), ("free", 0.0), ("unknown", None))
    assert found.chosen == "unknown"
    assert "its price is unknown: taken as the dearest" in found.reasons
    by_ref = {view.ref: view for view in found.views}
    assert by_ref["here"].cost_usd == 0.0
    assert not by_ref["unknown"].priced


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
    found = decide(situation([unable, card("able", 5.0, **able)], facts=facts, dial=0.0), None)
    assert found.chosen == "able"
    assert found.excluded == (("unable", why),)
    assert found.reasons == ("only candidate that can serve it", "1 excluded")
    with pytest.raises(RouteError, match=why) as caught:
        decide(situation([unable], facts=facts), None)
    assert "unable" in caught.value.message


@pytest.mark.parametrize(
    ("limits", "left", "why"),
    [
        (Limits(max_cost_usd=0.0003), "cheap middle", "up to $0.002000 of $0.0003"),
        (Limits(left_usd=0.00003), "cheap", "up to $0.002000 of $0.000030 left today"),
        (Limits(residency=("eu",)), "middle", "region unknown"),
        (Limits(residency=("local", "us")), "cheap", "region unknown"),
        (Limits(verified_only=True), "cheap", "not verified"),
        (Limits(allowed=frozenset(("dear", "cheap"))), "cheap dear", ""),
    ],
)
def test_what_the_route_and_the_key_forbid_is_out(limits, left, why):
    cards = (
        card("cheap", 0.1, region="local", verified=True),
        card("middle", 1.0, region="eu"),
        DEAR,
    )
    found = decide(situation(cards, limits=limits), reading())
    assert set(found.order) == set(left.split())
    if why:
        assert dict(found.excluded)["dear"] == why


def test_a_cap_rules_out_what_has_no_price():
    cards = (CHEAP, card("unknown", None))
    found = decide(situation(cards, limits=Limits(max_cost_usd=1.0)), reading())
    assert dict(found.excluded) == {"unknown": "no known price, and there is a cap"}


def test_no_candidates_is_an_error():
    with pytest.raises(RouteError, match="it has no candidates"):
        decide(situation([]), None)


def test_the_classifier_is_asked_only_when_its_answer_matters():
    assert next(ranked(situation())) == Classify("a question")
    for plain in (situation(dial=0.0), situation([CHEAP]), situation(abilities={})):
        with pytest.raises(StopIteration):
            next(ranked(plain))


def test_without_a_classifier_it_goes_by_the_dial_and_says_so():
    assert decide(situation(dial=0.4), None).chosen == "cheap"
    found = decide(situation(dial=0.5), None)
    assert found.order == ("dear", "middle", "cheap")
    assert found.reasons == ("no classifier; by the dial alone",)


def test_the_header_names_choice_and_runner_up_with_their_numbers():
    found = decide(situation(), reading(1.5))
    first, second = found.views[:2]
    assert found.header() == (
        f"choice=dear; p={first.p_success:.2f}; cost={first.cost_usd:.6f}; dial=0.5;"
        f' why="worth the strongest"; next=middle; next_p={second.p_success:.2f};'
        f" next_cost={second.cost_usd:.6f}"
    )


@given(st.text(min_size=8, max_size=60), st.sampled_from([0.0, 0.3, 0.9, 1.0]), readings)
def test_the_header_is_one_ascii_line_and_holds_nothing_of_the_prompt(text, dial, read):
    def header(prompt: str) -> str:
        facts = Facts(prompt, 10, 10)
        return decide(situation(facts=facts, dial=dial), read).header()

    assert header(text) == header("")
    assert header(text).isascii() and header(text).isprintable()


def test_a_strange_ref_cannot_break_the_header():
    assert decide(situation([card("é\r\nx: y")]), None).header().startswith("choice=???x: y; ")


# The conversation


def test_a_conversation_stays_with_its_model_within_a_margin():
    cards = (card("one", 1.0), card("two", 1.0))
    able = {"one": 0.0, "two": 0.05}
    assert decide(situation(cards, able), reading()).chosen == "two"
    kept = decide(situation(cards, able, current="one"), reading())
    assert kept.chosen == "one"
    assert kept.reasons == ("kept: a switch costs more than it gains",)
    abler = decide(situation(cards, {"one": 0.0, "two": 1.0}, current="one"), reading())
    assert abler.chosen == "two"
    assert abler.reasons[0].startswith("leaves one: ")


def test_a_current_model_that_is_no_candidate_any_more_keeps_nobody():
    assert decide(situation(current="gone"), reading(-5.0)).chosen == "cheap"


def test_a_warm_cache_makes_its_model_cheaper_by_what_would_be_lost():
    cached = card("warm", 10.0, cached_usd_per_mtok=1.0)
    other = card("cold", 8.0, cached_usd_per_mtok=0.8)
    facts = Facts("x", 10_000, 100)
    cold = decide(situation((cached, other), {}, facts=facts), reading())
    assert cold.chosen == "cold"
    warm = decide(situation((cached, other), {}, facts=facts, warm={"warm": 9_000}), reading())
    assert warm.chosen == "warm"
    view = warm.views[0]
    assert view.warm_usd == pytest.approx(9_000 * 9.0 / 1e6)
    assert view.cost_usd == pytest.approx(cold.views[1].cost_usd - view.warm_usd)


def test_a_warm_cache_never_saves_more_than_the_prompt():
    cached = card("warm", 10.0, cached_usd_per_mtok=1.0)
    for tokens, saved in ((2000, 2000), (1000, 0)):  # Short prompts are not cached.
        facts = Facts("x", tokens, 100)
        where = situation((cached, CHEAP), warm={"warm": 10**9}, dial=1.0, facts=facts)
        view = next(v for v in decide(where, reading()).views if v.ref == "warm")
        assert view.warm_usd == pytest.approx(saved * 9.0 / 1e6 if saved else 0.0)
        assert view.cost_usd >= 0.0


def test_trouble_in_the_run_moves_it_up_and_says_why():
    calm = situation(level=Level())
    assert decide(calm, reading(-5.0)).chosen == "cheap"
    hit = msgspec.structs.replace(calm, level=Level(3.0), trouble=("errors", "repeats"))
    found = decide(hit, reading(-5.0))
    assert found.chosen != "cheap"
    assert found.reasons[0] == "trouble in the run (errors, repeats)"


def test_earlier_outcomes_count_once_there_are_some():
    def told(seen: float):
        def offset(context, ref):
            return Offset(3.0 if ref == "middle" else -1.0, 0.3, seen)

        return offset

    assert decide(situation(offset=told(0.0)), reading(1.5)).chosen == "dear"
    found = decide(situation(offset=told(30.0)), reading(1.5))
    assert found.chosen == "middle"
    assert found.reasons[0] == "earlier outcomes speak for it"


def test_exploring_is_off_by_default_bounded_and_the_same_in_a_replay():
    def offset(context, ref):
        return Offset(0.0, 1.0, 1.0)

    def run(share: float, seed: int, dial: float = 0.5):
        policy = ranked(situation(offset=offset, seed=seed, dial=dial), share)
        try:
            next(policy)
            policy.send(reading(-5.0))
        except StopIteration as done:
            return done.value
        raise AssertionError

    assert {run(0.0, seed).chosen for seed in range(50)} == {"cheap"}
    tried = [run(0.5, seed) for seed in range(200)]
    others = [d for d in tried if d.chosen != "cheap"]
    assert 0 < len(others) < 140
    assert others[0].reasons[0] == "tried, to learn"
    assert {d.chosen for d in others} == {"middle"}  # Dearer than the dial allows.
    assert [run(0.5, seed).chosen for seed in range(200)] == [d.chosen for d in tried]


# The facts


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
