"""The folder of a classifier: what a training leaves behind, each file whole or not there."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pointsman.distill.card import card
from pointsman.distill.evaluate import Evaluation
from pointsman.distill.facts import facts_of
from pointsman.distill.manifest import FileEntry, file_entry, manifest
from pointsman.distill.programs import program_files, write_programs
from pointsman.distill.report import render
from pointsman.distill.sample import Sample
from pointsman.errors import DistillError

if TYPE_CHECKING:
    from pointsman.distill.train import Trained, TrainSettings

__all__ = ["MODEL_NAME", "Run", "make_folder", "model_file", "write_file", "write_folder"]

MODEL_NAME = "model.onnx"
# What a run with a teacher leaves in the folder before the training.
TEACHER_FILES = ("data.jsonl", "rejected.jsonl", "teacher.json", "plan.json")


class Run(Struct, frozen=True):
    """What is known of a training beside its result.

    `test` is how the model did on rows of its own, None where only the held-out part of the
    training rows was measured. `teacher` is the summary of the model that wrote or labelled the
    rows (`teacher.summary.Summary` as plain values), None where none did. `task` is what the
    classifier is for, in words; `licence` is the data's.
    """

    data: str
    sample: Sample
    settings: TrainSettings
    train_s: float
    test_data: str | None = None
    test: Evaluation | None = None
    test_sample: Sample | None = None
    teacher: Mapping[str, Any] | None = None
    task: str | None = None
    licence: str | None = None


def make_folder(out: Path) -> None:
    """Make sure of a folder to write into, before any long work is done for it.

    Raises:
        DistillError: it cannot be made, or not be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise DistillError(f"{out} cannot be written to: {error.strerror or error}") from error


def write_folder(out: Path, trained: Trained, run: Run) -> tuple[Path, ...]:
    """Write what a training made into its folder, and give the files; the model's is the last.

    Beside the model there are its report, its card, its manifest and programs that run it.

    Raises:
        DistillError: a file cannot be written.
        MissingExtra: onnxruntime, which the figures of speed need, is not installed.
    """
    make_folder(out)
    created = time.strftime("%Y-%m-%d", time.gmtime())
    facts = facts_of(trained, run, name=out.resolve().name, created=created)
    contents = {"report.html": render(facts), "card.md": card(facts)}
    entries = {name: file_entry(data) for name, data in contents.items()}
    entries[MODEL_NAME] = file_entry(trained.onnx)
    entries |= {f"programs/{name}": file_entry(data) for name, data in program_files().items()}
    if run.teacher is not None:
        entries |= _entries(out, TEACHER_FILES)
    contents["manifest.json"] = manifest(facts, entries)
    written = write_programs(out / "programs")
    written += [write_file(out / name, data) for name, data in contents.items()]
    return (*written, write_file(out / MODEL_NAME, trained.onnx))


def _entries(out: Path, names: Sequence[str]) -> dict[str, FileEntry]:
    """The entries of those files that are there."""
    found = {}
    for name in names:
        path = out / name
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[name] = FileEntry(digest, path.stat().st_size)
    return found


def write_file(path: Path, data: bytes) -> Path:
    """Put a file in place at once: a reader, or a crash, finds the old one or all of the new one.

    Raises:
        DistillError: it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        scratch = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            scratch.chmod(0o666 & ~_umask())
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DistillError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def model_file(path: Path) -> Path:
    """Give the model's file for a path that is it, or its folder."""
    return path / MODEL_NAME if path.is_dir() else path


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
