"""Unpacks compressed bytes into a scratch file, within limits of bytes and growth."""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from msgspec import Struct

from pointsman.trust.formats.context import Scan
from pointsman.trust.formats.source import Source
from pointsman.trust.rules.archives import ARCHIVE_BOMB

__all__ = ["Unpacked", "unpack_to_source"]

PIECE_BYTES = 256 * 1024
# Weights that compress 500 times are none.
MAX_GROWTH = 500
FREE_BYTES = 64 * 1024 * 1024
_LZMA_MEMORY_BYTES = 128 * 1024 * 1024


class Unpacked(Struct):
    """What came out. `cut` says that it ended before its time: a limit, or broken data."""

    source: Source
    cut: bool


class _Machine(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Zlib:
    """zlib's machine in the form of the others': it holds what it was not asked to give yet."""

    def __init__(self, window_bits: int) -> None:
        self._machine = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._machine.eof

    @property
    def unused_data(self) -> bytes:
        return self._machine.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._machine.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._machine.decompress(self._machine.unconsumed_tail + data, max_length)


def _zstd() -> _Machine:
    # In the standard library from Python 3.14.
    module: Any = importlib.import_module("compression.zstd")
    machine: _Machine = module.ZstdDecompressor(options=None)
    return machine


_MACHINES: dict[str, Callable[[], _Machine]] = {
    "deflate": lambda: _Zlib(-15),
    "zlib": lambda: _Zlib(15),
    "gzip": lambda: _Zlib(31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES),
    "zstd": _zstd,
}
# These formats may follow one another in one file.
_REPEATED = {"gzip", "bzip2", "xz", "zstd"}


def unpack_to_source(packed: Source, kind: str, scan: Scan) -> Unpacked:
    """Give what the bytes unpack to, in a scratch file that lives as long as the scan.

    Broken data gives what came before the break, and a limit what came before it; both are noted.
    """
    scratch = scan.scratch()
    name = packed.name
    written, cut = 0, False
    try:
        for piece in _pieces(packed, _MACHINES[kind], kind):
            if written > FREE_BYTES and written > packed.size * MAX_GROWTH:
                scan.add(ARCHIVE_BOMB, name, f"{packed.size} bytes unpack to over {written}.")
                cut = True
                break
            if len(piece) > scan.room():
                scan.cannot_check(
                    name, f"over {scan.limits.expanded_bytes} bytes were unpacked in all"
                )
                cut = True
                break
            scratch.write(piece)
            written += len(piece)
            scan.expanded_bytes += len(piece)
    except ModuleNotFoundError:
        scan.cannot_check(name, f"{kind} is read from Python 3.14 on")
        cut = True
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError) as error:
        scan.cannot_check(
            name, f"its {kind} data breaks off after {written} bytes: {str(error)[:100]}"
        )
        cut = True
    return Unpacked(Source.of_file(name, scratch), cut)


def _pieces(packed: Source, make: Callable[[], _Machine], kind: str) -> Iterator[bytes]:
    machine: Any = make()
    for _, chunk in packed.chunks():
        data = chunk
        while True:
            piece = machine.decompress(data, PIECE_BYTES)
            if piece:
                yield piece
            data = b""
            if machine.eof:
                data = machine.unused_data
                if kind not in _REPEATED or not data.strip(b"\0"):
                    return
                machine = make()
            elif getattr(machine, "needs_input", True) and len(piece) < PIECE_BYTES:
                break
    if not machine.eof:
        raise EOFError("it ends in the middle")
