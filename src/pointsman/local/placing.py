"""Gives the files of a new model their names in its folder; none is copied."""

from __future__ import annotations

import datetime
import hashlib
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.blobs import FOLDER
from pointsman.local.manifest import Manifest, StoredFile, sync_folder

__all__ = ["Base", "drop_others", "place"]


class Base(Struct, frozen=True):
    """What the new model begins with, and the folder of its files."""

    manifest: Manifest
    folder: Path

    def staying(self) -> set[str]:
        """The paths of what a stored model serves from elsewhere; what was just given is none."""
        stored = self.manifest.all_files() if self.manifest.name else ()
        return {each.path for each in stored if Path(each.path).is_absolute()}


def place(name: str, wanted: Manifest, base: Base, folder: Path) -> Manifest:
    """Link a model's files into its folder, and give its manifest under its new name.

    A file that is served where it lies, in a stored model, goes on so; a given one is linked if it
    is on the same disk, and else served where it lies. What the folder has is not changed, as it
    may be running.

    Raises:
        LocalError: the folder cannot be written, or is on a disk without links.
    """
    own = {each.path for each in wanted.all_files() if not Path(each.path).is_absolute()}
    staying = base.staying()
    names = _names(name, wanted, base.folder, folder, staying)

    def placed(file: StoredFile) -> StoredFile:
        if file.path in staying:
            return file
        path, target = base.folder / file.path, folder / names[file.path]
        try:
            if not target.exists():
                os.link(path, target)
        except OSError as error:
            if file.path in own or path.parent.name == FOLDER:
                raise LocalError(f"{target} cannot be made: {error.strerror or error}") from error
            return file
        return msgspec.structs.replace(file, path=target.name)

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"{folder} cannot be written: {error.strerror or error}") from error
    made = msgspec.structs.replace(
        wanted,
        name=name,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        files=tuple(map(placed, wanted.files)),
        projector=None if wanted.projector is None else placed(wanted.projector),
        adapters=tuple(map(placed, wanted.adapters)),
    )
    sync_folder(folder)
    return made


def _names(
    name: str, wanted: Manifest, source: Path, folder: Path, staying: set[str]
) -> dict[str, str]:
    """A readable name for each file, such that no file of the model before is in the way.

    That one may be running, so its files are not to change under it.
    """
    count = len(wanted.files)
    numbers = [""] if count == 1 else [f"-{n:05d}-of-{count:05d}" for n in range(1, count + 1)]
    ends = dict(zip((each.path for each in wanted.files), numbers, strict=True))
    if wanted.projector is not None:
        ends.setdefault(wanted.projector.path, "-mmproj")
    for number, each in enumerate(wanted.adapters, 1):
        ends.setdefault(each.path, f"-lora-{number}")
    hashes = "".join(each.sha256 for each in wanted.all_files())
    stem = name.removesuffix(":latest").replace("/", "-").replace(":", "-")
    tries = [
        stem,
        f"{stem}-{hashes[:12]}",
        f"{stem}-{hashlib.sha256(hashes.encode()).hexdigest()[:12]}",
    ]
    found: dict[str, str] = {}
    for base in tries:
        found = {path: f"{base}{end}.gguf" for path, end in ends.items()}
        if all(
            path in staying or not (folder / to).exists() or (folder / to).samefile(source / path)
            for path, to in found.items()
        ):
            break
    return found


def drop_others(folder: Path, manifest: Manifest) -> None:
    """Delete what a model had before, once the manifest is written.

    A process that has a file open keeps it until it ends.
    """
    kept = {each.path for each in manifest.all_files()}
    for path in folder.glob("*.gguf"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
