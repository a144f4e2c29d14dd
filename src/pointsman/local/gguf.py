"""Reads the head of a GGUF file as hostile input: every length is checked before it is used.

Source: GGUF specification, versions 2 and 3 (ggml-org/ggml, docs/gguf.md, read 2026-11).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from pointsman.errors import LocalError

__all__ = ["GgufHead", "read_head"]

MAX_ENTRIES = 65_536
MAX_TENSORS = 65_536
MAX_KEY_BYTES = 65_535
MAX_STRING_BYTES = 16 * 1024 * 1024
MAX_ARRAY_ITEMS = 4_000_000
MAX_HEAD_BYTES = 256 * 1024 * 1024
MAX_DIMENSIONS = 4
MAX_NESTING = 4
DEFAULT_ALIGNMENT = 32
# Only the values that are read below are kept; a vocabulary is passed over, not held.
_KEPT_ARRAY_ITEMS = 64

_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
    10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9

# Tensor type → (elements of a block, bytes of a block).
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


class GgufHead(Struct, frozen=True):
    """What the head says. `context_tokens` is what the model was trained for, where it is given."""

    version: int
    architecture: str
    name: str | None
    context_tokens: int | None
    has_chat_template: bool
    tensors: int
    parameters: int
    size_bytes: int


class _Fault(Exception):
    """What is wrong; the caller adds the file's name."""


class _Cursor:
    """Reads forward in a file, never past its end nor past the limit for a head."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.position = 0

    def take(self, count: int) -> bytes:
        self._claim(count)
        data = self._file.read(count)
        if len(data) != count:
            raise _Fault("it ends in the middle of its head")
        return data

    def skip(self, count: int) -> None:
        self._claim(count)
        self._file.seek(count, os.SEEK_CUR)

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def _claim(self, count: int) -> None:
        self.position += count
        if self.position > self._size:
            raise _Fault("it is cut short: its head reaches past its end")
        if self.position > MAX_HEAD_BYTES:
            raise _Fault(f"its head is over {MAX_HEAD_BYTES} bytes")

    def string(self, limit: int) -> str:
        length = self.number("<Q")
        if length > limit:
            raise _Fault(f"it claims a text of {length} bytes")
        return self.take(length).decode("utf-8", "replace")


def read_head(path: Path) -> GgufHead:
    """Read and check the head of a GGUF file, and that its tensors lie within the file.

    Memory stays small whatever the file claims: arrays are passed over.

    Raises:
        LocalError: no file, no GGUF, cut short, or a claim that cannot hold; names file and reason.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _read(_Cursor(file, size), size)
    except _Fault as error:
        raise LocalError(f"{path.name} cannot be used: {error}") from error
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror or error}") from error


def _read(cursor: _Cursor, size: int) -> GgufHead:
    if size < 24:
        raise _Fault("it is too short for a GGUF file")
    magic = cursor.take(4)
    if magic != b"GGUF":
        raise _Fault(f"it is no GGUF file: it begins with {magic!r}")
    version = cursor.number("<I")
    if version not in (2, 3):
        raise _Fault(f"its GGUF version is {version}; 2 and 3 are known")
    tensors, entries = cursor.number("<Q"), cursor.number("<Q")
    if tensors > MAX_TENSORS or entries > MAX_ENTRIES:
        raise _Fault(f"it claims {tensors} tensors and {entries} entries")
    values: dict[str, Any] = {}
    for _ in range(entries):
        key = cursor.string(MAX_KEY_BYTES)
        values[key] = _value(cursor, cursor.number("<I"), 0)
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= 65536 or alignment % 8:
        raise _Fault(f"its alignment is {alignment!r}")
    parameters, data_bytes = _tensors(cursor, tensors)
    start = -(-cursor.position // alignment) * alignment
    if start + data_bytes > size:
        raise _Fault(f"it is cut short: its tensors need {start + data_bytes} bytes, it has {size}")
    return _head(values, version, tensors, parameters, size)


def _head(
    values: dict[str, Any], version: int, tensors: int, parameters: int, size: int
) -> GgufHead:
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise _Fault("it names no architecture")
    context = values.get(f"{architecture}.context_length")
    name = values.get("general.name")
    return GgufHead(
        version=version,
        architecture=architecture,
        name=name if isinstance(name, str) else None,
        context_tokens=context if isinstance(context, int) and context > 0 else None,
        has_chat_template=bool(values.get("tokenizer.chat_template")),
        tensors=tensors,
        parameters=parameters,
        size_bytes=size,
    )


def _value(cursor: _Cursor, kind: int, depth: int) -> Any:
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind])
    if kind == _STRING:
        return cursor.string(MAX_STRING_BYTES)
    if kind != _ARRAY or depth >= MAX_NESTING:
        raise _Fault(f"it holds a value of the unknown kind {kind}")
    inner, count = cursor.number("<I"), cursor.number("<Q")
    if count > MAX_ARRAY_ITEMS:
        raise _Fault(f"it claims an array of {count} items")
    if inner in _SCALARS and count > _KEPT_ARRAY_ITEMS:
        cursor.skip(count * struct.calcsize(_SCALARS[inner]))
        return None
    kept = []
    for number in range(count):
        value = _value(cursor, inner, depth + 1)
        if number < _KEPT_ARRAY_ITEMS:
            kept.append(value)
    return kept


def _tensors(cursor: _Cursor, count: int) -> tuple[int, int]:
    """Read the tensors' table; gives (parameters, bytes of tensor data up to the last one's end)."""
    parameters = end = 0
    for _ in range(count):
        name = cursor.string(MAX_KEY_BYTES)
        dimensions = cursor.number("<I")
        if dimensions > MAX_DIMENSIONS:
            raise _Fault(f"the tensor {name[:64]!r} claims {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= cursor.number("<Q")
        kind, offset = cursor.number("<I"), cursor.number("<Q")
        per_block, block_bytes = _BLOCKS.get(kind, (1, 0))  # Unknown types: the engine judges.
        if elements > 1 << 44 or offset > 1 << 48:
            raise _Fault(f"the tensor {name[:64]!r} claims {elements} elements")
        parameters += elements
        end = max(end, offset + -(-elements // per_block) * block_bytes)
    return parameters, end
