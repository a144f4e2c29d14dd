"""Reads what a GGUF file says of itself: its keys with their values, and its tensors by name.

`gguf.read_head` is the check of a file before it is run; this is for people and for listings. The
file is as hostile here as there: what is kept has a limit, whatever the file claims.

Source: as `gguf.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from struct import Struct as Form
from struct import unpack_from
from typing import Any, BinaryIO, NamedTuple, TypeVar

from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.gguf import (
    DEFAULT_ALIGNMENT,
    MAX_ARRAY_ITEMS,
    MAX_DIMENSIONS,
    MAX_ENTRIES,
    MAX_HEAD_BYTES,
    MAX_KEY_BYTES,
    MAX_STRING_BYTES,
    MAX_TENSORS,
    _Cursor,
    _Fault,
)

__all__ = ["ArrayShape", "GgufOutline", "read_metadata", "read_outline"]

# A chat template is long; what is longer than this is none.
MAX_TEXT_BYTES = 1024 * 1024
MAX_KEPT_BYTES = 8 * 1024 * 1024
# What `full` may hold of arrays: the largest vocabularies with their merges are under both.
MAX_ITEMS = 2_000_000
MAX_ARRAY_BYTES = 48 * 1024 * 1024
KEPT_KEY_BYTES = 128

_U32, _U64 = Form("<I"), Form("<Q")
_SCALARS = {
    0: Form("<B"), 1: Form("<b"), 2: Form("<H"), 3: Form("<h"), 4: _U32, 5: Form("<i"),
    6: Form("<f"), 7: Form("<?"), 10: _U64, 11: Form("<q"), 12: Form("<d"),
}  # fmt: skip
STRING, ARRAY = 8, 9

# Walking a vocabulary text by text takes 50 ms, so an outline looks for the key after it instead.
LONG_ARRAY = 4_096
WINDOW_BYTES = 512 * 1024
_NEXT_KEY = b"\0" * 7 + b"tokenizer."

Result = TypeVar("Result")


class ArrayShape(NamedTuple):
    """An array whose items were passed over: GGUF's number for their type, and how many."""

    kind: int
    length: int


class GgufOutline(Struct, frozen=True):
    """A file's keys and tensors. A value is a number, a truth, a text, or an `ArrayShape`.

    A text over 1 MiB is None. `tensors` gives each tensor's dimensions by its name.
    """

    values: dict[str, Any]
    tensors: dict[str, tuple[int, ...]]

    @property
    def architecture(self) -> str:
        """The value of `general.architecture`, or nothing."""
        return self.text("general.architecture") or ""

    def text(self, key: str) -> str | None:
        """The value of a key, if it is a text."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        """The value of a key, if it is a whole number."""
        value = self.values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_metadata(path: Path, *, full: bool = False) -> dict[str, Any]:
    """Give all keys of a GGUF file with their values; an array is None, or with `full` a list.

    Also None are texts over 1 MiB, and with `full` the arrays after two million items or 48 MiB.

    Raises:
        LocalError: no file, no GGUF, cut short, or a claim that cannot hold; names file and reason.
    """
    budget = _Budget(MAX_ITEMS if full else 0)

    def array(cursor: _Reader, kind: int, count: int, _last: bool) -> list[Any] | None:
        return cursor.items(kind, count, budget)

    return _opened(path, lambda cursor, size: _read(cursor, size, array).values)


def read_outline(path: Path) -> GgufOutline:
    """Give the keys and the tensors of a GGUF file, in a few milliseconds whatever its vocabulary.

    Raises:
        LocalError: as `read_metadata`.
    """

    def quick(cursor: _Reader, kind: int, count: int, last: bool) -> ArrayShape:
        # A wrong guess gives a head that does not add up, and then we walk.
        if kind != STRING or count < LONG_ARRAY or last or not cursor.seek_key(count):
            cursor.pass_items(kind, count)
        return ArrayShape(kind, count)

    def slow(cursor: _Reader, kind: int, count: int, _last: bool) -> ArrayShape:
        cursor.pass_items(kind, count)
        return ArrayShape(kind, count)

    def either(cursor: _Reader, size: int) -> GgufOutline:
        try:
            return _read(cursor, size, quick)
        except _Fault:
            return _read(cursor.again(), size, slow)

    return _opened(path, either)


class _Budget:
    """What may still be kept of arrays."""

    def __init__(self, items: int) -> None:
        self.items = items
        self.bytes = MAX_ARRAY_BYTES

    def takes(self, items: int) -> bool:
        self.items -= items
        return self.items >= 0 and self.bytes >= 0


class _Reader(_Cursor):
    """A cursor that gives arrays too, or passes over them."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file, size)
        self._whole = size

    def again(self) -> _Reader:
        self._file.seek(0)
        return _Reader(self._file, self._whole)

    def pass_items(self, kind: int, count: int) -> None:
        if kind == STRING:
            self.skip_texts(count)
        else:
            self.skip(count * _SCALARS[kind].size)

    def items(self, kind: int, count: int, budget: _Budget) -> list[Any] | None:
        if not budget.takes(count):
            self.pass_items(kind, count)
            return None
        if kind != STRING:
            form = _SCALARS[kind]
            self._need(count * form.size)
            values = unpack_from(f"<{count}{form.format[-1]}", self._piece, self._at)
            self._at += count * form.size
            return list(values)
        texts = []
        for number in range(count):
            text = self.text(MAX_STRING_BYTES, MAX_TEXT_BYTES) or ""
            texts.append(text)
            budget.bytes -= len(text)
            if budget.bytes < 0:
                self.skip_texts(count - number - 1)
                return None
        return texts

    def seek_key(self, count: int) -> bool:
        """Go to the next key that begins with `tokenizer.`, past at least `count` texts."""
        start = base = self.position
        limit = min(self._whole, MAX_HEAD_BYTES)
        self._file.seek(start)
        window, keep = b"", len(_NEXT_KEY)
        while base < limit:
            piece = self._file.read(WINDOW_BYTES)
            if not piece:
                break
            window = window[-keep:] + piece
            base += len(piece)
            found = window.find(_NEXT_KEY)
            # The byte before is the low one of the key's length, which the seven zeros end.
            position = base - len(window) + found - 1
            if found > 0 and position >= start + 8 * count:
                self._go(position)
                return True
            if found >= 0:
                break
        self._go(start)
        return False

    def _go(self, position: int) -> None:
        self._start, self._at, self._piece = position, 0, b""
        self._file.seek(position)


def _opened(path: Path, read: Callable[[_Reader, int], Result]) -> Result:
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            return read(_Reader(file, size), size)
    except _Fault as error:
        raise LocalError(f"{path.name} cannot be used: {error}") from error
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror or error}") from error


Arrays = Callable[[_Reader, int, int, bool], Any]


def _read(cursor: _Reader, size: int, array: Arrays) -> GgufOutline:
    if size < 24:
        raise _Fault("it is too short for a GGUF file")
    magic = cursor.number(Form("4s"))
    if magic != b"GGUF":
        raise _Fault(f"it is no GGUF file: it begins with {magic!r}")
    version = cursor.number(_U32)
    if version not in (2, 3):
        raise _Fault(f"its GGUF version is {version}; little-endian versions 2 and 3 are known")
    tensors, entries = cursor.number(_U64), cursor.number(_U64)
    if tensors > MAX_TENSORS or entries > MAX_ENTRIES:
        raise _Fault(f"it claims {tensors} tensors and {entries} entries")
    values = _entries(cursor, entries, array)
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise _Fault(f"its alignment is {alignment!r}")
    return GgufOutline(values, _tensors(cursor, tensors, alignment, size))


def _entries(cursor: _Reader, count: int, array: Arrays) -> dict[str, Any]:
    values: dict[str, Any] = {}
    room = MAX_KEPT_BYTES
    for number in range(count):
        key = cursor.text(MAX_KEY_BYTES, KEPT_KEY_BYTES)
        kind = cursor.number(_U32)
        value: Any
        if kind in _SCALARS:
            value = cursor.number(_SCALARS[kind])
        elif kind == STRING:
            value = cursor.text(MAX_STRING_BYTES, min(room, MAX_TEXT_BYTES))
            room -= len(value or "")
        elif kind == ARRAY:
            inner, items = cursor.number(_U32), cursor.number(_U64)
            if items > MAX_ARRAY_ITEMS or (inner not in _SCALARS and inner != STRING):
                raise _Fault(f"it claims an array of {items} items of the kind {inner}")
            value = array(cursor, inner, items, number == count - 1)
        else:
            raise _Fault(f"it holds a value of the unknown kind {kind}")
        if key is None:
            continue
        if key in values or not key.isprintable():
            raise _Fault(f"it holds the key {key!r}, which is none or is there twice")
        values[key] = value
    return values


def _tensors(cursor: _Reader, count: int, alignment: int, size: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for _ in range(count):
        name = cursor.text(MAX_KEY_BYTES, KEPT_KEY_BYTES)
        dimensions = cursor.number(_U32)
        if dimensions > MAX_DIMENSIONS:
            raise _Fault(f"the tensor {name!r} claims {dimensions} dimensions")
        shape = tuple(cursor.number(_U64) for _ in range(dimensions))
        cursor.number(_U32)
        offset = cursor.number(_U64)
        if offset % alignment or offset > size:
            raise _Fault(f"the tensor {name!r} lies where none can")
        if name is not None:
            found[name] = shape
    return found
