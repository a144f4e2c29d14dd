"""Plans: the teacher's are checked and repaired, the user's are taken as they are or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pointsman.distill.teacher.asking import Answer, Question
from pointsman.distill.teacher.budget import Budget, Limits
from pointsman.distill.teacher.plan import Task, fallback_plan, plan_chat, read_plan
from pointsman.distill.teacher.run import make_plan
from pointsman.errors import DistillError
from pointsman.types import Text

TASK = Task(words="Sort mail", labels=("Spam", "ham"))


def a_class(name: str, **changes: Any) -> dict[str, Any]:
    base = {
        "name": name,
        "definition": f"All that is {name}.",
        "situations": ["one", "two", "three"],
        "edge_cases": ["four"],
    }
    return {**base, **changes}


def a_plan(*classes: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"classes": classes or [a_class("spam"), a_class("ham")], **fields})


class Asking:
    """An asker with the answers given to it."""

    def __init__(self, *texts: str | None) -> None:
        self.budget = Budget(Limits(), None)
        self.stopped: str | None = None
        self.on_answer = lambda: None
        self.questions: list[Question] = []
        self._texts = list(texts)

    async def ask(self, questions: list[Question]) -> list[Answer | None]:
        self.questions += questions
        text = self._texts.pop(0) if self._texts else None
        return [None if text is None else Answer(text=text)]

    def is_paid(self, question: Question) -> bool:
        return False


def test_a_good_plan_is_read_with_the_users_spelling() -> None:
    plan, faults = read_plan(f"Sure!\n```json\n{a_plan(lengths=['short', 'long'])}\n```", TASK)
    assert faults == [] and plan is not None
    assert plan.names == ("Spam", "ham")
    assert plan.lengths == ("short", "long")
    assert len(plan.writers) >= 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("no plan", "no JSON object"),
        ('{"x": 1}', 'no list "classes"'),
        (a_plan(a_class("spam")), '"ham" is missing'),
        (a_plan(a_class("spam"), a_class("ham"), a_class("eggs")), 'no class "eggs"'),
        (a_plan(a_class("spam"), a_class("ham", definition="")), "no definition"),
        (a_plan(a_class("spam"), a_class("ham", situations=["x"])), "fewer than 3"),
        (a_plan(a_class("spam"), a_class("Spam"), a_class("ham")), "same name"),
        (a_plan(a_class("spam"), a_class("x" * 90)), "over 80 characters"),
    ],
)
def test_faults_are_named(text: str, fault: str) -> None:
    _, faults = read_plan(text, TASK)
    assert any(fault in each for each in faults), faults


async def test_a_broken_plan_is_asked_for_once_more_with_its_faults() -> None:
    asking = Asking(a_plan(a_class("spam")), a_plan())
    notes: list[str] = []
    plan = await make_plan(TASK, asking, notes)
    assert plan.names == ("Spam", "ham") and notes == []
    last = asking.questions[1].chat.messages[-1].parts[0]
    assert isinstance(last, Text) and '"ham" is missing' in last.text


async def test_with_labels_a_hopeless_plan_is_made_up_for_and_said_so() -> None:
    notes: list[str] = []
    plan = await make_plan(TASK, Asking("?", a_plan(a_class("spam"))), notes)
    assert plan.names == ("Spam", "ham")
    assert plan.named("Spam").situations == ("one", "two", "three")
    assert "ham" in plan.named("ham").definition
    assert "could not be used" in notes[0]


async def test_without_labels_a_hopeless_plan_is_an_error_that_helps() -> None:
    with pytest.raises(DistillError, match="--labels"):
        await make_plan(Task(words="Sort mail"), Asking("?", "?"), [])
    with pytest.raises(DistillError, match="--labels"):
        fallback_plan(Task(words="x"), None)


async def test_no_money_for_a_plan_is_said() -> None:
    asking = Asking(None)
    asking.stopped = "the cost cap of $0.01"
    with pytest.raises(DistillError, match="leaves nothing for the plan"):
        await make_plan(TASK, asking, [])


def test_an_other_class_is_asked_for_and_wanted() -> None:
    task = Task(words="Sort mail", labels=("spam", "ham"), other=True)
    _, faults = read_plan(a_plan(), task)
    assert any('"other" is missing' in each for each in faults)
    assert fallback_plan(task, None).names == ("spam", "ham", "other")
    part = plan_chat(task).messages[0].parts[0]
    assert isinstance(part, Text) and '"other"' in part.text


def test_hostile_values_are_bounded() -> None:
    many = [
        a_class(f"c{number}", situations=[f"{at}" for at in range(60)]) for number in range(300)
    ]
    plan, faults = read_plan(a_plan(*many), Task(words="x"))
    assert plan is not None and len(plan.classes) == 200
    assert all(len(each.situations) <= 40 for each in plan.classes)
    plan, faults = read_plan(json.dumps({"classes": [1, None, {"name": 3}, {"name": " "}]}), TASK)
    assert plan is not None and plan.classes == () and faults
