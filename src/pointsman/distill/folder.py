"""The folder of a classifier: what a training leaves behind, each file whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pointsman.distill.evaluate import Evaluation
from pointsman.distill.sample import Sample
from pointsman.errors import DistillError

if TYPE_CHECKING:
    from pointsman.distill.train import Trained, TrainSettings

__all__ = ["MODEL_NAME", "Run", "make_folder", "model_file", "write_file", "write_folder"]

MODEL_NAME = "model.onnx"


class Run(Struct, frozen=True):
    """What is known of a training beside its result.

    `test` is how the model did on rows of its own, None where only the held-out part of the
    training rows was measured. `teacher` is the summary of the model that wrote or labelled the
    rows (`teacher.summary.Summary` as plain values), None where none did.
    """

    data: str
    sample: Sample
    settings: TrainSettings
    train_s: float
    test_data: str | None = None
    test: Evaluation | None = None
    test_sample: Sample | None = None
    teacher: Mapping[str, Any] | None = None


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

    Raises:
        DistillError: a file cannot be written.
    """
    make_folder(out)
    return (write_file(out / MODEL_NAME, trained.onnx),)


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
