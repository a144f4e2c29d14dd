"""Walks protobuf messages as hostile input; lengths are checked, large fields are passed over.

Source: Protocol Buffers encoding guide (protobuf.dev, read 2026-11), wire types 0, 1, 2 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pointsman.trust.formats.context import Fault
from pointsman.trust.formats.cursor import Cursor
from pointsman.trust.formats.source import Source

__all__ = ["Field", "fields", "outline"]

MAX_FIELDS = 2_000_000
MAX_OUTLINE = 4_096


class Field(NamedTuple):
    """`value` is a varint's number; a message, text or bytes lies at `at` with `size` bytes."""

    number: int
    wire: int
    value: int
    at: int
    size: int


def fields(source: Source, start: int = 0, size: int | None = None) -> Iterator[Field]:
    """Give the fields of the message that lies at `start`.

    Raises:
        Fault: a field is broken, or there are over `MAX_FIELDS`.
    """
    end = source.size if size is None else min(start + size, source.size)
    cursor = Cursor(source, start, end)
    for _ in range(MAX_FIELDS):
        if cursor.left <= 0:
            return
        at = cursor.position
        tag = _varint(cursor)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise Fault("a field has the number 0", at)
        if wire == 0:
            yield Field(number, wire, _varint(cursor), at, 0)
        elif wire in (1, 5):
            cursor.skip(8 if wire == 1 else 4, f"the field {number}")
            yield Field(number, wire, 0, at, 0)
        elif wire == 2:
            length = _varint(cursor)
            place = cursor.position
            cursor.skip(length, f"the field {number}")
            yield Field(number, wire, 0, place, length)
        else:
            raise Fault(f"the field {number} has the wire type {wire}", at)
    raise Fault(f"it has over {MAX_FIELDS} fields", start)


def _varint(cursor: Cursor) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = cursor.take(1, "a number")[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise Fault("a number has over ten bytes", cursor.position)


def outline(source: Source) -> list[tuple[int, int]] | None:
    """Give (number, wire type) of the first fields; None where it is no protobuf message."""
    found = []
    try:
        for field in fields(source):
            found.append((field.number, field.wire))
            if len(found) >= MAX_OUTLINE:
                break
    except Fault:
        # A message that breaks off late is one all the same, and its check will say so.
        return found if len(found) >= 4 and max(number for number, _ in found) < 64 else None
    return found or None
