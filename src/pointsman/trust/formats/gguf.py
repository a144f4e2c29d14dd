"""Reads the structure of a GGUF file as hostile input; every claim that does not hold is a finding.

Little- and big-endian, versions 1 to 3. Tensor data is never read, so a file of 50 GB costs what
its head costs, and a file of 1 kB that claims 100 GB costs nothing.

Source: GGUF specification (ggml-org/ggml, docs/gguf.md, read 2026-11); where it is silent, what
llama.cpp's own reader refuses (ggml/src/gguf.cpp, b11549): tensors must follow one another in the
order of their table, each padded to the alignment; names are under 64 bytes.
"""

from __future__ import annotations

from struct import Struct as Form
from typing import Any

from msgspec import Struct

from pointsman.trust.formats.context import Fault, Scan, Template
from pointsman.trust.formats.cursor import Cursor
from pointsman.trust.formats.source import Source
from pointsman.trust.rules.weights import GGUF_HIDDEN_BYTES, GGUF_MALFORMED, GGUF_VOCABULARY

__all__ = ["GgufFile", "GgufTensor", "check_gguf", "read_gguf"]

MAX_ENTRIES = 65_536
MAX_TENSORS = 131_072
MAX_KEY_BYTES = 65_535
MAX_NAME_BYTES = 63
MAX_TEXT_BYTES = 64 * 1024 * 1024
MAX_ITEMS_IN_ALL = 16_000_000
# The largest heads known (vocabularies of 260,000 tokens with merges) are under 20 MB.
MAX_HEAD_BYTES = 256 * 1024 * 1024
MAX_NESTING = 3
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 1 << 62
MAX_ALIGNMENT = 1 << 20
DEFAULT_ALIGNMENT = 32
KEPT_TEXT_BYTES = 1024 * 1024
KEPT_IN_ALL_BYTES = 8 * 1024 * 1024
CHECKED_TAIL_BYTES = 256 * 1024 * 1024

_SCALARS = "BbHhIif?xxQqd"  # By the number of the kind; 8 is text, 9 is array.
_TEXT, _ARRAY, _BOOL, _LAST_KIND = 8, 9, 7, 12

# Tensor type → (elements of a block, bytes of a block); types that are gone are not in it.
# Source: ggml/include/ggml.h and ggml-common.h, b11549.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36), 41: (128, 18),
}  # fmt: skip
_GONE = {4, 5, 31, 32, 33, 36, 37, 38}


class GgufTensor(Struct, frozen=True):
    """A row of the table of tensors. `size_bytes` is None where the type is not known here."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    size_bytes: int | None


class GgufFile(Struct):
    """What the head says. An array's value is its length, and a text that was too long is None."""

    version: int
    big_endian: bool
    values: dict[str, Any]
    arrays: dict[str, int]
    tensors: list[GgufTensor]
    alignment: int
    data_start: int
    doubled: list[str]
    too_long: list[str]


class _Reader:
    def __init__(self, source: Source) -> None:
        self.cursor = Cursor(source, limit=MAX_HEAD_BYTES)
        self.order = "<"
        self.length = Form("<Q")
        self.items = 0
        self.kept = 0
        self.too_long: list[str] = []

    def number(self, letter: str, what: str) -> Any:
        return self.cursor.number(Form(self.order + letter), what)

    def count(self, what: str) -> int:
        return int(self.cursor.number(self.length, what))

    def text(self, limit: int, what: str) -> bytes | None:
        """Give a text, or None where it is longer than is kept; over `limit` it is a fault."""
        at = self.cursor.position
        length = self.count(what)
        if length > limit:
            raise Fault(f"{what} claims {length} bytes", at)
        if length > KEPT_TEXT_BYTES or self.kept + length > KEPT_IN_ALL_BYTES:
            self.cursor.skip(length, what)
            return None
        return self.cursor.take(length, what)


def read_gguf(source: Source) -> GgufFile:
    """Read and check the head of a GGUF file.

    Raises:
        Fault: it cannot be read to the end of its head: what, and at which byte.
    """
    reader = _Reader(source)
    if reader.cursor.take(4, "the magic") != b"GGUF":
        raise Fault("it does not begin with 'GGUF'", 0)
    version, big = _version(reader)
    reader.order = ">" if big else "<"
    reader.length = Form(reader.order + ("I" if version == 1 else "Q"))
    tensors, entries = reader.count("the count of tensors"), reader.count("the count of keys")
    if tensors > MAX_TENSORS or entries > MAX_ENTRIES:
        raise Fault(f"it claims {tensors} tensors and {entries} keys", 8)
    file = GgufFile(version, big, {}, {}, [], DEFAULT_ALIGNMENT, 0, [], reader.too_long)
    for _ in range(entries):
        _entry(reader, file)
    file.alignment = _alignment(file.values)
    names: set[str] = set()
    for _ in range(tensors):
        tensor = _tensor(reader)
        if tensor.name in names:
            file.doubled.append(f"the tensor {tensor.name!r}")
        names.add(tensor.name)
        file.tensors.append(tensor)
    file.data_start = -(-reader.cursor.position // file.alignment) * file.alignment
    return file


def _version(reader: _Reader) -> tuple[int, bool]:
    raw = reader.cursor.take(4, "the version")
    little, big = int.from_bytes(raw, "little"), int.from_bytes(raw, "big")
    if little in (1, 2, 3):
        return little, False
    if big == 3:
        return big, True
    raise Fault(f"its version is {little}; 1, 2 and 3 are known", 4)


def _entry(reader: _Reader, file: GgufFile) -> None:
    at = reader.cursor.position
    raw = reader.text(MAX_KEY_BYTES, "a key")
    key = (raw or b"").decode("utf-8", "backslashreplace")
    if not key or not key.isprintable():
        raise Fault(f"a key is empty or not printable: {key[:40]!r}", at)
    kind = reader.number("I", f"the kind of {key!r}")
    if key in file.values or key in file.arrays:
        file.doubled.append(f"the key {key[:80]!r}")
    reader.kept += len(key) + 64
    if kind == _ARRAY:
        file.arrays[key] = _array(reader, key, 1)
    else:
        file.values[key] = _value(reader, key, kind)


def _value(reader: _Reader, key: str, kind: int) -> Any:
    if kind == _TEXT:
        raw = reader.text(MAX_TEXT_BYTES, f"the text of {key[:80]!r}")
        if raw is None:
            reader.too_long.append(key)
            return None
        reader.kept += len(raw)
        return raw.decode("utf-8", "backslashreplace")
    at = reader.cursor.position
    if kind > _LAST_KIND or kind == _ARRAY:
        raise Fault(f"{key[:80]!r} is of the unknown kind {kind}", at)
    if kind == _BOOL:
        byte = reader.number("B", f"the value of {key[:80]!r}")
        if byte > 1:
            raise Fault(f"{key[:80]!r} is a truth value of {byte}", at)
        return bool(byte)
    return reader.number(_SCALARS[kind], f"the value of {key[:80]!r}")


def _array(reader: _Reader, key: str, depth: int) -> int:
    what = f"the array {key[:80]!r}"
    at = reader.cursor.position
    kind, count = reader.number("I", what), reader.count(what)
    reader.items += count
    if reader.items > MAX_ITEMS_IN_ALL:
        raise Fault(f"{what} claims {count} items; {MAX_ITEMS_IN_ALL} in all are read", at)
    if kind == _TEXT:
        reader.cursor.skip_texts(count, reader.length, f"a text of {what}")
    elif kind == _ARRAY:
        if depth >= MAX_NESTING:
            raise Fault(f"{what} is nested over {MAX_NESTING} deep", at)
        for _ in range(count):
            _array(reader, key, depth + 1)
    elif kind <= _LAST_KIND:
        reader.cursor.skip(count * Form("<" + _SCALARS[kind]).size, what)
    else:
        raise Fault(f"{what} is of the unknown kind {kind}", at)
    return int(count)


def _alignment(values: dict[str, Any]) -> int:
    value = values.get("general.alignment", DEFAULT_ALIGNMENT)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 1 <= value <= MAX_ALIGNMENT or value & (value - 1):
        raise Fault(f"its alignment is {str(value)[:40]!r}, no power of two up to {MAX_ALIGNMENT}")
    return int(value)


def _tensor(reader: _Reader) -> GgufTensor:
    at = reader.cursor.position
    raw = reader.text(MAX_KEY_BYTES, "a tensor's name")
    name = (raw or b"").decode("utf-8", "backslashreplace")
    shown = repr(name[:80])
    if not raw or len(raw) > MAX_NAME_BYTES or not name.isprintable():
        raise Fault(f"a tensor's name is empty, over {MAX_NAME_BYTES} bytes or not printable", at)
    dimensions = reader.number("I", f"the dimensions of {shown}")
    if dimensions > MAX_DIMENSIONS:
        raise Fault(f"the tensor {shown} claims {dimensions} dimensions", at)
    shape = tuple(reader.count(f"the shape of {shown}") for _ in range(dimensions))
    elements = 1
    for length in shape:
        elements *= length
    if elements > MAX_ELEMENTS:
        raise Fault(f"the tensor {shown} claims {elements} elements", at)
    kind, offset = reader.number("I", f"the type of {shown}"), reader.number("Q", "an offset")
    if kind in _GONE:
        raise Fault(f"the tensor {shown} is of the type {kind}, which is no longer in use", at)
    per_block, block_bytes = BLOCKS.get(kind, (1, 0))
    if (shape[0] if shape else 1) % per_block:
        raise Fault(f"the rows of {shown} are no whole number of blocks of {per_block}", at)
    size = elements // per_block * block_bytes if block_bytes else None
    return GgufTensor(name, shape, kind, offset, size)


def check_gguf(source: Source, scan: Scan) -> None:
    """Check a GGUF file; its chat templates are put among the scan's."""
    path = source.name
    try:
        file = read_gguf(source)
    except Fault as fault:
        scan.add(
            GGUF_MALFORMED,
            path,
            f"Its head breaks the format: {fault.message}.",
            offset=fault.offset,
        )
        return
    for what in file.doubled:
        scan.add(GGUF_MALFORMED, path, f"It holds {what} twice; readers differ in which they take.")
    _check_places(source, file, scan)
    _check_vocabulary(path, file, scan)
    _check_split(path, file, scan)
    for key, value in file.values.items():
        if not key.startswith("tokenizer.chat_template"):
            continue
        if isinstance(value, str):
            name = key.removeprefix("tokenizer.chat_template").lstrip(".") or "default"
            scan.add_template(Template(f"{path}!{key}", name, value))
        elif key not in file.too_long:
            scan.add(GGUF_MALFORMED, path, f"Its {key} is no text.")
    for key in file.too_long:
        scan.cannot_check(path, f"the text of {key[:80]!r} is over {KEPT_TEXT_BYTES} bytes")


def _check_places(source: Source, file: GgufFile, scan: Scan) -> None:
    """Each tensor must begin where the one before it ends, padded to the alignment."""
    path, start = source.name, file.data_start
    unknown = sorted({each.kind for each in file.tensors if each.size_bytes is None})
    if unknown:
        scan.cannot_check(path, f"tensor types {unknown} are not known here, nor so their sizes")
    end = 0
    for tensor in sorted(file.tensors, key=lambda each: each.offset):
        size = tensor.size_bytes or 0
        shown = repr(tensor.name)
        place = f"at byte {start + tensor.offset}"
        if start + tensor.offset + size > source.size:
            scan.add(
                GGUF_MALFORMED,
                path,
                f"The tensor {shown} {place} reaches past the end of the file: {size} bytes.",
            )
        if tensor.offset % file.alignment:
            scan.add(
                GGUF_MALFORMED,
                path,
                f"The tensor {shown} {place} is not aligned to {file.alignment}.",
            )
        if tensor.offset < end:
            scan.add(
                GGUF_MALFORMED, path, f"The tensor {shown} {place} overlaps the one before it."
            )
        padded = -(-end // file.alignment) * file.alignment
        if tensor.offset > padded and not unknown:
            scan.add(
                GGUF_HIDDEN_BYTES, path,
                f"{tensor.offset - padded} bytes before the tensor {shown} belong to none.",
                offset=start + padded,
            )  # fmt: skip
        end = max(end, tensor.offset + size)
    if not unknown:
        _check_tail(source, start + -(-end // file.alignment) * file.alignment, scan)


def _check_tail(source: Source, end: int, scan: Scan) -> None:
    extra = source.size - end
    if extra <= 0:
        return
    tail = source.window(source.name, end, extra)
    # Zeros are padding. More of them than we look through are no place to hide anything either.
    if any(piece.strip(b"\0") for _, piece in tail.chunks(limit=CHECKED_TAIL_BYTES)):
        scan.add(
            GGUF_HIDDEN_BYTES, source.name, f"{extra} bytes follow the last tensor.", offset=end
        )
    elif extra > CHECKED_TAIL_BYTES:
        scan.cannot_check(source.name, f"{extra} bytes follow the last tensor; the first are zero")


_PER_TOKEN = ("tokenizer.ggml.scores", "tokenizer.ggml.token_type")


def _check_vocabulary(path: str, file: GgufFile, scan: Scan) -> None:
    tokens = file.arrays.get("tokenizer.ggml.tokens")
    if tokens is None:
        return
    for key in _PER_TOKEN:
        count = file.arrays.get(key, tokens)
        if count != tokens:
            scan.add(GGUF_VOCABULARY, path, f"It has {tokens} tokens and {count} items of {key}.")
    for key, value in file.values.items():
        is_special = key.startswith("tokenizer.ggml.") and key.endswith("_token_id")
        # 2³²-1 is how some writers say that there is none.
        if is_special and isinstance(value, int) and tokens <= value != 0xFFFFFFFF:
            scan.add(GGUF_VOCABULARY, path, f"Its {key} is {value}, of {tokens} tokens.")


def _check_split(path: str, file: GgufFile, scan: Scan) -> None:
    number, count = file.values.get("split.no"), file.values.get("split.count")
    if count is None and number is None:
        return
    if not (isinstance(number, int) and isinstance(count, int) and 0 <= number < max(count, 1)):
        scan.add(GGUF_MALFORMED, path, f"It is part {number} of {count} of a split model.")
