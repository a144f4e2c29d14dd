"""A file that is being fetched: its pieces as they come, and a journal that outlives us.

The journal is only ever added to: one line for each piece that was written, with its checksum.
Whatever ends the process or the machine, a piece counts if, and only if, it reads as it was written.
So nothing need be forced to the disk on the way.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.manifest import sync_folder

__all__ = ["PIECE_BYTES", "Identity", "Part"]

PIECE_BYTES = 1024 * 1024
_MAX_LINE_BYTES = 32
_MAX_HEADER_BYTES = 4096


class Identity(Struct, frozen=True):
    """Which version of a file it is: its size, and a hash or what the server calls it."""

    size_bytes: int | None = None
    sha256: str | None = None
    validator: str | None = None

    def same(self, other: Identity) -> bool:
        """Whether both are surely one file: two that cannot be told apart are not."""
        if self.size_bytes is None or self.size_bytes != other.size_bytes:
            return False
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        return self.validator is not None and self.validator == other.validator


class Part:
    """The partial file beside `target`. `put` may be called from any thread, the rest from one.

    A journal is kept if `resumable`, and if the file's size and version can be told.
    """

    def __init__(self, target: Path, identity: Identity, *, resumable: bool = True) -> None:
        self.target = target
        self.identity = identity
        self.path = target.with_name(f"{target.name}.part")
        self.journal = target.with_name(f"{target.name}.part.journal")
        self.done_bytes = 0
        self._kept = resumable and identity.same(identity)
        self._done: set[int] = set()
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._hashed = 0  # Pieces, from the beginning on.
        self._file = -1
        self._log = -1

    def open(self, progress: Callable[[int], None] = lambda done: None) -> None:
        """Open it, with the pieces that an earlier fetch of the same version has left."""
        known = self._read_journal() if self._kept else {}
        if known and not self.path.exists() and self.target.exists():
            self.target.replace(self.path)  # It was finished with `keep_journal`.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if known else os.O_TRUNC)
        self._file = os.open(self.path, flags, 0o644)
        lines = []
        for index, check in sorted(known.items()):
            data = self._read(index)
            if len(data) == self.length(index) and zlib.crc32(data) == check:
                self._take(index, data)
                lines.append(_line(index, check))
                progress(self.done_bytes)
        if not self._kept:
            self.journal.unlink(missing_ok=True)
            return
        # Written anew, so that a line that was cut short, or did not hold, is gone.
        scratch = self.journal.with_name(f"{self.journal.name}.new")
        scratch.write_bytes(msgspec.json.encode(self.identity) + b"\n" + b"".join(lines))
        scratch.replace(self.journal)
        self._log = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def length(self, index: int) -> int:
        """How many bytes a piece has."""
        size = self.identity.size_bytes
        return PIECE_BYTES if size is None else min(PIECE_BYTES, size - index * PIECE_BYTES)

    def missing(self) -> list[tuple[int, int]]:
        """The runs of pieces that are not there, as (first, the one after the last)."""
        runs: list[tuple[int, int]] = []
        for index in range(-(-(self.identity.size_bytes or 0) // PIECE_BYTES)):
            if index in self._done:
                continue
            if runs and runs[-1][1] == index:
                runs[-1] = (runs[-1][0], index + 1)
            else:
                runs.append((index, index + 1))
        return runs

    def put(self, index: int, data: bytes | bytearray) -> bool:
        """Write a piece; gives whether it was taken: one that comes after `close` is not."""
        check = zlib.crc32(data)
        with self._lock:
            if self._file < 0:
                return False
            view, at = memoryview(data), index * PIECE_BYTES
            while view:
                written = os.pwrite(self._file, view, at)
                view, at = view[written:], at + written
            if self._log >= 0:
                os.write(self._log, _line(index, check))
            self._done.add(index)
            self.done_bytes += len(data)
        return True

    def hash_on(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Hash the pieces that are there without a gap since the beginning, while not `until`.

        Gives whether there are more.
        """
        while self._hashed in self._done:
            if until():
                return True
            self._hash.update(self._read(self._hashed))
            self._hashed += 1
        return False

    def finish(self, *, keep_journal: bool = False) -> str:
        """Have the whole file on the disk under its name; gives its sha256.

        With `keep_journal` a later fetch finds it to be there, if it is still the same version.

        Raises:
            LocalError: it is not the file that was to come; then nothing of it is left.
        """
        self.hash_on()
        digest, wanted = self._hash.hexdigest(), self.identity.sha256
        if wanted is not None and digest != wanted:
            self.discard()
            raise LocalError(
                f"{self.target.name} has sha256 {digest}, expected {wanted}; nothing was kept"
            )
        os.fsync(self._file)
        self.path.replace(self.target)
        self.close()
        if not keep_journal:
            self.journal.unlink(missing_ok=True)
        sync_folder(self.target.parent)
        return digest

    def close(self) -> None:
        """Let go of the file; what is there stays for the next fetch, where there is a journal."""
        with self._lock:
            kept, held = self._log >= 0 or self._file < 0, (self._file, self._log)
            self._file = self._log = -1
            for handle in held:
                if handle >= 0:
                    os.close(handle)
        if not kept:
            self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Close it and delete what is there."""
        self.close()
        self.journal.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _take(self, index: int, data: bytes) -> None:
        self._done.add(index)
        self.done_bytes += len(data)
        if index == self._hashed:
            self._hash.update(data)
            self._hashed += 1

    def _read(self, index: int) -> bytes:
        """Read a piece; one that is at the file's end may be shorter."""
        at, pieces, need = index * PIECE_BYTES, [], self.length(index)
        while need and (data := os.pread(self._file, need, at)):
            pieces.append(data)
            need, at = need - len(data), at + len(data)
        return b"".join(pieces)

    def _read_journal(self) -> dict[int, int]:
        """Give the checksums by piece; nothing if it is of another version of the file."""
        size = self.identity.size_bytes or 0
        count = -(-size // PIECE_BYTES)
        try:
            with self.journal.open("rb") as file:
                text = file.read(_MAX_HEADER_BYTES + 2 * count * _MAX_LINE_BYTES)
            head, *lines = text.split(b"\n")[:-1]
            if not self.identity.same(msgspec.json.decode(head, type=Identity)):
                return {}
        except (OSError, ValueError):
            return {}  # None was kept, or it is not one of ours.
        known = {}
        for line in lines:
            try:
                index, check = (int(word, 16) for word in line.split(b" "))
            except ValueError:
                continue
            if 0 <= index < count:
                known[index] = check
        return known


def _line(index: int, check: int) -> bytes:
    return b"%x %08x\n" % (index, check)
