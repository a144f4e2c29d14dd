"""Reads the header of a safetensors file as hostile input; every claim that does not hold is a finding.

Only the header is read: 8 bytes of length, then that much JSON.

Source: safetensors format (huggingface/safetensors, README "Format" and src/tensor.rs, 0.7): the
header begins with `{`, may end in spaces, has each name once, and the tensors' stretches cover the
rest of the file without gap or overlap.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.trust.formats.context import Fault, Scan
from pointsman.trust.formats.source import Source
from pointsman.trust.rules.weights import SAFETENSORS_HIDDEN_BYTES, SAFETENSORS_MALFORMED

__all__ = ["SafetensorsFile", "check_safetensors", "read_safetensors"]

# The format's own limit is 100 MB; headers of 100,000 tensors are under 16.
MAX_HEADER_BYTES = 32 * 1024 * 1024
FORMAT_HEADER_BYTES = 100_000_000
MAX_DIMENSIONS = 32
MAX_NAME = 4_096

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4,
    "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}  # fmt: skip

# Each text of the header, taken one after another so that none begins within another; a key is one
# that a colon follows.
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*+"(\s*+:)?', re.S)


class SafetensorsTensor(Struct, forbid_unknown_fields=True):
    """A row of the header."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class SafetensorsFile(Struct):
    """What the header says. `data_start` is the byte that offsets count from."""

    data_start: int
    metadata: dict[str, str]
    tensors: dict[str, SafetensorsTensor]
    keys_doubled: int


class TooLarge(Exception):
    """The header is within the format's limit and over ours."""


def read_safetensors(source: Source) -> SafetensorsFile:
    """Read the header of a safetensors file.

    Raises:
        Fault: it breaks the format so that nothing more can be said of it.
        TooLarge: its header is over `MAX_HEADER_BYTES`.
    """
    head = source.read(0, 8)
    if len(head) < 8:
        raise Fault("it is shorter than the length of its header", 0)
    length = int.from_bytes(head, "little")
    if length > FORMAT_HEADER_BYTES:
        raise Fault(f"its header claims {length} bytes; the format allows 100 MB", 0)
    if length > source.size - 8:
        raise Fault(f"its header claims {length} bytes, and {source.size - 8} are there", 0)
    if length > MAX_HEADER_BYTES:
        raise TooLarge
    raw = source.read(8, length)
    if not raw.startswith(b"{"):
        raise Fault("its header does not begin with '{'", 8)
    return _parse(raw, 8 + length)


def _parse(raw: bytes, data_start: int) -> SafetensorsFile:
    try:
        rows = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        given = rows.pop("__metadata__", None)
        metadata = {} if given is None else msgspec.json.decode(given, type=dict[str, str])
        decoder = msgspec.json.Decoder(SafetensorsTensor)
        tensors = {name: decoder.decode(row) for name, row in rows.items()}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Fault(f"its header is not of the form allowed: {str(error)[:200]}", 8) from error
    keys = sum(1 for each in _TEXTS.finditer(raw) if each[1])
    expected = 4 * len(tensors) + len(metadata) + (given is not None)
    return SafetensorsFile(data_start, metadata, tensors, keys - expected)


def check_safetensors(source: Source, scan: Scan) -> None:
    """Check a safetensors file."""
    path = source.name
    try:
        file = read_safetensors(source)
    except Fault as fault:
        scan.add(
            SAFETENSORS_MALFORMED,
            path,
            f"It breaks the format: {fault.message}.",
            offset=fault.offset,
        )
        return
    except TooLarge:
        scan.cannot_check(path, f"its header is over {MAX_HEADER_BYTES} bytes")
        return
    if file.keys_doubled:
        scan.add(
            SAFETENSORS_MALFORMED,
            path,
            f"{abs(file.keys_doubled)} keys of its header are there twice; readers differ in which they take.",
        )
    for name, tensor in file.tensors.items():
        for fault_text in _tensor_faults(name, tensor):
            scan.add(SAFETENSORS_MALFORMED, path, fault_text)
    _check_places(source, file, scan)


def _tensor_faults(name: str, tensor: SafetensorsTensor) -> list[str]:
    shown = repr(name[:80])
    faults = []
    if len(name) > MAX_NAME or not name.isprintable():
        faults.append(f"The name {shown} is over {MAX_NAME} letters, or not printable.")
    begin, end = tensor.data_offsets
    if begin < 0 or end < begin:
        faults.append(f"The tensor {shown} lies from {begin} to {end}.")
        return faults
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        faults.append(f"The tensor {shown} is of the unknown type {tensor.dtype[:40]!r}.")
        return faults
    if len(tensor.shape) > MAX_DIMENSIONS or any(each < 0 for each in tensor.shape):
        faults.append(f"The tensor {shown} has the shape {str(tensor.shape[:8])[:200]}.")
        return faults
    elements = 1
    for length in tensor.shape:
        elements *= length
    if elements * bits != (end - begin) * 8:
        faults.append(
            f"The tensor {shown} holds {elements} elements of {tensor.dtype} in {end - begin} bytes."
        )
    return faults


def _check_places(source: Source, file: SafetensorsFile, scan: Scan) -> None:
    """The stretches must cover the rest of the file, each beginning where the last one ended."""
    path, start, end = source.name, file.data_start, 0
    for name, tensor in sorted(file.tensors.items(), key=_by_place):
        begin, stop = tensor.data_offsets
        shown = repr(name[:80])
        if stop > source.size - start:
            scan.add(
                SAFETENSORS_MALFORMED,
                path,
                f"The tensor {shown} reaches past the end of the file: to {start + stop} of {source.size}.",
            )
        if begin < end:
            scan.add(SAFETENSORS_MALFORMED, path, f"The tensor {shown} overlaps the one before it.")
        elif begin > end:
            scan.add(
                SAFETENSORS_HIDDEN_BYTES, path,
                f"{begin - end} bytes before the tensor {shown} belong to none.",
                offset=start + end,
            )  # fmt: skip
        end = max(end, stop)
    extra = source.size - start - end
    if extra > 0:
        scan.add(
            SAFETENSORS_HIDDEN_BYTES,
            path,
            f"{extra} bytes follow the last tensor.",
            offset=start + end,
        )


def _by_place(row: tuple[str, Any]) -> tuple[int, int]:
    begin, end = row[1].data_offsets
    return int(begin), int(end)
