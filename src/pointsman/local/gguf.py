"""Reads the head of a GGUF file as hostile input: every length is checked before it is used.

Source: GGUF specification, versions 2 and 3 (ggml-org/ggml, docs/gguf.md, read 2026-11); where it
is silent, what llama.cpp's own reader refuses (ggml/src/gguf.cpp, b11549).
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct as Form
from typing import Any, BinaryIO

from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.shape import ARRAYS, Length, Shape, Weights, shape_of

__all__ = ["FILE_TYPES", "TENSOR_BLOCKS", "GgufHead", "read_head"]

MAX_ENTRIES = 4_096
MAX_TENSORS = 65_536
MAX_KEY_BYTES = 65_535
MAX_STRING_BYTES = 16 * 1024 * 1024
MAX_ARRAY_ITEMS = 4_000_000
# The largest heads known (vocabularies of 260,000 tokens with merges) are under 20 MB.
MAX_HEAD_BYTES = 64 * 1024 * 1024
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 1 << 44
MAX_ALIGNMENT = 65_536
DEFAULT_ALIGNMENT = 32
PIECE_BYTES = 256 * 1024
# Longer keys and texts, and all arrays but a few short ones, are checked and passed over: nothing
# here needs them, and so a hostile file cannot make this process hold more than a few MB.
_KEPT_KEY_BYTES = 128
_KEPT_TEXT_BYTES = 1_024
_KEPT_ITEMS = 1_024
_KEPT_ITEMS_IN_ALL = 32_768

_U32, _U64 = Form("<I"), Form("<Q")
_SCALARS = {
    0: Form("<B"), 1: Form("<b"), 2: Form("<H"), 3: Form("<h"), 4: _U32, 5: Form("<i"),
    6: Form("<f"), 7: Form("<?"), 10: _U64, 11: Form("<q"), 12: Form("<d"),
}  # fmt: skip
_STRING, _ARRAY = 8, 9

# Tensor type → (elements of a block, bytes of a block), of those that are found in files.
TENSOR_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip

# `general.file_type` → the name that people know it by.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip


class GgufHead(Struct, frozen=True):
    """What the head says. `context_tokens` is what the model was trained for, where it is given.

    `template_takes_tools` says that the chat template reads a list of tools; without that a model never
    learns which it has. `pooling` is how an embedding model makes one vector of many (0: it does not); `file_type` is
    the name of the quantization of most tensors; `parts` is over 1 for a part of a split model.
    `shape` is what its memory is reckoned from.
    """

    version: int
    architecture: str
    name: str | None
    size_label: str | None
    file_type: str | None
    context_tokens: int | None
    pooling: int | None
    has_chat_template: bool
    template_takes_tools: bool
    parts: int
    tensors: int
    parameters: int
    size_bytes: int
    shape: Shape = Shape()


class _Fault(Exception):
    """What is wrong; the caller adds the file's name."""


class _Cursor:
    """Reads forward in a file, never past its end nor past the limit for a head."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._piece = b""
        self._start = 0  # Where the piece begins in the file.
        self._at = 0  # Where we are in the piece.

    @property
    def position(self) -> int:
        return self._start + self._at

    def _need(self, count: int) -> None:
        """Have the next `count` bytes in the piece."""
        have = len(self._piece) - self._at
        if have >= count:
            return
        self._allow(count)
        rest = self._piece[self._at :]
        self._start, self._at = self._start + self._at, 0
        self._piece = rest + self._file.read(max(count - have, PIECE_BYTES))
        if len(self._piece) < count:
            raise _Fault("it is cut short: it ends in the middle of its head")

    def _allow(self, count: int) -> None:
        if self.position + count > self._size:
            raise _Fault("it is cut short: its head reaches past its end")
        if self.position + count > MAX_HEAD_BYTES:
            raise _Fault(f"its head is over {MAX_HEAD_BYTES} bytes")

    def number(self, form: Form) -> Any:
        self._need(form.size)
        value = form.unpack_from(self._piece, self._at)[0]
        self._at += form.size
        return value

    def text(self, limit: int, kept: int) -> str | None:
        """Read a text of at most `limit` bytes; one over `kept` is passed over and gives None."""
        length = self.number(_U64)
        if length > limit:
            raise _Fault(f"it claims a text of {length} bytes")
        if length > kept:
            self.skip(length)
            return None
        self._need(length)
        self._at += length
        return self._piece[self._at - length : self._at].decode("utf-8", "replace")

    def skip(self, count: int) -> None:
        if self._at + count > len(self._piece):
            self._allow(count)
            self._start, self._at, self._piece = self.position + count, 0, b""
            self._file.seek(self._start)
        else:
            self._at += count

    def skip_texts(self, count: int) -> None:
        """Pass over `count` texts; a vocabulary has hundreds of thousands, so the loop is tight."""
        unpack = _U64.unpack_from
        while count:
            piece, at = self._piece, self._at
            last = len(piece) - 8
            while count and at <= last:
                length = unpack(piece, at)[0]
                if at + 8 + length > len(piece):
                    break
                at += 8 + length
                count -= 1
            self._at = at
            if count:
                self.text(MAX_STRING_BYTES, 0)
                count -= 1


def read_head(path: Path) -> GgufHead:
    """Read and check the head of a GGUF file, and that its tensors lie within the file.

    Memory stays small whatever the file claims: arrays and long texts are passed over.

    Raises:
        LocalError: no file, no GGUF, cut short, or a claim that cannot hold; names file and reason.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            return _read(_Cursor(file, size), size)
    except _Fault as error:
        raise LocalError(f"{path.name} cannot be used: {error}") from error
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror or error}") from error


def _read(cursor: _Cursor, size: int) -> GgufHead:
    if size < 24:
        raise _Fault("it is too short for a GGUF file")
    magic = cursor.number(Form("4s"))
    if magic != b"GGUF":
        raise _Fault(f"it is no GGUF file: it begins with {magic!r}")
    version = cursor.number(_U32)
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in (2, 3)
        why = "it is big-endian" if swapped else f"its GGUF version is {version}"
        raise _Fault(f"{why}; little-endian versions 2 and 3 are known")
    tensors, entries = cursor.number(_U64), cursor.number(_U64)
    if tensors > MAX_TENSORS or entries > MAX_ENTRIES:
        raise _Fault(f"it claims {tensors} tensors and {entries} entries")
    values = _entries(cursor, entries)
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 8 <= alignment <= MAX_ALIGNMENT:
        raise _Fault(f"its alignment is {alignment!r}")
    if alignment & (alignment - 1):
        raise _Fault(f"its alignment, {alignment}, is no power of two")
    parameters, data_bytes, weights = _tensors(cursor, tensors, alignment)
    start = -(-cursor.position // alignment) * alignment
    if start + data_bytes > size:
        raise _Fault(f"it is cut short: its tensors need {start + data_bytes} bytes, it has {size}")
    return _head(values, version, tensors, parameters, size, weights)


def _entries(cursor: _Cursor, count: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    kept = 0
    for _ in range(count):
        key = cursor.text(MAX_KEY_BYTES, _KEPT_KEY_BYTES)
        wanted = key is not None and key.partition(".")[2] in ARRAYS
        room = min(_KEPT_ITEMS, _KEPT_ITEMS_IN_ALL - kept) if wanted else 0
        value = _value(cursor, cursor.number(_U32), room)
        if key is None:
            continue
        if key in values:
            raise _Fault(f"it holds the key {key!r} twice")
        values[key] = value
        kept += len(value) if isinstance(value, tuple) else 0
    return values


def _value(cursor: _Cursor, kind: int, room: int) -> Any:
    """Read a value. A long text is passed over and gives None; so is an array of texts, or of over
    `room` numbers, and gives its `Length`.
    """
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind])
    if kind == _STRING:
        return cursor.text(MAX_STRING_BYTES, _KEPT_TEXT_BYTES)
    if kind != _ARRAY:
        raise _Fault(f"it holds a value of the unknown kind {kind}")
    inner, count = cursor.number(_U32), cursor.number(_U64)
    if count > MAX_ARRAY_ITEMS:
        raise _Fault(f"it claims an array of {count} items")
    if inner in _SCALARS and count <= room:
        return tuple(cursor.number(_SCALARS[inner]) for _ in range(count))
    if inner in _SCALARS:
        cursor.skip(count * _SCALARS[inner].size)
    elif inner == _STRING:
        cursor.skip_texts(count)
    else:
        raise _Fault(f"it holds an array of the unknown kind {inner}")
    return Length(count)


def _tensors(cursor: _Cursor, count: int, alignment: int) -> tuple[int, int, Weights]:
    """Read the tensors' table; gives (parameters, bytes of tensor data up to the last one's end,
    what they are).
    """
    parameters = end = 0
    of_type: dict[int, int] = {}
    embedding = embedding_type = vocabulary = 0
    tied = True
    for _ in range(count):
        name = cursor.text(MAX_KEY_BYTES, _KEPT_KEY_BYTES) or ""
        dimensions = cursor.number(_U32)
        if dimensions > MAX_DIMENSIONS:
            raise _Fault(f"the tensor {name!r} claims {dimensions} dimensions")
        shape = [cursor.number(_U64) for _ in range(dimensions)]
        elements = 1
        for length in shape:
            elements *= length
        kind, offset = cursor.number(_U32), cursor.number(_U64)
        # The engine judges a type that is not known here: new ones come often.
        per_block, block_bytes = TENSOR_BLOCKS.get(kind, (1, 0))
        if elements > MAX_ELEMENTS:
            raise _Fault(f"the tensor {name!r} claims {elements} elements")
        if offset % alignment or (shape and shape[0] % per_block):
            raise _Fault(f"the tensor {name!r} is not laid out as its type must be")
        length = elements // per_block * block_bytes
        parameters += elements
        end = max(end, offset + length)
        of_type[kind] = of_type.get(kind, 0) + length
        if name == "token_embd.weight":
            embedding, embedding_type, vocabulary = length, kind, shape[-1] if shape else 0
        tied &= name != "output.weight"
    types = tuple(sorted(of_type.items()))
    weights = Weights(
        bytes=sum(of_type.values()),
        embedding_bytes=embedding,
        vocabulary=vocabulary,
        tied=tied,
        by_type=types,
        embedding_type=embedding_type,
    )
    return parameters, end, weights


def _head(
    values: dict[str, Any],
    version: int,
    tensors: int,
    parameters: int,
    size: int,
    weights: Weights,
) -> GgufHead:
    architecture = _text(values, "general.architecture")
    if not architecture:
        raise _Fault("it names no architecture")
    kind = _count(values, "general.file_type")
    return GgufHead(
        version=version,
        architecture=architecture,
        name=_text(values, "general.name"),
        size_label=_text(values, "general.size_label"),
        file_type=None if kind is None else FILE_TYPES.get(kind, f"type {kind}"),
        context_tokens=_count(values, f"{architecture}.context_length") or None,
        pooling=_count(values, f"{architecture}.pooling_type"),
        # A template that was too long to keep is there as None.
        has_chat_template=values.get("tokenizer.chat_template", "") != "",
        template_takes_tools="tools" in str(values.get("tokenizer.chat_template", "")),
        parts=_count(values, "split.count") or 1,
        tensors=tensors,
        parameters=parameters,
        size_bytes=size,
        shape=shape_of(architecture, values, weights),
    )


def _text(values: dict[str, Any], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) else None


def _count(values: dict[str, Any], key: str) -> int | None:
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
