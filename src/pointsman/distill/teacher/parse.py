"""Reads what a teacher wrote, whatever it is: JSON, broken JSON, a list in prose, a refusal.

Nothing is taken on trust: answers are bounded, each row is checked, and what is turned away is
named by its reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

__all__ = ["FAULT_REASONS", "Parsed", "fault_of_text", "first_object", "labels_of", "rows_of"]

MAX_ANSWER_CHARS = 400_000
MAX_TEXT_CHARS = 20_000
MAX_OBJECTS = 5_000
# What can be wrong with an answer as a whole, or with a row of it.
FAULT_REASONS = (
    "refusal",
    "no rows",
    "cut",
    "broken JSON",
    "unknown id",
    "empty",
    "too long",
    "placeholder",
    "comment",
    "brief repeated",
)
_DECODER = json.JSONDecoder(strict=False)
_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*|\s*```\s*$")
_NUMBERED = re.compile(
    r"^\s*(?:[-*]\s*)?(?:id\s*)?[\"'(\[]?(\d{1,4})[\"')\]]?\s*[.):=-]\s*(.+?)\s*$"
)
_REFUSAL = re.compile(
    r"\b(?:i(?:'|’)?m sorry|i am sorry|i apologi[sz]e|i can(?:'|’)?t|i cannot|i(?:'|’)?m (?:not able|unable)"
    r"|i am (?:not able|unable)|i won(?:'|’)?t|as an ai|unable to (?:assist|help|comply)"
    r"|can(?:'|’)?t (?:assist|help) with)\b",
    re.IGNORECASE,
)
_ROW_REFUSAL = re.compile(
    r"\bas an ai (?:language )?model\b"
    r"|\b(?:can(?:'|’)?t|cannot|unable to|not able to) (?:assist|comply|fulfil+)\b[^.]{0,20}\brequest",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"\[(?:(?:your|the|insert|customer|company|product|my)[ _][^\]\n]{1,30}"
    r"|(?:[a-z]+[ _-])?(?:name|number|id|date|address|company|product|email))\]"
    r"|<(?:name|number|date|insert[^>\n]*)>|\{\{\s*\w+\s*\}\}|\bX{4,}\b|\blorem ipsum\b",
    re.IGNORECASE,
)
_COMMENT = re.compile(
    r"^\s*(?:(?:sure[,!.]? )?here (?:is|are) "
    r"(?:a|an|the|your|some|two|three|five|ten|several|\d+)\b[^.\n]*"
    r"\b(?:text|example|message|brief|row)s?\b|text \d+:|example \d+:|brief \d+)",
    re.IGNORECASE,
)


class Parsed(Struct, frozen=True):
    """The rows of an answer by id, and why the others are missing: a reason and how many."""

    rows: dict[int, str]
    faults: dict[str, int]


def first_object(text: str) -> dict[str, Any] | None:
    """Give the first JSON object in a text that holds anything, fences and prose around it aside."""
    for value in _values(text):
        if isinstance(value, dict) and value:
            return value
    return None


def rows_of(text: str, ids: Collection[int], *, cut: bool = False, refused: bool = False) -> Parsed:
    """Read the texts of an answer that was asked for rows with these ids.

    `cut` says that the answer hit its limit: the row at its end is then left out and counted.
    """
    faults: dict[str, int] = {}
    found = dict(_texts(text, ids, faults))
    rows: dict[int, str] = {}
    for number, value in found.items():
        fault = fault_of_text(value)
        if fault is None:
            rows[number] = value.strip()
        else:
            faults[fault] = faults.get(fault, 0) + 1
    missing = len(ids) - len(found) - faults.get("unknown id", 0)
    if missing > 0:
        reason = _why_missing(text, bool(found), cut, refused)
        faults[reason] = faults.get(reason, 0) + missing
    return Parsed(rows, faults)


def fault_of_text(text: str) -> str | None:
    """Why a text cannot be a row; None if it can."""
    plain = text.strip()
    if not plain or not any(char.isalnum() or ord(char) > 0x2000 for char in plain):
        return "empty"
    if len(plain) > MAX_TEXT_CHARS:
        return "too long"
    if _PLACEHOLDER.search(plain):
        return "placeholder"
    if _COMMENT.search(plain):
        return "comment"
    if plain.startswith("{") and '"situation"' in plain:
        return "brief repeated"
    return "refusal" if _ROW_REFUSAL.search(plain[:400]) else None


def labels_of(
    text: str, ids: Collection[int], codes: Mapping[str, str]
) -> dict[int, tuple[str, ...]]:
    """Read the labels that an answer gives to texts; `codes` maps the codes asked for to labels.

    A text with a code that does not exist is left out, as is one that is not asked for.
    """
    found: dict[int, tuple[str, ...]] = {}
    names = {code.casefold(): name for code, name in codes.items()}
    names |= {name.casefold(): name for name in codes.values() if name.casefold() not in names}
    for item in _items(text, "labels"):
        number = _number(item.get("id"))
        given = item.get("codes", item.get("code", item.get("label", item.get("labels"))))
        listed = given if isinstance(given, list) else [given]
        if number not in ids or number in found or number is None:
            continue
        read = [names.get(str(each).strip().casefold()) for each in listed]
        if all(each is not None for each in read):
            found[number] = tuple(dict.fromkeys(each for each in read if each is not None))
    if not found:
        for number, rest in _numbered(text):
            name = names.get(rest.strip(" \"'.,`*").casefold())
            if number in ids and name is not None:
                found.setdefault(number, (name,))
    return found


def _texts(text: str, ids: Collection[int], faults: dict[str, int]) -> Iterator[tuple[int, str]]:
    seen: set[int] = set()
    items = list(_items(text, "rows"))
    for at, item in enumerate(items):
        value = item.get("text")
        if not isinstance(value, str):
            continue
        number = _number(item.get("id"))
        if number is None and len(items) == len(ids):
            number = sorted(ids)[at]  # No ids at all, but one row for each brief, in order.
        if number in ids and number not in seen and number is not None:
            seen.add(number)
            yield number, value
        else:
            faults["unknown id"] = faults.get("unknown id", 0) + 1
    if not items:
        for number, rest in _numbered(text):
            if number in ids and number not in seen:
                seen.add(number)
                yield number, rest.strip('"“”')


def _why_missing(
    text: str, any_found: bool, cut: bool, refused: bool
) -> Literal["refusal", "cut", "no rows", "broken JSON"]:
    if cut:
        return "cut"
    if refused or (not any_found and len(text) < 2_000 and _REFUSAL.search(text)):
        return "refusal"
    return "broken JSON" if "{" in text else "no rows"


def _items(text: str, name: str) -> Iterator[dict[str, Any]]:
    """The objects of the list that was asked for; of a broken answer those that are whole."""
    for value in _values(text):
        if isinstance(value, dict) and isinstance(value.get(name), list):
            yield from (each for each in value[name] if isinstance(each, dict))
            return
        if isinstance(value, list):
            yield from (each for each in value if isinstance(each, dict))
            return
        if isinstance(value, dict) and "id" in value:
            yield value


def _values(text: str) -> Iterator[Any]:
    """The JSON values in a text, outermost first; what is broken is searched for whole parts."""
    text = text[:MAX_ANSWER_CHARS]
    bare = _FENCE.sub("", text)
    try:
        yield json.loads(bare, strict=False)
        return
    except (ValueError, RecursionError):
        pass
    at = count = 0
    while count < MAX_OBJECTS:
        starts = [spot for spot in (text.find("{", at), text.find("[", at)) if spot >= 0]
        if not starts:
            return
        at = min(starts)
        try:
            value, at = _DECODER.raw_decode(text, at)
        except RecursionError:
            return  # Nested beyond all sense: nothing in there is an answer.
        except ValueError:
            at += 1
            count += 1
            continue
        if isinstance(value, dict) or (
            isinstance(value, list) and value and isinstance(value[0], dict)
        ):
            yield value
        count += 1


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    for line in text[:MAX_ANSWER_CHARS].splitlines():
        match = _NUMBERED.match(line)
        if match:
            yield int(match[1]), match[2]


def _number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        return int(value)
    return None
