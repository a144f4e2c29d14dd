"""An agent's run in all three dialects: escalation, recovery, stickiness, and what a switch costs."""

from __future__ import annotations

import re

import pytest
from agent_session import TASK, Session
from route_reader import Reader

from pointsman.testing import Answer

PROVIDERS = {"openai": "o", "anthropic": "a", "gemini": "g"}
FAILS = "Traceback (most recent call last):\nE AssertionError\n 2 failed"
# By so much must the cheap one be ahead in a calm run, for trouble to turn it and its end to turn it
# back: more than the margin of a conversation, less than what trouble moves.
LEAD = 0.036


@pytest.fixture
def make_session(make_site, monkeypatch):
    """Gives a function (dialect, lead of the cheap one in a calm run, price of a cached token)."""

    def make(dialect: str, lead: float = LEAD, cached: float = 0.5, **fields) -> Session:
        reader = Reader(TASK)
        monkeypatch.setattr("pointsman.routing.default_classifier", lambda: reader)
        # The size of the requests, which grow, is not to move the dial here.
        monkeypatch.setattr("pointsman.router.dial.PRIOR", 1e12)
        # Nor is what the fake bills for its few words to be learned as the price of a turn.
        monkeypatch.setattr("pointsman.router.online.Learner.paid", lambda self, *bill: False)
        provider = PROVIDERS[dialect]
        # Prompts cost the same with both, lest the run's length decide.
        extra = f"""
[models.cheap]
ref = "{provider}:cheap"
price = {{ input = 0.5, output = 2.0, cached = {cached} }}
[models.dear]
ref = "{provider}:dear"
price = {{ input = 0.5, output = 20.0, cached = {cached} }}
[routes.r]
candidates = ["cheap", "dear"]
dial = 0.5
"""
        site = make_site(lambda request: Answer(text="I go on."), extra)
        low, high = -6.0, 6.0
        for _ in range(40):  # The harder, the less the cheap one is ahead.
            reader.difficulty = (low + high) / 2
            asked = {"prompt": TASK, "model": "r"}
            both = site.send("/pointsman/v1/routes/explain", asked).json["candidates"]
            by_ref = {each["ref"][2:]: each["utility"] for each in both}
            if by_ref["cheap"] - by_ref["dear"] > lead:
                low = reader.difficulty
            else:
                high = reader.difficulty
            if high - low < 0.003:
                break
        return Session(site, dialect, **fields)

    return make


def why(reply) -> str:
    return re.search(r'why="([^"]*)"', reply.headers["x-pointsman-route"])[1]


def in_trouble(session: Session) -> list[tuple[str, str]]:
    """The models of three turns with failing tests, and why each was taken."""
    found = []
    for _ in range(3):
        reply = session.did("pytest -q", FAILS, error=True).ask()
        found.append((reply.headers["x-pointsman-model"], why(reply)))
    return found


@pytest.mark.parametrize("dialect", PROVIDERS)
def test_a_run_in_trouble_goes_up_and_comes_back_when_it_is_over(make_session, dialect):
    session = make_session(dialect)
    models = [session.model(), session.did("ls", "parser.py test_parser.py").model()]
    assert models == ["cheap", "cheap"]
    assert in_trouble(session) == [("dear", "trouble in the run (tests fail)")] * 3
    later = []
    for number in range(6):
        session.did(f"sed -i s/a/b/ parser{number}.py", "ok")
        later.append(session.model())
        session.did("pytest -q", "14 passed in 0.2s")
        later.append(session.model())
    # Not at the first good sign, back for good, and not to and fro.
    assert (later[0], later[-1]) == ("dear", "cheap")
    assert later == sorted(later, reverse=True)


@pytest.mark.parametrize("dialect", PROVIDERS)
def test_a_conversation_keeps_to_its_model_where_another_would_take_the_other(
    make_session, dialect
):
    session = make_session(dialect, lead=0.01)
    assert session.model() == "cheap"
    assert in_trouble(session)[-1][0] == "dear"
    for number in range(6):
        session.did(f"sed -i s/a/b/ parser{number}.py", "ok").did("pytest -q", "14 passed")
        kept = session.ask()
    # The trouble is over, and a new conversation would take the cheap one.
    assert kept.headers["x-pointsman-model"] == "dear"
    other = Session(session.site, dialect, padding=" Be brief.")
    assert other.model() == "cheap"


@pytest.mark.parametrize("dialect", PROVIDERS)
def test_a_warm_cache_keeps_a_conversation_that_would_else_go_up(make_session, dialect):
    long = " Mind the style guide of the house." * 300
    cold = make_session(dialect, cached=0.5, padding=long)
    assert cold.model() == "cheap"
    assert in_trouble(cold)[-1][0] == "dear"
    warm = make_session(dialect, cached=0.005, padding=long)
    assert warm.model() == "cheap"
    assert in_trouble(warm)[-1] == ("cheap", "kept: a switch costs more than it gains")
