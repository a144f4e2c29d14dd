"""What the gate keeps in the data directory: verdicts by hash, quarantine, and hashes already taken.

Small JSON files in `trust/`. Writers hold a lock and replace a file whole, so that processes that
run side by side lose nothing of each other's, and a reader sees the old state or the new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from pointsman.errors import TrustError
from pointsman.trust.canary_record import CanaryRecord

__all__ = ["Kept", "Quarantine", "State"]

MAX_STATE_BYTES = 64 * 1024 * 1024
MAX_STAMPS = 10_000

T = TypeVar("T")


class Kept(Struct, frozen=True):
    """The verdict on a file: what was found as (rule, severity), and how much could not be checked.

    `at` is ISO 8601 in UTC, `tools` name → version.
    """

    findings: tuple[tuple[str, str], ...]
    incomplete: int
    at: str
    tools: dict[str, str]


class Quarantine(Struct, frozen=True):
    """Why a model was set aside; its files are refused by hash too, whatever they are called."""

    reason: str
    at: str
    sha256: tuple[str, ...] = ()


class _Stamp(Struct, frozen=True, array_like=True):
    """What the system says of a file when its hash was taken. A change sets ctime, which none can set back."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    sha256: str


def _seen(path: Path) -> tuple[int, int, int, int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


class State:
    """The files in `folder`, which is made when something is first written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def verdicts(self) -> dict[str, Kept]:
        """SHA-256 of a file → its verdict.

        Raises:
            TrustError: the file is there and cannot be read; so do the other readers.
        """
        return self._read("verdicts.json", dict[str, Kept])

    def keep_verdict(self, hashes: Iterable[str], kept: Kept) -> None:
        """Write a verdict down for all files of a model, each by its SHA-256."""
        with self._changing("verdicts.json", dict[str, Kept]) as verdicts:
            verdicts.update(dict.fromkeys(hashes, kept))

    def quarantined(self) -> dict[str, Quarantine]:
        """Name of a model → why it is set aside."""
        return self._read("quarantine.json", dict[str, Quarantine])

    def set_aside(self, name: str, entry: Quarantine) -> None:
        """Put a model into quarantine."""
        with self._changing("quarantine.json", dict[str, Quarantine]) as names:
            names[name] = entry

    def release(self, name: str) -> bool:
        """Take a model out of quarantine; False if it was not in it."""
        with self._changing("quarantine.json", dict[str, Quarantine]) as names:
            return names.pop(name, None) is not None

    def quarantine_stamp(self) -> tuple[int, int, int] | None:
        """What the system says of the file with the quarantined models; another after each change."""
        try:
            stat = (self.folder / "quarantine.json").stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def canaries(self) -> dict[str, CanaryRecord]:
        """Name of a canary → what is kept of it.

        Raises:
            TrustError: as `verdicts`.
        """
        return self._read("canaries.json", dict[str, CanaryRecord])

    def change_canary(
        self, name: str, change: Callable[[CanaryRecord | None], CanaryRecord | None]
    ) -> CanaryRecord | None:
        """Keep what `change` makes of a canary's record, and give it; None changes nothing.

        No other process changes it meanwhile.
        """
        with self._changing("canaries.json", dict[str, CanaryRecord]) as records:
            record = change(records.get(name))
            if record is not None:
                records[name] = record
            return record

    def sha256(self, path: Path) -> str:
        """Give a file's hash; one that was taken before, and that no change has touched since, is kept.

        Raises:
            TrustError: the file cannot be read.
        """
        known = self.known_sha256(path)
        if known is not None:
            return known
        try:
            seen = _seen(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise TrustError(f"{path} cannot be read: {error.strerror or error}") from error
        with self._changing("stamps.json", dict[str, _Stamp]) as stamps:
            key = str(path.resolve())
            stamps.pop(key, None)
            stamps[key] = _Stamp(*seen, digest)
            while len(stamps) > MAX_STAMPS:
                del stamps[next(iter(stamps))]
        return digest

    def known_sha256(self, path: Path) -> str | None:
        """Give a file's hash if it was taken before and no change has touched it since, without reading it."""
        stamp = self._read("stamps.json", dict[str, _Stamp]).get(str(path.resolve()))
        try:
            seen = _seen(path)
        except OSError:
            return None
        return stamp.sha256 if stamp and seen == msgspec.structs.astuple(stamp)[:-1] else None

    def _read(self, name: str, kind: type[T]) -> T:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                data = file.read(MAX_STATE_BYTES + 1)
            if len(data) > MAX_STATE_BYTES:
                raise TrustError(f"{path} is over {MAX_STATE_BYTES} bytes: delete it")
            return msgspec.json.decode(data, type=kind)
        except FileNotFoundError:
            return kind()
        except (OSError, msgspec.DecodeError) as error:
            raise TrustError(
                f"{path} cannot be read: {error}; delete it, and verify anew"
            ) from error

    @contextmanager
    def _changing(self, name: str, kind: type[T]) -> Iterator[T]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                value = self._read(name, kind)
                yield value
                scratch = self.folder / f".{name}.new"
                scratch.write_bytes(msgspec.json.encode(value))
                scratch.replace(self.folder / name)
            finally:
                os.close(handle)
        except OSError as error:
            raise TrustError(
                f"{self.folder} cannot be written: {error.strerror or error}"
            ) from error
