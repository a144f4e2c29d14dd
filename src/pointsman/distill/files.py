"""`distill train` and `distill eval`: from files of rows to a folder and figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pointsman.distill.evaluate import Evaluation, evaluate
from pointsman.distill.folder import Run, make_folder, model_file, write_folder
from pointsman.distill.rows import label_set
from pointsman.distill.sample import Sample, read_sample, read_scored

if TYPE_CHECKING:
    from pointsman.distill.train import Trained, TrainSettings

__all__ = ["Bars", "Made", "Scored", "eval_file", "train_file", "train_sample"]

# Opens a bar with a name, and gives what is told (done, all, or None where that is not known).
Bars = Callable[[str], AbstractContextManager[Callable[[int, int | None], None]]]


class Made(Struct, frozen=True):
    """A classifier in its folder, and how it came about."""

    trained: Trained
    run: Run
    files: tuple[Path, ...]

    @property
    def model(self) -> Path:
        """The model's file."""
        return self.files[-1]


class Scored(Struct, frozen=True):
    """A classifier's figures on a file of rows."""

    model: Path
    model_bytes: int
    sample: Sample
    evaluation: Evaluation


@contextmanager
def _no_bar(_name: str) -> Iterator[Callable[[int, int | None], None]]:
    yield lambda done, total: None


def train_file(
    data: Path,
    out: Path,
    settings: TrainSettings,
    *,
    test: Path | None = None,
    encoding: str | None = None,
    licence: str | None = None,
    bars: Bars = _no_bar,
) -> Made:
    """Learn a classifier from a file of rows, and write its folder.

    Raises:
        DistillError: rows cannot be read or learned from, or the folder cannot be written.
        MissingExtra: what training needs is not installed.
    """
    make_folder(out)
    tests: Sample | None = None
    with bars("reading") as show:
        sample = read_sample(data, seed=settings.seed, encoding=encoding, progress=show)
        label_set(sample.rows)
        if test is not None:
            # Before the long work, so that what is wrong with the file shows at once.
            tests = read_scored(test, seed=settings.seed, encoding=encoding)
    return train_sample(
        sample,
        out,
        settings,
        data=str(data),
        test_data=None if test is None else str(test),
        test_sample=tests,
        licence=licence,
        bars=bars,
    )


def train_sample(
    sample: Sample,
    out: Path,
    settings: TrainSettings,
    *,
    data: str,
    test_data: str | None = None,
    test_sample: Sample | None = None,
    teacher: Mapping[str, Any] | None = None,
    task: str | None = None,
    licence: str | None = None,
    bars: Bars = _no_bar,
) -> Made:
    """Learn a classifier from rows at hand, score it on those of `test_sample`, write its folder.

    `data` and `test_data` say where the rows are from, `teacher` what is known of the model that
    wrote or labelled them, if one did, `task` what the classifier is for, `licence` the rows'.

    Raises:
        DistillError, MissingExtra: as `train_file`.
    """
    from pointsman.distill.model import TextClassifier
    from pointsman.distill.train import train

    make_folder(out)
    started = time.perf_counter()
    with bars("training") as show:
        trained = train(sample.rows, settings, _whole(show))
    train_s = round(time.perf_counter() - started, 2)
    evaluation: Evaluation | None = None
    if test_sample is not None:
        with bars("scoring") as show:
            model = TextClassifier.load(trained.onnx)
            evaluation = evaluate(model, test_sample.rows, seed=settings.seed, progress=show)
    run = Run(
        data=data,
        sample=sample,
        settings=settings,
        train_s=train_s,
        test_data=test_data,
        test=evaluation,
        test_sample=test_sample,
        teacher=teacher,
        task=task,
        licence=licence,
    )
    return Made(trained, run, write_folder(out, trained, run))


def _whole(show: Callable[[int, int | None], None]) -> Callable[[str, int, int], None]:
    """One bar for all stages of a training: each is about the share of it that stands here."""
    begins = {"read": 0, "teach": 5, "learn": 40}
    shares = {"read": 5, "teach": 35, "learn": 60}

    def step(stage: str, done: int, total: int) -> None:
        show(begins.get(stage, 0) + shares.get(stage, 0) * done // max(total, 1), 100)

    return step


def eval_file(
    model: Path, data: Path, *, encoding: str | None = None, bars: Bars = _no_bar
) -> Scored:
    """Score a classifier (its file or its folder) on a file of rows.

    Raises:
        DistillError: the rows cannot be read, or the file is no classifier.
        MissingExtra: onnxruntime is not installed.
    """
    from pointsman.distill.model import TextClassifier

    path = model_file(model)
    classifier = TextClassifier.load(path)
    with bars("reading") as show:
        sample = read_scored(data, encoding=encoding, progress=show)
    with bars("scoring") as show:
        found = evaluate(classifier, sample.rows, progress=show)
    return Scored(path, path.stat().st_size, sample, found)
