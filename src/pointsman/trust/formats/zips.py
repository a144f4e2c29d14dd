"""Reads zip archives as hostile input, the way a loader that forgives everything would.

Python's zipfile stops at a wrong checksum, a set encryption bit or a header that differs; PyTorch's
reader goes on. So members are taken from the directory *and* from local headers, unpacked
whatever the flags say, and each disagreement is a finding.

Source: PKWARE APPNOTE 6.3.10 (local header 4.3.7, directory 4.3.12, zip64 4.3.14, end 4.3.16).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from msgspec import Struct

from pointsman.trust.formats.context import Scan
from pointsman.trust.formats.names import check_member_name
from pointsman.trust.formats.source import Source
from pointsman.trust.formats.unpack import Unpacked, unpack_to_source
from pointsman.trust.rules.archives import ARCHIVE_LINK, ARCHIVE_MISMATCH

__all__ = ["ZipEntry", "find_zip_end", "open_entry", "read_zip"]

_LOCAL, _CENTRAL, _END, _END64 = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06"
MAX_TAIL_BYTES = 65_535 + 22 + 20
MAX_DIRECTORY_BYTES = 32 * 1024 * 1024
MAX_NAME_BYTES = 4_096
MAX_GAP_BYTES = 64 * 1024 * 1024
_STORED, _DEFLATED, _BZIP2 = 0, 8, 12
_SYMLINK = 0o120000


class ZipEntry(Struct, frozen=True):
    """A member, with the sizes that its directory entry (or else its local header) claims."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    header_at: int
    data_at: int
    hidden: bool = False
    mode: int = 0


def find_zip_end(source: Source) -> int | None:
    """Give the offset of the end record, looked for from the end; None where there is none."""
    start = max(0, source.size - MAX_TAIL_BYTES)
    tail = source.read(start, source.size - start)
    at = tail.rfind(_END)
    while at >= 0:
        if len(tail) - at >= 22:
            return start + at
        at = tail.rfind(_END, 0, at)
    return None


def read_zip(source: Source, scan: Scan) -> list[ZipEntry]:
    """Give the members of a zip archive: those of its directory, then those that it leaves out.

    What does not fit together is noted as a finding or as not checked.
    """
    entries = []
    end = find_zip_end(source)
    if end is None:
        scan.cannot_check(
            source.name, "its zip directory is missing; members were looked for without it"
        )
    else:
        entries = list(_directory(source, end, scan))
    known = {entry.header_at for entry in entries}
    entries.extend(_hidden(source, known, entries, scan))
    return entries


def _directory(source: Source, end: int, scan: Scan) -> Iterator[ZipEntry]:
    path = source.name
    count, size, offset = _extent(source, end)
    if size > MAX_DIRECTORY_BYTES:
        scan.cannot_check(path, f"its zip directory claims {size} bytes")
        return
    # What stands before the archive shifts every offset in it; readers allow for that.
    shift = end - size - offset
    start = offset + shift if source.read(offset + shift, 4) == _CENTRAL else offset
    shift = start - offset
    raw = source.read(start, size)
    at, seen = 0, set()
    while raw[at : at + 4] == _CENTRAL and len(raw) - at >= 46:
        entry, at = _central(source, raw, at, shift)
        if not scan.count_member(path):
            return
        if entry.name in seen:
            scan.add(
                ARCHIVE_MISMATCH,
                path,
                f"The member {entry.name[:200]!r} is listed twice; readers differ in which they take.",
            )
        seen.add(entry.name)
        count -= 1
        yield _checked(source, entry, scan)
    if count:
        scan.add(
            ARCHIVE_MISMATCH,
            path,
            "Its zip directory does not hold as many members as it claims.",
            offset=start,
        )


def _extent(source: Source, end: int) -> tuple[int, int, int]:
    """Give (members, bytes, offset) of the directory, from the zip64 record where there is one."""
    count, size, offset = struct.unpack_from("<HII", source.read(end + 10, 10))
    if 0xFFFF in (count,) or 0xFFFFFFFF in (size, offset):
        locator = source.read(end - 20, 20)
        if locator[:4] == b"PK\x06\x07":
            record = source.read(int.from_bytes(locator[8:16], "little"), 56)
            if record[:4] != _END64:
                record = source.read(end - 76, 56)
            if record[:4] == _END64 and len(record) == 56:
                count, size, offset = struct.unpack_from("<QQQ", record, 32)
    return count, size, offset


def _central(source: Source, raw: bytes, at: int, shift: int) -> tuple[ZipEntry, int]:
    (flags, method, crc, packed, size, names, extras, comments, attributes, offset) = (
        struct.unpack_from("<8xHH4xIIIHHH4xII", raw, at)
    )
    name = raw[at + 46 : at + 46 + names]
    extra = raw[at + 46 + names : at + 46 + names + extras]
    size, packed, offset = _wide(extra, size, packed, offset)
    entry = ZipEntry(
        name=_text(name, flags),
        method=method,
        crc=crc,
        packed=packed,
        size=size,
        header_at=offset + shift,
        data_at=-1,
        mode=attributes >> 16,
    )
    return entry, at + 46 + names + extras + comments


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Take those fields from the zip64 extra that the entry itself leaves open."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            numbers = extra[at + 4 : at + 4 + length]
            wide = [int.from_bytes(numbers[i : i + 8], "little") for i in range(0, length - 7, 8)]
            fields = []
            for value in (size, packed, offset):
                fields.append(wide.pop(0) if value == 0xFFFFFFFF and wide else value)
            return fields[0], fields[1], fields[2]
        at += 4 + length
    return size, packed, offset


def _text(name: bytes, flags: int) -> str:
    return name[:MAX_NAME_BYTES].decode("utf-8" if flags & 0x800 else "cp437", "backslashreplace")


def _checked(source: Source, entry: ZipEntry, scan: Scan) -> ZipEntry:
    """Give the entry with the place of its data; what its local header says otherwise is noted."""
    path = source.name
    shown = repr(entry.name[:200])
    check_member_name(entry.name, path, scan)
    if entry.mode & 0o170000 == _SYMLINK:
        scan.add(ARCHIVE_LINK, path, f"The member {shown} is a symbolic link.")
    head = source.read(entry.header_at, 30)
    if head[:4] != _LOCAL or len(head) < 30:
        scan.add(
            ARCHIVE_MISMATCH,
            path,
            f"The member {shown} has no header where the directory says.",
            offset=entry.header_at,
        )
        return entry
    flags, method, crc, packed, size, names, extras = struct.unpack_from("<6xHH4xIIIHH", head)
    name = _text(source.read(entry.header_at + 30, names), flags)
    wrong = []
    if name != entry.name:
        wrong.append(f"the name {name[:200]!r}")
    if method != entry.method:
        wrong.append(f"the method {method}, not {entry.method}")
    if flags & 1:
        wrong.append("that it is encrypted")
    # With bit 3 the sizes follow the data, and zip64 leaves them open.
    if not flags & 8 and 0xFFFFFFFF not in (packed, size):
        if (packed, size) != (entry.packed, entry.size):
            wrong.append(f"the sizes {packed} and {size}, not {entry.packed} and {entry.size}")
        if crc != entry.crc:
            wrong.append("another checksum")
    if wrong:
        scan.add(
            ARCHIVE_MISMATCH,
            path,
            f"The local header of {shown} says {', '.join(wrong)}.",
            offset=entry.header_at,
        )
    data_at = entry.header_at + 30 + names + extras
    if data_at + entry.packed > source.size:
        scan.add(
            ARCHIVE_MISMATCH,
            path,
            f"The member {shown} reaches past the end of the file.",
            offset=data_at,
        )
    return _at(entry, data_at)


def _at(entry: ZipEntry, data_at: int) -> ZipEntry:
    return ZipEntry(
        entry.name, entry.method, entry.crc, entry.packed, entry.size, entry.header_at, data_at,
        entry.hidden, entry.mode,
    )  # fmt: skip


_LOCAL_PATTERN = re.compile(re.escape(_LOCAL))


def _hidden(
    source: Source, known: set[int], entries: list[ZipEntry], scan: Scan
) -> Iterator[ZipEntry]:
    """Give the members whose local headers the directory leaves out.

    Stored members may hold whole archives, whose headers are looked at when they are.
    """
    inside = sorted(
        (each.data_at, each.data_at + each.packed) for each in entries if each.data_at >= 0
    )
    at, turn = 0, 0
    while at < source.size:
        # Only the gaps between members are searched, so that large weights are not read.
        while turn < len(inside) and inside[turn][1] <= at:
            turn += 1
        if turn < len(inside) and inside[turn][0] <= at:
            at = inside[turn][1]
            continue
        stop = inside[turn][0] if turn < len(inside) else source.size
        yield from _headers(source, at, min(stop, at + MAX_GAP_BYTES), known, scan)
        if stop - at > MAX_GAP_BYTES:
            scan.cannot_check(source.name, f"{stop - at} bytes at {at} belong to no member")
        at = stop


def _headers(
    source: Source, start: int, stop: int, known: set[int], scan: Scan
) -> Iterator[ZipEntry]:
    gap = source.window(source.name, start, stop - start)
    for base, piece in gap.chunks(overlap=3):
        for match in _LOCAL_PATTERN.finditer(piece):
            at = start + base + match.start()
            head = source.read(at, 30)
            if at in known or len(head) < 30:
                continue
            known.add(at)
            flags, method, crc, packed, size, names, extras = struct.unpack_from(
                "<6xHH4xIIIHH", head
            )
            if method not in (_STORED, _DEFLATED, _BZIP2) or names > MAX_NAME_BYTES:
                continue
            if not scan.count_member(source.name):
                return
            name = _text(source.read(at + 30, names), flags)
            scan.add(
                ARCHIVE_MISMATCH,
                source.name,
                f"The member {name[:200]!r} is not in the zip directory.",
                offset=at,
            )
            data_at = at + 30 + names + extras
            length = packed or source.size - data_at
            yield ZipEntry(name, method, crc, length, size, at, data_at, hidden=True)


def open_entry(source: Source, entry: ZipEntry, scan: Scan) -> Source | None:
    """Give a member's bytes, unpacked whatever its flags and checksum say; None where it can't be.

    A stored member is a window on the archive and costs nothing; the rest goes to a scratch file
    within the scan's limits.
    """
    name = f"{source.name}!{entry.name[:400]}"
    if entry.data_at < 0:
        scan.cannot_check(name, "it has no header where the directory says")
        return None
    raw = source.window(name, entry.data_at, entry.packed)
    if entry.method == _STORED:
        _check_crc(raw, entry, scan, None)
        return raw
    if entry.method not in (_DEFLATED, _BZIP2):
        scan.cannot_check(
            name, f"it is packed by the method {entry.method}, which is not known here"
        )
        return None
    done = unpack_to_source(raw, "deflate" if entry.method == _DEFLATED else "bzip2", scan)
    _check_crc(done.source, entry, scan, done)
    return done.source


# A checksum needs the whole member; large ones are weights, which no payload hides in by its CRC.
MAX_CRC_BYTES = 64 * 1024 * 1024


def _check_crc(member: Source, entry: ZipEntry, scan: Scan, unpacked: Unpacked | None) -> None:
    if entry.hidden or member.size > MAX_CRC_BYTES or (unpacked and unpacked.cut):
        return
    crc = 0
    for _, piece in member.chunks():
        crc = zlib.crc32(piece, crc)
    if crc != entry.crc:
        scan.add(
            ARCHIVE_MISMATCH,
            member.name,
            "Its checksum is wrong: some readers stop here, others load it.",
        )
    if member.size != entry.size and unpacked is not None:
        scan.add(
            ARCHIVE_MISMATCH,
            member.name,
            f"It unpacks to {member.size} bytes, not to {entry.size}.",
        )
