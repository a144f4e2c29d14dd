"""Files on their way into a model: sent piece by piece, named by their hash, and used by `create`."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from pathlib import Path
from types import TracebackType

from pointsman.errors import LocalError, RequestError
from pointsman.local.download import check_space
from pointsman.local.manifest import sync_folder
from pointsman.local.store import ModelStore

__all__ = ["BlobWriter", "blob_path", "has_blob", "prune_blobs"]

FOLDER = ".blobs"
OLD_S = 24 * 3600.0
CHECK_BYTES = 256 * 1024 * 1024
_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


def blob_path(store: ModelStore, digest: str) -> Path:
    """Where the file with that digest (`sha256:…`) is, once it has been sent.

    Raises:
        RequestError: it is no digest.
    """
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise RequestError(f"{digest[:80]!r} is no digest: sha256: and 64 hexadecimal digits")
    return store.directory / FOLDER / f"sha256-{match[1].lower()}"


def has_blob(store: ModelStore, digest: str) -> bool:
    """Whether the file was sent, and not a day ago.

    Raises:
        RequestError: it is no digest.
    """
    return blob_path(store, digest).is_file()


class BlobWriter:
    """Takes a file piece by piece; it has its name once its hash was found to be right.

    Used as a context: one that is left before `finish` leaves nothing. Blocks at each call for as
    long as the disk does.
    """

    def __init__(self, store: ModelStore, digest: str, size_bytes: int | None = None) -> None:
        """Begin; with `size_bytes` there must be space for so many. Deletes what is a day old.

        Raises:
            RequestError: it is no digest.
            LocalError: there is no space, or it cannot be written.
        """
        self._final = blob_path(store, digest)
        self._hash = hashlib.sha256()
        self._size = 0
        self._next_check = CHECK_BYTES
        folder = self._final.parent
        self._scratch = folder / f".{self._final.name[:19]}-{secrets.token_hex(8)}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            prune_blobs(store)
            check_space(folder, size_bytes or 0, "the file")
            self._file = self._scratch.open("xb")
        except OSError as error:
            raise self._fault(error) from error

    def __enter__(self) -> BlobWriter:
        """Begin to write."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Delete what was not finished."""
        self._file.close()
        self._scratch.unlink(missing_ok=True)

    def write(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            LocalError: it cannot be written, or the disk is nearly full.
        """
        try:
            self._file.write(piece)
        except OSError as error:
            raise self._fault(error) from error
        self._hash.update(piece)
        self._size += len(piece)
        if self._size >= self._next_check:
            check_space(self._scratch.parent, 0, "the file")
            self._next_check = self._size + CHECK_BYTES

    def finish(self) -> Path:
        """Give the file its name, on the disk for good.

        Raises:
            RequestError: its hash is another; nothing is kept.
            LocalError: it cannot be written.
        """
        digest = self._hash.hexdigest()
        if not self._final.name.endswith(digest):
            raise RequestError(
                f"the file has sha256:{digest}, and was sent as {self._final.name.replace('-', ':')};"
                " nothing was kept, send it again"
            )
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._scratch.replace(self._final)
            sync_folder(self._final.parent)
        except OSError as error:
            raise self._fault(error) from error
        return self._final

    def _fault(self, error: OSError) -> LocalError:
        return LocalError(f"{self._final.parent} cannot be written: {error.strerror or error}")


def prune_blobs(store: ModelStore, older_than_s: float = OLD_S) -> int:
    """Delete sent files that lie there since, and give the bytes that were freed.

    What a model has of them stays with the model.
    """
    freed, now = 0, time.time()
    try:
        with os.scandir(store.directory / FOLDER) as entries:
            for each in entries:
                stat = each.stat(follow_symlinks=False)
                if now - stat.st_mtime < older_than_s or not each.is_file(follow_symlinks=False):
                    continue
                Path(each.path).unlink(missing_ok=True)
                freed += stat.st_size if stat.st_nlink == 1 else 0
    except FileNotFoundError:
        return freed
    except OSError as error:
        raise LocalError(f"{store.directory / FOLDER} cannot be cleared: {error}") from error
    return freed
