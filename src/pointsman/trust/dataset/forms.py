"""Prompts and answers out of records, in the forms that fine-tuning sets have.

Sources: Alpaca (instruction, input, output); OpenAI fine-tuning (messages of role and content, parts of
type text included; prompt and completion); ShareGPT (conversations of from and value); preference
sets (prompt, chosen). A single text is cut at the marks of common prompt templates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.trust.dataset.records import Record
from pointsman.trust.dataset.rows import Row

__all__ = ["FORMS", "row_of"]

# Name of the form → (columns of the prompt, of which one at least is there; columns of the answer).
FORMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "instruction": (
        ("system", "instruction", "input", "context"),
        ("output", "response", "answer"),
    ),
    "prompt": (
        ("system", "prompt", "input"),
        ("completion", "response", "output", "answer", "chosen"),
    ),
    "question": (("context", "question"), ("answer", "response", "output")),
    "query": (("query", "inputs", "input"), ("response", "answer", "targets", "output")),
    "text": (("text",), ("label", "labels")),
}
_LISTS = ("messages", "conversations", "conversation")
_ANSWERS = frozenset(("assistant", "gpt", "model", "bot", "chatgpt", "bing", "bard"))
# Where an answer begins in a text that holds the whole exchange, and where it ends.
_MARKS = re.compile(
    r"(?:^|\n)\s*(?:###\s*(?:Response|Assistant|Output|Answer)\s*:?|(?:Assistant|ASSISTANT|Bot|GPT)\s*:)"
    r"|<\|im_start\|>assistant\s*\n?|<\|assistant\|>|\[/INST\]"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>|<start_of_turn>model\s*\n?"
)
_ENDS = re.compile(
    r"<\|im_end\|>|<\|eot_id\|>|<\|end\|>|<end_of_turn>|</s>|<\|endoftext\|>|\[INST\]"
    r"|\n\s*###\s|\n\s*(?:Human|User|USER)\s*:"
)
_PROMPT_MARKS = re.compile(
    r"(?:^|\n)\s*###\s*(?:Instruction|Input|Human|User|Question)\s*:?|<\|im_start\|>\w+\s*\n?"
    r"|<\|(?:user|system)\|>|<s>|\[INST\]|<<SYS>>|<</SYS>>"
    r"|<\|(?:begin_of_text|eot_id|im_end)\|>|<\|start_header_id\|>\w+<\|end_header_id\|>"
    r"|<start_of_turn>user\s*\n?|<end_of_turn>|(?:^|\n)\s*(?:Human|User|USER)\s*:"
)
MAX_SEGMENTS = 64
# A prompt is looked at to this length: its head, and a quarter of it from its end.
MAX_PROMPT_CHARS = 32 * 1024


def row_of(record: Record, index: int, line: int, used: Counter[str]) -> Row | None:
    """Give the row of a record, or None if it has no form that is known.

    `used` counts the forms. A record whose answer is missing or null gives a row without one.
    """
    lower = {key.strip().lower(): value for key, value in record.items()}
    found = _of_turns(lower, used) or _of_columns(lower, used)
    if found is None:
        return None
    segments, response = found
    name = lower.get("id")
    return Row(
        index=index,
        line=line,
        segments=tuple(_cut(each) for each in segments if each)[:MAX_SEGMENTS],
        response=response,
        name=str(name)[:100] if isinstance(name, str | int) and str(name) else None,
    )


Found = tuple[list[str], str | None]


def _of_turns(record: Mapping[str, Any], used: Counter[str]) -> Found | None:
    for name in _LISTS:
        turns = record.get(name)
        if isinstance(turns, list) and all(isinstance(turn, dict) for turn in turns):
            used[name] += 1
            return _turns(turns)
    return None


def _turns(turns: Sequence[Mapping[str, Any]]) -> Found:
    """All that is asked before the last answer, and that answer."""
    said = [(_role(turn), _content(turn)) for turn in turns]
    last = max((at for at, (role, _) in enumerate(said) if role in _ANSWERS), default=None)
    asked = [text for role, text in said[:last] if role not in _ANSWERS and text]
    if last is None:
        return asked, None
    return asked, said[last][1]


def _role(turn: Mapping[str, Any]) -> str:
    role = turn.get("role", turn.get("from"))
    return role.lower() if isinstance(role, str) else ""


def _content(turn: Mapping[str, Any]) -> str:
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _of_columns(record: Mapping[str, Any], used: Counter[str]) -> Found | None:
    for form, (asks, answers) in FORMS.items():
        if form not in record and not (form == "query" and "inputs" in record):
            continue
        name = next((each for each in answers if each in record), None)
        if name is None:
            continue
        used[f"{form}/{name}"] += 1
        segments = [_text(record[each]) or "" for each in asks if each in record and each != name]
        return segments, _answer(record[name])
    text = record.get("text")
    if isinstance(text, str) and (found := _of_marks(text)) is not None:
        used["text with marks"] += 1
        return found
    return None


def _answer(value: Any) -> str | None:
    if isinstance(value, list):
        if value and all(isinstance(each, dict) for each in value):
            return _turns(value)[1]
        return ", ".join(text for each in value if (text := _text(each)))
    return _text(value)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return "\n".join(_content(turn) for turn in value)
    return value if isinstance(value, str) else None


def _of_marks(text: str) -> Found | None:
    marks = list(_MARKS.finditer(text))
    if not marks:
        return None
    last = marks[-1]
    prompt, answer = text[: last.start()], text[last.end() :]
    if (end := _ENDS.search(answer)) is not None:
        answer = answer[: end.start()]
    return [part.strip() for part in _PROMPT_MARKS.split(prompt) if part.strip()], answer.strip()


def _cut(text: str) -> str:
    if len(text) <= MAX_PROMPT_CHARS:
        return text
    tail = MAX_PROMPT_CHARS // 4
    return f"{text[: MAX_PROMPT_CHARS - tail]} {text[-tail:]}"
