"""The plan: what the classes are and what varies between texts. The user may edit it.

Asked of the teacher as JSON, checked, and asked once more with its faults named. What a plan may
lack (registers, lengths and the like) has values of our own; what makes it a plan of this task (the
classes and their definitions) has not, unless the user gave the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from pointsman.distill.teacher.parse import first_object
from pointsman.distill.teacher.prompts import fill
from pointsman.errors import DistillError
from pointsman.types import Chat, Message, ResponseFormat, Text

__all__ = [
    "OTHER",
    "Brief",
    "Plan",
    "PlannedClass",
    "Task",
    "fallback_plan",
    "faults_of",
    "plan_chat",
    "read_plan",
    "repair_chat",
]

OTHER = "other"
MAX_CLASSES = 200
MAX_NAME_CHARS = 80
MAX_TOKENS = 12_000
ATTRIBUTES = ("writers", "registers", "lengths", "forms", "noises", "dialects")
_DEFAULTS: dict[str, tuple[str, ...]] = {
    "writers": (
        "a customer in a hurry",
        "a careful older person",
        "a teenager on a phone",
        "a colleague who knows the matter",
        "a newcomer who lacks the right words",
        "someone annoyed",
    ),
    "registers": ("plain", "polite", "informal", "formal", "emotional"),
    "lengths": ("2 to 5 words", "6 to 12 words", "13 to 30 words", "30 to 60 words"),
    "forms": ("a question", "a statement", "a request", "a fragment of a sentence"),
    "noises": ("clean", "typing errors", "all lower case", "no punctuation", "an emoji or two"),
    "dialects": ("the standard variety", "an everyday regional variety"),
}


class Task(Struct, frozen=True, kw_only=True):
    """What the user wants: the task in words, and what of the classes is fixed.

    `examples` are real texts that show the style; `languages` are BCP 47 tags, empty for whatever
    the task is written in.
    """

    words: str
    labels: tuple[str, ...] = ()
    multi: bool = False
    other: bool = False
    languages: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


class PlannedClass(Struct, frozen=True, kw_only=True):
    """A class: what it holds, what its texts are about, and what is easily taken for another."""

    name: str
    definition: str
    situations: tuple[str, ...] = ()
    edge_cases: tuple[str, ...] = ()


class Plan(Struct, frozen=True, kw_only=True):
    """What is going to be written: the classes, and the values of each attribute of a text."""

    classes: tuple[PlannedClass, ...]
    writers: tuple[str, ...] = _DEFAULTS["writers"]
    registers: tuple[str, ...] = _DEFAULTS["registers"]
    lengths: tuple[str, ...] = _DEFAULTS["lengths"]
    forms: tuple[str, ...] = _DEFAULTS["forms"]
    noises: tuple[str, ...] = _DEFAULTS["noises"]
    dialects: tuple[str, ...] = _DEFAULTS["dialects"]
    languages: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes, in order."""
        return tuple(each.name for each in self.classes)

    def named(self, name: str) -> PlannedClass:
        """The class of that name."""
        return next(each for each in self.classes if each.name == name)


class Brief(Struct, frozen=True, kw_only=True):
    """What one text is to be: its labels and its attributes."""

    labels: tuple[str, ...]
    attributes: dict[str, str] = field(default_factory=dict)


def _strings(count: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "description": count}


_CLASS = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "definition": {"type": "string"},
        "situations": _strings("8 to 14"),
        "edge_cases": _strings("3 to 6"),
    },
    "required": ["name", "definition", "situations", "edge_cases"],
    "additionalProperties": False,
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "classes": {"type": "array", "items": _CLASS},
        **{name: _strings("4 to 8") for name in ATTRIBUTES},
    },
    "required": ["classes", *ATTRIBUTES],
    "additionalProperties": False,
}
PLAN_FORMAT = ResponseFormat("json_schema", _SCHEMA, "plan", strict=True)


def plan_chat(task: Task) -> Chat:
    """Give the question for a plan."""
    labels = ""
    if task.labels:
        labels = "The classes are fixed, with these names: " + ", ".join(task.labels) + "."
    kind = (
        "A text may belong to several of the classes, or to none."
        if task.multi
        else "A text belongs to exactly one class."
    )
    if task.other and not task.multi:
        kind += (
            f' The last class is "{OTHER}": texts of the same place that fit no other class, and a'
            " few that have nothing to do with it."
        )
    languages = ""
    if task.languages:
        languages = "Languages of the texts (BCP 47): " + ", ".join(task.languages) + "."
    examples = ""
    if task.examples:
        shown = "\n".join(msgspec.json.encode(text).decode() for text in task.examples)
        examples = f"Real texts that show what it is about and how people write:\n{shown}"
    values = {
        "task": task.words,
        "labels": labels,
        "kind": kind,
        "languages": languages,
        "examples": examples,
    }
    return _chat((Message("user", (Text(fill("plan", values)),)),))


def repair_chat(asked: Chat, answer: str, faults: Sequence[str]) -> Chat:
    """Give the question that asks for a broken plan once more."""
    listed = "\n".join(f"- {fault}" for fault in faults)
    turns = (
        Message("assistant", (Text(answer[:40_000] or "(nothing)"),)),
        Message("user", (Text(fill("plan_repair", {"faults": listed})),)),
    )
    return _chat((*asked.messages, *turns))


def _chat(messages: tuple[Message, ...]) -> Chat:
    return Chat(model="", messages=messages, response_format=PLAN_FORMAT, max_tokens=MAX_TOKENS)


def read_plan(text: str, task: Task) -> tuple[Plan | None, list[str]]:
    """Read a teacher's plan, or the user's own; gives it and what is wrong with it.

    Attributes that are missing or too few are ours. The plan is None where nothing can be made of
    the text.
    """
    found = first_object(text)
    if found is None:
        return None, ["it is no JSON object"]
    classes = found.get("classes")
    if not isinstance(classes, list):
        return None, ['it has no list "classes"']
    read = [_class(each) for each in classes[:MAX_CLASSES]]
    fields: dict[str, Any] = {}
    for name in ATTRIBUTES:
        values = _texts(found.get(name))
        if len(values) >= 2:
            fields[name] = values
    languages = _texts(found.get("languages")) or task.languages
    plan = Plan(classes=tuple(each for each in read if each), languages=languages, **fields)
    plan = _with_given_names(plan, task)
    return plan, faults_of(plan, task)


def faults_of(plan: Plan, task: Task) -> list[str]:
    """Give what is wrong with a plan, each as a sentence to its writer."""
    faults = []
    names = [name.casefold() for name in plan.names]
    if len(set(names)) < len(names):
        faults.append("two classes have the same name")
    if len(names) < (1 if task.multi else 2):
        faults.append("there are fewer than two classes")
    if len(names) > MAX_CLASSES:
        faults.append(f"there are more than {MAX_CLASSES} classes")
    for label in _wanted(task):
        if label.casefold() not in names:
            faults.append(f'the class "{label}" is missing')
    if task.labels:
        given = {label.casefold() for label in _wanted(task)}
        faults += [
            f'there is no class "{name}": leave it out'
            for name in plan.names
            if name.casefold() not in given
        ]
    elif task.other and not task.multi and OTHER not in names:
        faults.append(f'the class "{OTHER}" is missing')
    for each in plan.classes:
        if len(each.name) > MAX_NAME_CHARS:
            faults.append(f'the name "{each.name[:30]}…" is over {MAX_NAME_CHARS} characters')
        if len(each.definition) < 8:
            faults.append(f'the class "{each.name}" has no definition')
        if len(each.situations) < 3:
            faults.append(f'the class "{each.name}" has fewer than 3 situations')
    return faults


def fallback_plan(task: Task, broken: Plan | None) -> Plan:
    """Give a plan for labels that the user named, with whatever of a broken one is of use.

    Raises:
        DistillError: the labels are not known, so that there is nothing to build on.
    """
    if not task.labels:
        raise DistillError(
            "the teacher gave no plan that can be used: name the classes with --labels, take a"
            " stronger teacher, or write plan.json yourself (docs/distill.md shows one)"
        )
    known = {each.name.casefold(): each for each in (broken.classes if broken else ())}
    classes = []
    for label in _wanted(task):
        each = known.get(label.casefold())
        definition = each.definition if each and len(each.definition) >= 8 else _plain(label, task)
        situations = each.situations if each else ()
        edges = each.edge_cases if each else ()
        classes.append(
            PlannedClass(name=label, definition=definition, situations=situations, edge_cases=edges)
        )
    plan = broken or Plan(classes=())
    return msgspec.structs.replace(
        plan, classes=tuple(classes), languages=plan.languages or task.languages
    )


def _plain(label: str, task: Task) -> str:
    if label == OTHER and task.other:
        return "Anything that fits none of the other classes."
    return f'Texts that belong to "{label}".'


def _wanted(task: Task) -> tuple[str, ...]:
    if task.labels and task.other and not task.multi and OTHER not in task.labels:
        return (*task.labels, OTHER)
    return task.labels


def _with_given_names(plan: Plan, task: Task) -> Plan:
    """Spell the names as the user did."""
    given = {label.casefold(): label for label in _wanted(task)}
    classes = tuple(
        msgspec.structs.replace(each, name=given.get(each.name.casefold(), each.name))
        for each in plan.classes
    )
    return msgspec.structs.replace(plan, classes=classes)


def _class(value: object) -> PlannedClass | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    name = value["name"].strip()
    definition = value.get("definition")
    if not name:
        return None
    return PlannedClass(
        name=name,
        definition=definition.strip() if isinstance(definition, str) else "",
        situations=_texts(value.get("situations")),
        edge_cases=_texts(value.get("edge_cases")),
    )


def _texts(value: object, most: int = 40) -> tuple[str, ...]:
    """The distinct texts of a list, each of sensible length."""
    rows = value if isinstance(value, list) else []
    found = [" ".join(each.split())[:300] for each in rows if isinstance(each, str)]
    return tuple(dict.fromkeys(each for each in found if each))[:most]
