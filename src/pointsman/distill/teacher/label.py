"""Blind labels: the teacher sorts texts without knowing what they were written as.

Several texts a question, in an order of their own, the classes shuffled anew and named by codes, so
that neither the order nor the names of classes pull at the answer. Where an answer carries the
probabilities of its tokens, those of each code become the text's soft labels.
"""

from __future__ import annotations

import math
import random
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.distill.teacher.asking import Answer, Question
from pointsman.distill.teacher.parse import labels_of
from pointsman.distill.teacher.plan import Plan, Task
from pointsman.distill.teacher.prompts import fill
from pointsman.types import Chat, Message, ResponseFormat, Text, TokenLogprob

__all__ = [
    "BlindLabel",
    "LabelQuestion",
    "codes_of",
    "label_question",
    "read_labels",
    "soft_labels",
]

TEXTS_PER_QUESTION = 16
MAX_QUESTION_CHARS = 24_000
MAX_SHOWN_CHARS = 6_000
TOKENS_PER_TEXT = 24
TOKENS_BASE = 3_000
TOP_LOGPROBS = 8
_CODE_IN_ANSWER = re.compile(r'"id"\s*:\s*(\d+)\s*,\s*"code"\s*:\s*"([^"]+)"')


class BlindLabel(Struct, frozen=True):
    """What the teacher says of a text; `soft` are probabilities that sum to 1."""

    labels: tuple[str, ...]
    soft: dict[str, float] | None = None


class LabelQuestion(Struct, frozen=True):
    """A question about texts: `ids` are positions in the caller's list, in the order asked."""

    question: Question
    ids: dict[int, int]
    codes: dict[str, str]


def codes_of(names: Sequence[str], chooser: random.Random) -> dict[str, str]:
    """Give a code for each class, shuffled: letters for up to 26, else numbers."""
    shuffled = list(names)
    chooser.shuffle(shuffled)
    if len(names) <= len(string.ascii_uppercase):
        return dict(zip(string.ascii_uppercase, shuffled, strict=False))
    return {str(number): name for number, name in enumerate(shuffled, 1)}


def chunks_of(texts: Sequence[str], per_question: int = TEXTS_PER_QUESTION) -> list[list[int]]:
    """Divide texts into questions, by number and by size; gives positions."""
    found: list[list[int]] = []
    size = 0
    for at, text in enumerate(texts):
        chars = min(len(text), MAX_SHOWN_CHARS)
        if not found or len(found[-1]) >= per_question or size + chars > MAX_QUESTION_CHARS:
            found.append([])
            size = 0
        found[-1].append(at)
        size += chars
    return found


def label_question(
    texts: Mapping[int, str],
    task: Task,
    plan: Plan,
    *,
    stage: str,
    index: int,
    seed: int,
    logprobs: bool,
) -> LabelQuestion:
    """Give the question for some texts, each under its position."""
    chooser = random.Random(f"{seed}/{stage}/{index}")  # noqa: S311  # an order, no secret
    codes = codes_of(plan.names, chooser)
    order = list(texts)
    chooser.shuffle(order)
    ids = dict(enumerate(order, 1))
    shown = "\n".join(
        msgspec.json.encode({"id": number, "text": _shown(texts[at])}).decode()
        for number, at in ids.items()
    )
    classes = "\n".join(
        f"{code}: {name} ({plan.named(name).definition})" for code, name in codes.items()
    )
    values = {"task": task.words, "classes": classes, "texts": shown}
    prompt = fill("label_many" if task.multi else "label", values)
    soft = logprobs and not task.multi
    chat = Chat(
        model="",
        messages=(Message("user", (Text(prompt),)),),
        response_format=_format(codes, task.multi),
        max_tokens=TOKENS_BASE + TOKENS_PER_TEXT * len(ids) * (3 if task.multi else 1),
        logprobs=True if soft else None,
        top_logprobs=TOP_LOGPROBS if soft else None,
    )
    return LabelQuestion(Question(stage=stage, index=index, chat=chat), ids, codes)


def read_labels(asked: LabelQuestion, answer: Answer) -> dict[int, BlindLabel]:
    """Give the labels by position; a text that the answer leaves out, or mangles, is left out."""
    found = labels_of(answer.text, asked.ids, asked.codes)
    soft = soft_labels(answer, asked.codes) if answer.logprobs else {}
    return {
        asked.ids[number]: BlindLabel(labels, _agreeing(soft.get(number), labels))
        for number, labels in found.items()
    }


def soft_labels(answer: Answer, codes: Mapping[str, str]) -> dict[int, dict[str, float]]:
    """Give each id's probabilities of the labels, where its code is one token of the answer."""
    tokens = answer.logprobs or ()
    starts: list[int] = []
    at = 0
    for token in tokens:
        starts.append(at)
        at += len(token.token)
    whole = "".join(token.token for token in tokens)
    found: dict[int, dict[str, float]] = {}
    for match in _CODE_IN_ANSWER.finditer(whole):
        number, code = int(match[1]), match[2]
        holder = _covering(tokens, starts, match.start(2), match.end(2))
        if holder is None or code not in codes:
            continue
        weights: dict[str, float] = {}
        for each in (holder, *holder.top):
            name = codes.get(each.token.strip(' "'))
            if name is not None and each.logprob <= 0:
                weights[name] = max(weights.get(name, 0.0), math.exp(each.logprob))
        total = sum(weights.values())
        if total > 0.5:  # Below, most of the probability is on what is no code: it says little.
            found[number] = {name: weight / total for name, weight in weights.items()}
    return found


def _agreeing(soft: dict[str, float] | None, labels: tuple[str, ...]) -> dict[str, float] | None:
    return soft if soft and labels and labels[0] in soft else None


def _covering(
    tokens: Sequence[TokenLogprob], starts: Sequence[int], begin: int, end: int
) -> TokenLogprob | None:
    """The token that holds the whole of a span and, marks aside, nothing else."""
    for token, start in zip(tokens, starts, strict=True):
        if start <= begin and end <= start + len(token.token):
            bare = token.token.strip(' "')
            return token if len(bare) == end - begin else None
    return None


def _format(codes: Mapping[str, str], multi: bool) -> ResponseFormat:
    code: dict[str, Any] = {"type": "string", "enum": list(codes)}
    value = {"codes": {"type": "array", "items": code}} if multi else {"code": code}
    item = {
        "type": "object",
        "properties": {"id": {"type": "integer"}, **value},
        "required": ["id", *value],
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {"labels": {"type": "array", "items": item}},
        "required": ["labels"],
        "additionalProperties": False,
    }
    return ResponseFormat("json_schema", schema, "labels", strict=True)


def _shown(text: str) -> str:
    """The beginning and the end of a text that is too long to show."""
    if len(text) <= MAX_SHOWN_CHARS:
        return text
    half = MAX_SHOWN_CHARS // 2
    return f"{text[:half]} … {text[-half:]}"
