"""The lines that were typed, kept for the next time in a file that only their owner may read."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

__all__ = ["History"]

MAX_ENTRIES = 1000
MAX_ENTRY_CHARS = 10_000
MAX_FILE_BYTES = 1024 * 1024


class History:
    """A file of lines of JSON, one string each: an entry may itself have several lines.

    Sessions add to it side by side. A fault of the file ends the keeping, not the conversation:
    `fault` says it.
    """

    def __init__(self, path: Path) -> None:
        self.fault: str | None = None
        self._path = path

    def entries(self) -> list[str]:
        """The newest 1000 entries, oldest first; a file over 1 MiB is cut down to them."""
        try:
            size = self._path.stat().st_size
            with self._path.open("rb") as file:
                file.seek(max(0, size - MAX_FILE_BYTES))
                lines = file.read(MAX_FILE_BYTES).splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            self.fault = f"{self._path}: {error.strerror or error}"
            return []
        found = [entry for line in lines if (entry := _entry(line)) is not None][-MAX_ENTRIES:]
        if size > MAX_FILE_BYTES:
            self._write(found, os.O_TRUNC)
        return found

    def add(self, entry: str) -> None:
        """Keep an entry; one of over 10,000 characters is not kept."""
        if entry.strip() and len(entry) <= MAX_ENTRY_CHARS and self.fault is None:
            self._write([entry], os.O_APPEND)

    def _write(self, entries: list[str], mode: int) -> None:
        data = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | mode, 0o600)
            try:
                os.fchmod(handle, 0o600)
                os.write(handle, data)
            finally:
                os.close(handle)
        except OSError as error:
            self.fault = f"{self._path}: {error.strerror or error}"


def _entry(line: bytes) -> str | None:
    try:
        return msgspec.json.decode(line, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # The first, cut line of a long file, or one of another program.
