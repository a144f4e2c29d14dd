"""Answers of every kind of bad model: rows are saved where there are any, and the rest has a reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.distill.teacher.parse import fault_of_text, first_object, labels_of, rows_of

ROWS = [{"id": number, "text": f"text number {number}"} for number in (1, 2, 3)]
WHOLE = json.dumps({"rows": ROWS})
IDS = (1, 2, 3)
CODES = {"A": "billing", "B": "sales"}


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        f"```json\n{WHOLE}\n```",
        f"Here you are:\n{WHOLE}\nHope it helps!",
        json.dumps(ROWS),
        "\n".join(json.dumps(row) for row in ROWS),
        json.dumps({"rows": [{"id": str(row["id"]), "text": row["text"]} for row in ROWS]}),
        json.dumps({"rows": [{"text": row["text"]} for row in ROWS]}),
        "1. text number 1\n2. text number 2\n3) text number 3",
    ],
)
def test_rows_are_read_from_every_form(text: str) -> None:
    parsed = rows_of(text, IDS)
    assert parsed.rows == {row["id"]: row["text"] for row in ROWS}
    assert parsed.faults == {}


def test_rows_before_and_after_a_broken_one_are_saved() -> None:
    broken = WHOLE.replace('{"id": 2, "text"', '{"id": oops, "text"')
    parsed = rows_of(broken, IDS)
    assert set(parsed.rows) == {1, 3}
    assert parsed.faults == {"broken JSON": 1}


def test_an_answer_that_is_cut_keeps_its_whole_rows() -> None:
    parsed = rows_of(WHOLE[:-20], IDS, cut=True)
    assert set(parsed.rows) == {1, 2}
    assert parsed.faults == {"cut": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I'm sorry, but I can't help with that request.", "refusal"),
        ("As an AI, I cannot write such texts.", "refusal"),
        ("The moon is a fine cheese.", "no rows"),
        ("", "no rows"),
        ('{"rows": [{"id"', "broken JSON"),
    ],
)
def test_an_answer_without_rows_has_a_reason(text: str, reason: str) -> None:
    assert rows_of(text, IDS).faults == {reason: 3}


def test_a_provider_that_marks_a_refusal_is_believed() -> None:
    assert rows_of("{}", IDS, refused=True).faults == {"refusal": 3}


def test_ids_that_were_not_asked_for_and_repeats_are_counted() -> None:
    rows = [*ROWS[:2], {"id": 2, "text": "again"}, {"id": 9, "text": "who?"}]
    parsed = rows_of(json.dumps({"rows": rows}), IDS)
    assert set(parsed.rows) == {1, 2}
    assert parsed.faults["unknown id"] == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("   ", "empty"),
        ("...", "empty"),
        ("x" * 20_001, "too long"),
        ("Dear [Your Name], the bill is wrong", "placeholder"),
        ("My order {{order}} is late", "placeholder"),
        ("Here are three example texts for you", "comment"),
        ("I cannot fulfill your request for such a text", "refusal"),
        ("I can't log in to my account, please help me", None),
        ("Sure, that works for us.", None),
        ("[urgent] printer on fire", None),
        ("size XXL please", None),
        ("付款失败了", None),
        ("😡", None),
    ],
)
def test_rows_that_no_writer_would_send_are_turned_away(text: str, reason: str | None) -> None:
    assert fault_of_text(text) == reason


def test_labels_are_read_by_code_or_by_name() -> None:
    answer = (
        '{"labels": [{"id": 1, "code": "a"}, {"id": 2, "code": "sales"}, {"id": 3, "code": "Z"}]}'
    )
    assert labels_of(answer, IDS, CODES) == {1: ("billing",), 2: ("sales",)}
    assert labels_of("1: A\n2: B\n", IDS, CODES) == {1: ("billing",), 2: ("sales",)}


def test_several_labels_and_none() -> None:
    answer = '{"labels": [{"id": 1, "codes": ["A", "B", "A"]}, {"id": 2, "codes": []}]}'
    assert labels_of(answer, IDS, CODES) == {1: ("billing", "sales"), 2: ()}


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=400), st.text('{}[]",:\\ idtextrows12', max_size=400)))
def test_nothing_that_is_written_breaks_the_reading(text: str) -> None:
    parsed = rows_of(text, IDS)
    assert set(parsed.rows) <= set(IDS)
    assert all(value.strip() for value in parsed.rows.values())
    labels_of(text, IDS, CODES)
    first_object(text)


def test_deep_nesting_is_survived() -> None:
    assert rows_of("[" * 200_000, IDS).rows == {}
    assert rows_of('{"rows":' * 50_000, IDS).rows == {}
