"""Cuts a Jinja template into text, comments and the tokens of its tags.

Source: Jinja 3.1, src/jinja2/lexer.py: default delimiters, no line statements.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pointsman.trust.formats.context import Fault

__all__ = ["MAX_TOKENS", "Piece", "Token", "lex"]

MAX_TOKENS = 200_000
_OPEN = re.compile(r"\{\{|\{%|\{#")
_RAW = re.compile(r"\{%[-+]?\s*raw\s*-?%\}")
_END_RAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<float>\d[\d_]*(?:\.\d[\d_]*(?:[eE][+-]?\d[\d_]*)?|[eE][+-]?\d[\d_]*))
    |(?P<int>0[bB][01_]+|0[oO][0-7_]+|0[xX][\da-fA-F_]+|\d[\d_]*)
    |(?P<name>[^\W\d]\w*)
    |(?P<string>'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")
    |(?P<op>//|\*\*|==|!=|>=|<=|[-+*/%~\[\](){}.:|,;=<>])""",
    re.X | re.S,
)


class Token(NamedTuple):
    """`kind` is name, string, int, float or op; `text` is as written."""

    kind: str
    text: str
    at: int


class Piece(NamedTuple):
    """`kind` is text, comment, print ({{ }}) or block ({% %}); `at` is its first letter's index."""

    kind: str
    text: str
    at: int
    tokens: tuple[Token, ...] = ()


def lex(source: str) -> list[Piece]:
    """Give the pieces of a template in order.

    Raises:
        Fault: a tag is not closed, or holds what is no token; the offset is the letter's index.
    """
    pieces: list[Piece] = []
    at = count = 0
    while at < len(source):
        match = _OPEN.search(source, at)
        if match is None:
            pieces.append(Piece("text", source[at:], at))
            break
        start = match.start()
        if start > at:
            pieces.append(Piece("text", source[at:start], at))
        raw = _RAW.match(source, start)
        if raw:
            end = _END_RAW.search(source, raw.end())
            if end is None:
                raise Fault("a raw block is not closed", start)
            pieces.append(Piece("text", source[raw.end() : end.start()], raw.end()))
            at = end.end()
        elif match[0] == "{#":
            close = source.find("#}", start + 2)
            if close < 0:
                raise Fault("a comment is not closed", start)
            pieces.append(Piece("comment", source[start + 2 : close], start + 2))
            at = close + 2
        else:
            tokens, at = _tag(source, start, "}}" if match[0] == "{{" else "%}")
            count += len(tokens)
            if count > MAX_TOKENS:
                raise Fault(f"it has over {MAX_TOKENS} tokens", start)
            kind = "print" if match[0] == "{{" else "block"
            pieces.append(Piece(kind, source[start:at], start, tuple(tokens)))
    return pieces


def _tag(source: str, start: int, close: str) -> tuple[list[Token], int]:
    at = start + 2
    if source[at : at + 1] in ("-", "+"):
        at += 1
    tokens: list[Token] = []
    nesting = 0
    while at < len(source):
        # An open brace of a dict keeps `}}` from closing the tag.
        if nesting == 0:
            for end in (close, "-" + close, "+" + close):
                if source.startswith(end, at):
                    return tokens, at + len(end)
        match = _TOKEN.match(source, at)
        if match is None or match.lastgroup is None:
            raise Fault(f"{source[at]!a} is no token", at)
        if match.lastgroup != "space":
            tokens.append(Token(match.lastgroup, match[0], at))
            if match[0] in ("(", "[", "{"):
                nesting += 1
            elif match[0] in (")", "]", "}"):
                nesting -= 1
        at = match.end()
    raise Fault("a tag is not closed", start)
