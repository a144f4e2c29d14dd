"""Conversations known again, and the conditions of rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.router.conditions import LANGUAGES, When, holds, language_of
from pointsman.router.conversation import CACHE_TTL_S, Conversations, conversation_key
from pointsman.types import Chat, Image, Message, Text


def chat(*said: tuple[str, str]) -> Chat:
    return Chat(model="auto", messages=tuple(Message(role, (Text(text),)) for role, text in said))


OPENING = (("system", "Be brief."), ("user", "Mend the build."))


def test_a_conversation_is_known_by_how_it_opens():
    first = conversation_key("r", chat(*OPENING))
    later = conversation_key("r", chat(*OPENING, ("assistant", "Done."), ("user", "Go on.")))
    assert first == later
    assert first != conversation_key("other", chat(*OPENING))
    assert first != conversation_key("r", chat(("user", "Mend the build.")))
    assert first != conversation_key("r", chat(OPENING[0], ("user", "Break the build.")))


def test_an_id_goes_before_the_opening():
    one, two = (conversation_key("r", chat(*OPENING), given) for given in ("a", "b"))
    assert one != two
    assert one == conversation_key("r", chat(("user", "else")), "a")


def test_a_chat_without_a_word_of_the_user_has_no_key():
    assert conversation_key("r", chat(("system", "Be brief."))) is None
    picture = Chat(model="r", messages=(Message("user", (Image(url="https://x/y"),)),))
    assert conversation_key("r", picture) is not None


def test_conversations_are_bounded_and_forgotten():
    kept = Conversations(ttl_s=100.0, limit=3)
    for n in range(5):
        kept.get(bytes([n]), 0.0).answered("m", 10, 0.0)
    assert len(kept) == 3
    assert kept.get(b"\x04", 50.0).ref == "m"
    assert kept.get(b"\x04", 200.0).ref is None
    kept.get(b"\x03", 10.0).answered("m", 10, 10.0)
    assert kept.start(b"\x03", 20.0).ref is None


def test_a_cache_is_warm_for_a_while_and_a_switch_is_counted():
    talk = Conversations().get(b"x", 0.0)
    talk.answered("one", 1000, 0.0)
    talk.answered("two", 1100, 100.0)
    assert (talk.ref, talk.turns, talk.switches) == ("two", 2, 1)
    assert talk.warm_tokens(200.0) == {"one": 1000, "two": 1100}
    assert talk.warm_tokens(CACHE_TTL_S + 1) == {"two": 1100}
    for n in range(20):
        talk.answered(f"m{n}", 1, 300.0)
    assert len(talk.warm) == 8


def held(when: When, text: str = "hello", **more) -> bool:
    given = {"tag": None, "key": None, "hour": 12, "chars": len(text), **more}
    return holds(when, text=text, **given)


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        (When(tags=("batch",)), {"tag": "batch"}, {"tag": "live"}),
        (When(tags=("batch",)), {"tag": "batch"}, {}),
        (When(keys=("ci",)), {"key": "ci"}, {"key": None}),
        (When(min_chars=10), {"chars": 10}, {"chars": 9}),
        (When(max_chars=10), {"chars": 10}, {"chars": 11}),
        (When(hours=(8, 18)), {"hour": 8}, {"hour": 18}),
        (When(hours=(22, 6)), {"hour": 23}, {"hour": 6}),
        (When(hours=(22, 6)), {"hour": 5}, {"hour": 12}),
        (When(tags=("a",), min_chars=3), {"tag": "a"}, {"tag": "a", "chars": 2}),
    ],
)
def test_conditions(when, yes, no):
    assert held(when, **yes)
    assert not held(when, **no)


def test_no_conditions_hold_always():
    assert held(When())


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the best way to learn how to play the piano?", "en"),
        ("Wie kann ich die Datei auf dem Server mit einem Skript löschen?", "de"),
        ("Comment est-ce que je peux apprendre le français dans une école ?", "fr"),
        ("¿Cómo puedo aprender a tocar el piano en una semana?", "es"),
        ("Come posso imparare a suonare il pianoforte con una app?", "it"),
        ("Como é que eu posso aprender a tocar piano em uma semana?", "pt"),
        ("Hoe kan ik het beste leren om op de piano te spelen?", "nl"),
        ("Jak mogę się nauczyć grać na pianinie w tydzień?", "pl"),
        ("как научиться играть на пианино", "ru"),
        ("Як навчитися грати на піаніно", "uk"),
        ("ピアノの弾き方を教えてください", "ja"),
        ("如何学习弹钢琴", "zh"),
        ("피아노 치는 법을 알려주세요", "ko"),
        ("كيف أتعلم العزف على البيانو", "ar"),
        ("for (int i = 0; i < n; i++) { x[i] += 1; }", None),
        ("", None),
        ("12 + 30", None),
    ],
)
def test_languages(text, language):
    assert language_of(text) == language
    assert language is None or language in LANGUAGES


@given(st.text(max_size=400))
def test_any_text_is_of_a_known_language_or_none(text):
    assert language_of(text) in (None, *LANGUAGES)
