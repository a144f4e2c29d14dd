"""A function call whose arguments come in pieces, each a value at a JSON path.

Only Vertex AI sends them, and only where `streamFunctionCallArguments` asks for it: a call with its
name and `willContinue`, then nameless ones with `partialArgs`, and last an empty one. Strings may
themselves come in pieces.

Source: the types of the official client, google-genai 2.34 (`types.py`: FunctionCall, PartialArg),
google.cloud.aiplatform.v1.FunctionCall (googleapis), RFC 9535 for the paths, and the order of the
pieces as vercel/ai pull request 13929 records it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from pointsman.dialects._shared import arguments_object, arguments_text
from pointsman.errors import RequestError
from pointsman.types import Signature, ToolCall

__all__ = ["GrowingCall", "is_partial"]

MAX_STEPS = 64
_STEP = re.compile(
    r"""\.([^.\[\]]+)|\[(\d{1,9})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]"""
)
_ESCAPE = re.compile(r"\\(.)")
_VALUES = ("numberValue", "boolValue", "structValue", "listValue")


def is_partial(call: Mapping[str, Any]) -> bool:
    """Whether the call, or a part of it, comes in pieces."""
    return call.get("willContinue") is True or bool(call.get("partialArgs"))


class GrowingCall:
    """A call that gathers its arguments. Nothing of it is shown before it is whole."""

    def __init__(self, first: ToolCall) -> None:
        self._first = first
        self._signature = first.signature
        self._arguments = arguments_object(first.arguments, "args")
        # A string that goes on is kept in pieces, so that a long one costs no more than its length.
        self._open: tuple[str, Any, str | int, list[str]] | None = None

    @property
    def id(self) -> str:
        """The call's id."""
        return self._first.id

    def feed(self, call: Mapping[str, Any], signature: Signature | None) -> None:
        """Take a piece in.

        Raises:
            RequestError: a path that leads nowhere, or skips a place in a list.
        """
        self._signature = self._signature or signature
        pieces = call.get("partialArgs")
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, Mapping):
                self._put(piece)

    def part(self) -> ToolCall:
        """Give the call as far as it has come."""
        self._close()
        return ToolCall(
            self._first.id, self._first.name, arguments_text(self._arguments), self._signature
        )

    def _put(self, piece: Mapping[str, Any]) -> None:
        path, text = piece.get("jsonPath"), piece.get("stringValue")
        if not isinstance(path, str):
            raise RequestError("a piece of a call's arguments has no path")
        if self._open is not None and self._open[0] == path and isinstance(text, str):
            self._open[3].append(text)
            return
        self._close()
        if isinstance(text, str):
            place, key = self._place(path)
            before = _get(place, key)
            self._open = (path, place, key, [before, text] if isinstance(before, str) else [text])
            _set(place, key, text)
        elif "nullValue" in piece:
            _set(*self._place(path), None)
        else:
            name = next((each for each in _VALUES if piece.get(each) is not None), None)
            if name is not None:
                _set(*self._place(path), piece[name])

    def _close(self) -> None:
        if self._open is not None:
            _, place, key, pieces = self._open
            _set(place, key, "".join(pieces))
            self._open = None

    def _place(self, path: str) -> tuple[Any, str | int]:
        """The object or list that the path's last step is in, made where it lacks, and that step."""
        steps = _steps(path)
        place: Any = self._arguments
        for step, following in pairwise(steps):
            inner = _get(place, step)
            if inner is None:
                inner = [] if isinstance(following, int) else {}
                _set(place, step, inner)
            place = inner
        return place, steps[-1]


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    end = 1
    while path.startswith("$") and end < len(path) and len(steps) < MAX_STEPS:
        match = _STEP.match(path, end)
        if match is None:
            break
        name, index, *quoted = match.groups()
        if index is not None:
            steps.append(int(index))
        else:
            steps.append(name or _ESCAPE.sub(r"\1", next(q for q in quoted if q is not None)))
        end = match.end()
    if not steps or end != len(path):
        raise RequestError("the path of a call's argument cannot be read")
    return steps


def _get(place: Any, key: str | int) -> Any:
    if isinstance(place, dict) and isinstance(key, str):
        return place.get(key)
    if isinstance(place, list) and isinstance(key, int):
        return place[key] if key < len(place) else None
    raise RequestError("the path of a call's argument leads into another value")


def _set(place: Any, key: str | int, value: Any) -> None:
    if isinstance(place, dict) and isinstance(key, str):
        place[key] = value
    elif isinstance(place, list) and isinstance(key, int) and key <= len(place):
        place[key : key + 1] = [value]
    else:
        raise RequestError("the path of a call's argument leads nowhere")
