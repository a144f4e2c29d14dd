"""The scripted teacher: plausible, varied, and wrong as often as it is told to be."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from pointsman.testing import Answer, Fault, Faults, Recorded, ScriptedTeacher

CLASSES = "A: billing (x)\nB: technical (y)\nC: sales (z)\n"


def ask(script: ScriptedTeacher, prompt: str) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    raw = json.dumps(body).encode()
    request = Recorded("POST", "/v1/chat/completions", {}, body, raw, "openai", False, "m")
    return script(request)


def rows_prompt(label: str, count: int, salt: str = "") -> str:
    briefs = "\n".join(json.dumps({"id": number}) for number in range(1, count + 1))
    return f'{salt}Class wanted: {label}\n```json\n{briefs}\n```\n{{"rows": []}}'


def labels_prompt(texts: list[str]) -> str:
    shown = "\n".join(json.dumps({"id": at, "text": text}) for at, text in enumerate(texts))
    return f'{CLASSES}\n```json\n{shown}\n```\n{{"labels": [{{"id": 1, "code": "…"}}]}}'


def test_it_writes_varied_rows_of_the_class_that_is_asked_for() -> None:
    script = ScriptedTeacher()
    rows = json.loads(ask(script, rows_prompt("sales", 200)).text.strip("`json\n"))["rows"]
    assert [row["id"] for row in rows] == [*range(1, 201)]
    assert len({row["text"] for row in rows}) > 190
    assert {script.truth(row["text"]) for row in rows} == {"sales"}


def test_it_errs_as_often_as_told() -> None:
    script = ScriptedTeacher("support", Faults(wrong_class=0.2, blind_error=0.1))
    rows = json.loads(ask(script, rows_prompt("billing", 500)).text.strip("`json\n"))["rows"]
    texts = [row["text"] for row in rows]
    wrong = sum(script.truth(text) != "billing" for text in texts) / len(texts)
    assert 0.14 < wrong < 0.26
    said = json.loads(ask(script, labels_prompt(texts)).text.strip("`json\n"))["labels"]
    codes = {"billing": "A", "technical": "B", "sales": "C"}
    off = sum(each["code"] != codes[script.truth(texts[each["id"]])] for each in said)
    assert 0.06 < off / len(said) < 0.14


def test_it_tells_texts_that_it_never_saw_by_their_words() -> None:
    script = ScriptedTeacher(seed=3)
    rows = ScriptedTeacher(seed=4).clean_rows(150, seed=1)
    assert sum(script.truth(text) == label for text, label in rows) >= 140
    assert len({text for text, _ in rows}) == 150


@pytest.mark.parametrize("task", ["support", "reviews"])
def test_it_is_the_same_for_the_same_seed(task: str) -> None:
    def answers(seed: int) -> list[str]:
        script = ScriptedTeacher(task, Faults(broken=0.3, cut=0.3), seed=seed)
        label = next(iter(script.task.classes))
        return [ask(script, rows_prompt(label, 5, f"{n} ")).text for n in range(10)]

    assert answers(1) == answers(1) != answers(2)


def test_every_fault_comes_as_often_as_told() -> None:
    faults = Faults(refusal=0.1, nonsense=0.1, broken=0.2, cut=0.2, limit=0.2, dropped=0.1)
    script = ScriptedTeacher("support", faults)
    seen: Counter[str] = Counter()
    for number in range(400):
        reply = ask(script, rows_prompt("billing", 4, f"{number} "))
        if isinstance(reply, Fault):
            seen["limit" if reply.status == 429 else "dropped"] += 1
            continue
        assert isinstance(reply, Answer)
        if reply.finish == "length":
            seen["cut"] += 1
        elif "sorry" in reply.text:
            seen["refusal"] += 1
        elif "moon" in reply.text:
            seen["nonsense"] += 1
        elif "oops" in reply.text:
            seen["broken"] += 1
        else:
            assert len(json.loads(reply.text.strip("`json\n"))["rows"]) == 4
    assert set(seen) == {"limit", "dropped", "cut", "refusal", "nonsense", "broken"}
    assert all(15 < count < 120 for count in seen.values()), seen
    assert script.limited == seen["limit"]
    assert sum(script.paid.values()) == 400 - seen["limit"] - seen["dropped"]


def test_a_request_that_was_limited_is_answered_at_its_second_try() -> None:
    script = ScriptedTeacher("support", Faults(limit=1.0))
    assert isinstance(ask(script, rows_prompt("sales", 1)), Fault)
    assert isinstance(ask(script, rows_prompt("sales", 1)), Answer)


def test_languages_other_classes_and_repeats() -> None:
    script = ScriptedTeacher("support", Faults(duplicate=0.5))
    briefs = json.dumps({"id": 1, "language": "de"})
    reply = ask(script, f'Class wanted: billing\n```json\n{briefs}\n```\n{{"rows": []}}')
    text = json.loads(reply.text.strip("`json\n"))["rows"][0]["text"]
    assert any(word in text for word in ("Rechnung", "abgebucht", "Zahlung", "Quittung"))
    other = json.loads(ask(script, rows_prompt("other", 3)).text.strip("`json\n"))["rows"]
    assert len(other) == 3
    plan = json.loads(ask(script, 'Make a plan, with the last class "other".').text)
    assert [each["name"] for each in plan["classes"]][-1] == "other"
