"""What is in a fetched package: a wheel, or a folder that one was unpacked into."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from msgspec import Struct

from pointsman.errors import LocalError

__all__ = ["Member", "members_of"]

MAX_MEMBERS = 20_000


class Member(Struct, frozen=True):
    """One file. `name` is its path in the package; `wheel` is None where it is unpacked."""

    name: str
    size_bytes: int
    path: Path
    wheel: bool

    def read(self, limit: int) -> bytes:
        """Give its content, up to `limit` bytes."""
        with self._open() as file:
            return file.read(limit)

    def pieces(self, count: int) -> Iterator[bytes]:
        """Give its content piece by piece, never more than its size.

        Raises:
            LocalError: it cannot be read, or is not as long as it says.
        """
        left = self.size_bytes
        with self._open() as file:
            while left and (piece := file.read(min(count, left))):
                left -= len(piece)
                yield piece
        if left:
            raise LocalError(f"{self.name} is cut short in {self.path.name}")

    def drop(self) -> None:
        """Delete it, to make room; a wheel stays while it has other members."""
        if not self.wheel:
            self.path.unlink(missing_ok=True)

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        try:
            if not self.wheel:
                with self.path.open("rb") as file:
                    yield file
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.name) as file:
                    yield file
        except (KeyError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
            raise LocalError(
                f"{self.name} cannot be taken out of {self.path.name}: {error}"
            ) from error


def members_of(folder: Path) -> list[Member]:
    """All files of the wheels in a folder, or of the folder itself; no links.

    Raises:
        LocalError: a wheel that is no archive, or too many files.
    """
    found: list[Member] = []
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                found += [
                    Member(each.filename, each.file_size, wheel, True)
                    for each in archive.infolist()
                    if not each.is_dir()
                ]
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise LocalError(f"a file cannot be taken out of {wheel.name}: {error}") from error
    if not wheels:
        found = [
            Member(str(each.relative_to(folder)), each.stat().st_size, each, False)
            for each in sorted(folder.rglob("*"))
            if each.is_file() and not each.is_symlink()
        ]
    if len(found) > MAX_MEMBERS:
        raise LocalError(f"a package holds {len(found)} files; {MAX_MEMBERS} is most")
    return found
