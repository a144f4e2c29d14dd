"""Checks NumPy arrays, and HDF5 files as Keras writes them."""

from __future__ import annotations

import ast
import re

from pointsman.trust.formats.context import Scan
from pointsman.trust.formats.pickles import check_pickle
from pointsman.trust.formats.source import Source
from pointsman.trust.rules.weights import KERAS_CODE

__all__ = ["check_hdf5", "check_npy"]

# NumPy itself refuses longer ones from files that it does not trust.
MAX_HEADER_BYTES = 10_000
SEARCHED_BYTES = 1024**3
_LAMBDA = re.compile(
    rb'"class_name"\s*:\s*"(?:Lambda|TFOpLambda|SlicingOpLambda)"|"__lambda__"|"function_type"\s*:\s*"lambda"'
)


def check_npy(source: Source, scan: Scan) -> None:
    """Check a NumPy array; one of objects is a pickle.

    Source: numpy/lib/_format_impl.py (2.x), versions 1 to 3.
    """
    head = source.read(6, 6)
    wide = head[:1] in (b"\x02", b"\x03")
    length = int.from_bytes(head[2:6] if wide else head[2:4], "little")
    start = 12 if wide else 10
    if length > MAX_HEADER_BYTES or start + length > source.size:
        scan.cannot_check(source.name, f"its NumPy header claims {length} bytes")
        return
    raw = source.read(start, length)
    objects = _holds_objects(raw)
    body = source.window(f"{source.name}!objects", start + length, source.size)
    if objects is None:
        scan.cannot_check(source.name, "its NumPy header is of no form that NumPy writes")
    # A header that can't be read may still be read by someone: then what follows counts.
    if objects or (objects is None and body.read(0, 1) == b"\x80"):
        check_pickle(body, scan)


def _holds_objects(raw: bytes) -> bool | None:
    try:
        header = ast.literal_eval(raw.decode("latin-1").strip())
        descr = header["descr"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return None
    return _has_object(descr, 0)


def _has_object(descr: object, depth: int) -> bool:
    if isinstance(descr, str):
        return "O" in descr
    if isinstance(descr, list | tuple) and depth < 20:
        # A field is (name, type) or (name, type, shape): its name is no type.
        parts = descr[1:2] if isinstance(descr, tuple) and len(descr) >= 2 else descr
        return any(_has_object(each, depth + 1) for each in parts)
    return True


def check_hdf5(source: Source, scan: Scan) -> None:
    """Search an HDF5 file for Keras's Lambda layers; its structure is not checked."""
    for base, piece in source.chunks(limit=SEARCHED_BYTES, overlap=256):
        match = _LAMBDA.search(piece)
        if match:
            scan.add(
                KERAS_CODE,
                source.name,
                "Its text describes a Lambda layer, which holds Python code.",
                offset=base + match.start(),
            )
            break
    scan.cannot_check(
        source.name, "HDF5 is searched for Lambda layers, not parsed: use safetensors instead"
    )
