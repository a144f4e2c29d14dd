"""Reads tar archives as hostile input; members are windows on the archive, nothing is unpacked.

Source: POSIX.1-2008 pax interchange format; GNU tar manual, "Basic Tar Format" (long names L and K).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from msgspec import Struct

from pointsman.trust.formats.context import Scan
from pointsman.trust.formats.names import check_member_name, escapes
from pointsman.trust.formats.source import Source
from pointsman.trust.rules.archives import ARCHIVE_LINK, ARCHIVE_MISMATCH

__all__ = ["is_tar_header", "read_tar"]

BLOCK = 512
MAX_EXTENSION_BYTES = 1024 * 1024
_FILES, _LINKS, _SPECIAL = b"0\0" + b"7", b"12", b"346"


class _Pending(Struct):
    """What extension headers say of the next member."""

    name: str | None = None
    link: str | None = None
    size: int | None = None


def is_tar_header(block: bytes) -> bool:
    """Whether a block of 512 bytes is a tar header: its checksum is right, or its magic is there."""
    return (
        len(block) == BLOCK
        and block[0] != 0
        and (_sum_is_right(block) or block[257:262] == b"ustar")
    )


def _sum_is_right(block: bytes) -> bool:
    try:
        given = int(block[148:156].rstrip(b" \0") or b"-1", 8)
    except ValueError:
        return False
    return given == sum(block[:148]) + 8 * 32 + sum(block[156:])


def _number(field: bytes) -> int | None:
    if field[:1] in (b"\x80", b"\xff"):
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else None
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def read_tar(source: Source, scan: Scan) -> Iterator[Source]:
    """Give each file among the members; names, links and devices are checked on the way."""
    at, pending = 0, _Pending()
    while at + BLOCK <= source.size:
        block = source.read(at, BLOCK)
        if not block.strip(b"\0"):
            at += BLOCK
            # Two blocks of zeros end an archive; readers told to ignore them go on, and so do we.
            if not source.read(at, BLOCK).strip(b"\0"):
                _check_tail(source, at, scan)
                return
            continue
        if not is_tar_header(block):
            scan.add(
                ARCHIVE_MISMATCH,
                source.name,
                "A tar header is broken; what follows it was not read.",
                offset=at,
            )
            scan.cannot_check(source.name, f"its tar members after byte {at}")
            return
        if not _sum_is_right(block):
            scan.add(ARCHIVE_MISMATCH, source.name, "A tar header's checksum is wrong.", offset=at)
        size = _number(block[124:136])
        kind = block[156:157]
        if pending.size is not None and kind in (b"0", b"\0", b"7"):
            size = pending.size
        if size is None or size < 0 or at + BLOCK + size > source.size:
            scan.add(
                ARCHIVE_MISMATCH,
                source.name,
                f"A tar member claims {size} bytes, past the end.",
                offset=at,
            )
            size = max(0, source.size - at - BLOCK)
        data = source.window(source.name, at + BLOCK, size)
        if kind in b"LKxg":
            _extension(kind, data, pending, scan)
        else:
            if not scan.count_member(source.name):
                return
            yield from _member(block, kind, data, pending, scan)
            pending = _Pending()
        at += BLOCK + -(-size // BLOCK) * BLOCK


def _extension(kind: bytes, data: Source, pending: _Pending, scan: Scan) -> None:
    if data.size > MAX_EXTENSION_BYTES:
        scan.cannot_check(data.name, f"a tar extension header of {data.size} bytes")
        return
    raw = data.read(0, data.size)
    if kind == b"L":
        pending.name = _text(raw)
    elif kind == b"K":
        pending.link = _text(raw)
    else:
        fields = _pax(raw)
        pending.name = fields.get("path", pending.name)
        pending.link = fields.get("linkpath", pending.link)
        size = fields.get("size", "")
        if size.isascii() and size.isdigit() and len(size) < 20:
            pending.size = int(size)


def _pax(raw: bytes) -> dict[str, str]:
    """Records of `LENGTH KEY=VALUE\\n`."""
    fields, at = {}, 0
    while at < len(raw):
        length, _, _ = raw[at : at + 20].partition(b" ")
        if not length.isdigit() or int(length) <= len(length) + 1:
            break
        record = raw[at + len(length) + 1 : at + int(length)]
        key, _, value = record.rstrip(b"\n").partition(b"=")
        fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "backslashreplace")
        at += int(length)
    return fields


def _member(
    block: bytes, kind: bytes, data: Source, pending: _Pending, scan: Scan
) -> Iterator[Source]:
    name = pending.name or _text(block[:100])
    prefix = _text(block[345:500])
    if pending.name is None and block[257:263] == b"ustar\0" and prefix:
        name = f"{prefix}/{name}"
    check_member_name(name, data.name, scan)
    shown = repr(name[:200])
    if kind in _LINKS:
        target = pending.link or _text(block[157:257])
        # A hard link's target counts from the archive's root, a symbolic one's from its own folder.
        base = posixpath.dirname(name) if kind == b"2" else ""
        if escapes(target) and escapes(posixpath.normpath(posixpath.join(base, target))):
            scan.add(ARCHIVE_LINK, data.name, f"The member {shown} is a link to {target[:200]!r}.")
    elif kind in _SPECIAL and kind != b"5":
        scan.add(ARCHIVE_LINK, data.name, f"The member {shown} is a device or a pipe.")
    elif kind != b"5":
        yield data.window(f"{data.name}!{name[:400]}", 0, data.size)


def _check_tail(source: Source, at: int, scan: Scan) -> None:
    rest = source.window(source.name, at, source.size - at)
    for offset, piece in rest.chunks(limit=MAX_EXTENSION_BYTES):
        if piece.strip(b"\0"):
            scan.add(
                ARCHIVE_MISMATCH,
                source.name,
                "Bytes follow the end of the tar archive.",
                offset=at + offset,
            )
            return
