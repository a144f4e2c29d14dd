"""Says what a file is by its bytes. Names decide nothing."""

from __future__ import annotations

import zlib

from pointsman.trust.formats.protobuf import outline
from pointsman.trust.formats.source import Source
from pointsman.trust.formats.tars import is_tar_header

__all__ = ["HEAD_BYTES", "detect"]

HEAD_BYTES = 4_096
_HDF5 = b"\x89HDF\r\n\x1a\n"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "gguf"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x93NUMPY", "npy"),
    (_HDF5, "hdf5"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"\xfe\xed\xfa\xce", "program"),
    (b"\xfe\xed\xfa\xcf", "program"),
    (b"\xce\xfa\xed\xfe", "program"),
    (b"\xcf\xfa\xed\xfe", "program"),
    (b"\xca\xfe\xba\xbe", "program"),
    (b"\x00asm", "program"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"Rar!\x1a\x07", "rar archive"),
    (b"\x04\x22\x4d\x18", "lz4 data"),
    (b"ggjt", "GGML file of before GGUF"),
    (b"tjgg", "GGML file of before GGUF"),
    (b"lmgg", "GGML file of before GGUF"),
    (b"fmgg", "GGML file of before GGUF"),
    (b"\x89PNG\r\n\x1a\n", "media"),
    (b"\xff\xd8\xff", "media"),
    (b"GIF87a", "media"),
    (b"GIF89a", "media"),
    (b"RIFF", "media"),
    (b"OggS", "media"),
    (b"fLaC", "media"),
    (b"ID3", "media"),
    (b"PAR1", "table"),
    (b"ARROW1", "table"),
    (b"%PDF-", "PDF"),
)


def detect(source: Source) -> str:
    """Give the kind of a file: a word that the scan has a check for, or a name for a person.

    `text` is UTF-8 without control bytes; `empty` has no bytes; `unknown` is none of all.
    """
    head = source.read(0, HEAD_BYTES)
    if not head:
        return "empty"
    for magic, kind in _MAGIC:
        if head.startswith(magic) and (magic != b"MZ" or _is_windows_program(source, head)):
            return kind
    if _is_safetensors(head, source.size):
        return "safetensors"
    if len(head) >= 8 and head[4:8] == b"TFL3":
        return "tflite"
    if is_tar_header(head[:512]):
        return "tar"
    if _is_zlib(head):
        return "zlib"
    if any(source.read(at, 8) == _HDF5 for at in (512, 1024, 2048)):
        return "hdf5"
    if head[0] in (0x08, 0x0A, 0x12):
        message = _of_protobuf(source)
        if message:
            return message
    if _is_text(head):
        return "text"
    return "unknown"


def _is_windows_program(source: Source, head: bytes) -> bool:
    """Whether the second header is where the first says: two letters alone are a matter of chance."""
    at = int.from_bytes(head[0x3C:0x40], "little")
    return source.read(at, 4) == b"PE\0\0" or source.read(at, 2) in (b"NE", b"LE", b"LX")


def _is_safetensors(head: bytes, size: int) -> bool:
    if len(head) < 10 or head[8:9] != b"{":
        return False
    length = int.from_bytes(head[:8], "little")
    if 2 <= length <= size - 8 and length <= 100_000_000 and head[9:10] in b'"} \n\t':
        return True
    return b'"dtype"' in head or b'"data_offsets"' in head or b'"__metadata__"' in head


def _is_zlib(head: bytes) -> bool:
    if head[0] != 0x78 or len(head) < 8 or int.from_bytes(head[:2], "big") % 31:
        return False
    try:
        return bool(zlib.decompressobj().decompress(head, 64))
    except zlib.error:
        return False


def _of_protobuf(source: Source) -> str | None:
    fields = outline(source)
    if fields is None:
        return None
    kinds = {number for number, _ in fields}
    if (7, 2) in fields and kinds <= {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}:
        return "onnx"
    if fields[0] in ((1, 0), (2, 2)) and kinds <= {1, 2} and (2, 2) in fields:
        return "savedmodel"
    first = source.read(0, 64)
    if fields[0] == (1, 2) and kinds <= {1, 2, 3, 4, 5} and first[2:3] == b"\x0a":
        # A piece of a vocabulary is a text and a float; a node of a graph is texts.
        length = first[3] if len(first) > 3 else 0
        return (
            "sentencepiece"
            if first[4 + length : 5 + length] in (b"\x15", b"\x18", b"")
            else "graphdef"
        )
    return None


def _is_text(head: bytes) -> bool:
    if any(byte < 0x20 and byte not in (0x09, 0x0A, 0x0C, 0x0D, 0x1B) for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A letter may be cut at the end of what was read.
        return len(head) - error.start < 4 <= len(head)
    return True
