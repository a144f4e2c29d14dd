"""A GGUF file on this machine: served where it lies, nothing is copied."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.gguf import read_head
from pointsman.local.manifest import Manifest
from pointsman.local.refs import FileRef, split_names
from pointsman.local.sources.base import Fetched, Found, Job, hash_file
from pointsman.local.sources.web import file_name, model_name

__all__ = ["FilePlan", "plan"]


class FilePlan(Struct, frozen=True):
    """One file, or all parts of a split model, and the size of each."""

    name: str
    source: str
    paths: tuple[Path, ...]

    def holds(self, manifest: Manifest) -> bool:
        """Whether these are its files, as they were when they were hashed."""
        try:
            now = [(str(each), each.stat().st_size, each.stat().st_mtime_ns) for each in self.paths]
        except OSError:
            return False
        return now == [(each.path, each.bytes, each.mtime_ns) for each in manifest.files]

    def fetch(self, job: Job, scratch: Path) -> Fetched:
        """Hash them, once their heads are known to be sound."""
        for path in self.paths:
            read_head(path)
        return Fetched(
            tuple(Found(path, hash_file(job, path), in_place=True) for path in self.paths)
        )


def plan(ref: FileRef, job: Job) -> FilePlan:
    """Look for the file, and for the other parts of a split model beside it.

    Raises:
        RequestError: it is another part of a split model than the first.
        LocalError: a file is not there.
    """
    paths = tuple(ref.path.with_name(name) for name in split_names(ref.path.name))
    for path in paths:
        if not path.is_file():
            raise LocalError(f"there is no file {path}")
    return FilePlan(model_name(file_name(ref.path.as_uri())), f"file:{ref.path}", paths)
