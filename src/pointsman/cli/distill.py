"""`pointsman distill train|eval`, and `new` from `distill_new`."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pointsman.cli.output import echo_json, json_option, progress_bar, table

if TYPE_CHECKING:
    from pointsman.distill.evaluate import Evaluation
    from pointsman.distill.metrics import Scores
    from pointsman.distill.sample import Sample
    from pointsman.distill.train import Trained

__all__ = ["command", "learn_and_write", "size_option"]

MIN_SIZE_BYTES, MAX_SIZE_BYTES = 16 * 1024, 64 * 1024 * 1024
SHOWN_CLASSES = 10


def _size_bytes(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"(\d{1,12})\s*([km]?)(?:i?b)?", value.strip().lower())
    if match is None:
        raise click.BadParameter(f"'{value}': give one such as 64k, 256k, 1m or 300000")
    size = int(match[1]) * {"": 1, "k": 1024, "m": 1024 * 1024}[match[2]]
    if not MIN_SIZE_BYTES <= size <= MAX_SIZE_BYTES:
        raise click.BadParameter(f"'{value}': a model is of 16k to 64m")
    return size


class _WithNew(click.Group):
    """Loads `new` when it is asked for: it needs the client, which the other verbs don't."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "new"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "new":
            return super().get_command(ctx, cmd_name)
        from pointsman.cli.distill_new import new

        return new


@click.group("distill", cls=_WithNew)
def command() -> None:
    """Make small text classifiers, and score them."""


size_option = click.option(
    "--size",
    "size_bytes",
    callback=_size_bytes,
    metavar="SIZE",
    default="256k",
    show_default=True,
    help="Largest size of the model: 64k, 256k, 1m, or bytes.",
)
_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_encoding = click.option(
    "--encoding", help="Encoding of files that are not UTF-8 and do not say so, such as latin-1."
)


@command.command("train")
@click.argument("data", type=_file)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write model.onnx into.",
)
@click.option("--test", type=_file, help="Rows to score the model on; else a part of DATA.")
@size_option
@click.option("--other", is_flag=True, help="Add a class for texts that are none of the others.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed.")
@_encoding
@json_option
def train(
    data: Path,
    out: Path,
    test: Path | None,
    size_bytes: int,
    other: bool,
    seed: int,
    encoding: str | None,
    as_json: bool,
) -> None:
    """Learn a classifier from labelled rows and write it to OUT/model.onnx.

    DATA is jsonl, csv or tsv (each also with .gz) or parquet, with columns `text` and `label`, or
    `labels` where a text may have several (in csv as a|b). Of more than 200,000 rows or 64 MiB of
    text so many are drawn evenly. Without --test a part of the rows is held out and scored.
    """
    from pointsman.distill.folder import make_folder
    from pointsman.distill.rows import label_set
    from pointsman.distill.sample import read_sample

    make_folder(out)
    with progress_bar("reading") as show:
        sample = read_sample(data, seed=seed, encoding=encoding, progress=show)
        label_set(sample.rows)
        test_sample = None
        if test is not None:
            # Read before the training, so that what is wrong with it shows at once.
            test_sample = read_sample(test, seed=seed, encoding=encoding, keep_empty=True)
    learn_and_write(
        out,
        sample,
        data=str(data),
        size_bytes=size_bytes,
        seed=seed,
        other=other,
        test=test,
        test_sample=test_sample,
        as_json=as_json,
    )


def learn_and_write(
    out: Path,
    sample: Sample,
    *,
    data: str,
    size_bytes: int,
    seed: int,
    other: bool,
    test: Path | None,
    test_sample: Sample | None,
    as_json: bool,
    teacher: dict[str, Any] | None = None,
    more_notes: Sequence[str] = (),
) -> None:
    """Learn a classifier from rows, write its folder and print its figures.

    `teacher` is what is known of the model that wrote or labelled the rows, if one did.
    """
    from pointsman.distill.evaluate import evaluate
    from pointsman.distill.folder import MODEL_NAME, Run, write_folder
    from pointsman.distill.model import TextClassifier
    from pointsman.distill.train import TrainSettings
    from pointsman.distill.train import train as learn

    settings = TrainSettings(size_bytes=size_bytes, seed=seed, other=other)
    started = time.perf_counter()
    with progress_bar("training") as show:
        trained = learn(sample.rows, settings, lambda _, done, total: show(done, total))
    train_s = round(time.perf_counter() - started, 2)
    evaluation = None
    if test_sample is not None:
        model = TextClassifier.load(trained.onnx)
        evaluation = evaluate(model, test_sample.rows, seed=seed)
    run = Run(
        data=data,
        sample=sample,
        settings=settings,
        train_s=train_s,
        test_data=None if test is None else str(test),
        test=evaluation,
        test_sample=test_sample,
        teacher=teacher,
    )
    write_folder(out, trained, run)
    scores = trained.held_out if evaluation is None else evaluation.scores
    value = {
        "model": str(out / MODEL_NAME),
        "labels": trained.labels,
        "multi": trained.multi,
        "train_rows": len(sample.rows),
        "measured_on": "held_out" if evaluation is None else "test",
        **_figures(scores),
        "model_bytes": len(trained.onnx),
        "train_s": train_s,
    }
    if evaluation is not None:
        value["latency_us_p50"] = evaluation.latency_us_p50
    if teacher is not None:
        value["teacher"] = teacher
    notes = [*sample.notes(), *_unknown(evaluation), *more_notes]
    if as_json:
        echo_json({**value, "notes": notes})
        return
    _say_trained(trained, value, scores, test)
    _say_notes(notes)


@command.command("eval")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("data", type=_file)
@_encoding
@json_option
def evaluate_command(model: Path, data: Path, encoding: str | None, as_json: bool) -> None:
    """Score a classifier (a model.onnx, or its folder) on labelled rows."""
    from pointsman.distill.evaluate import evaluate
    from pointsman.distill.folder import model_file
    from pointsman.distill.metrics import hardest
    from pointsman.distill.model import TextClassifier
    from pointsman.distill.sample import read_sample

    path = model_file(model)
    classifier = TextClassifier.load(path)
    with progress_bar("reading") as show:
        sample = read_sample(data, encoding=encoding, keep_empty=True, progress=show)
    with progress_bar("scoring") as show:
        found = evaluate(classifier, sample.rows, progress=show)
    notes = sample.notes() + _unknown(found)
    value = {
        **_figures(found.scores),
        "model_bytes": path.stat().st_size,
        "latency_us_p50": found.latency_us_p50,
    }
    if as_json:
        echo_json({**value, "classes": found.scores.classes, "notes": notes})
        return
    click.echo(f"{path} on {data}: {found.scores.rows:,} rows\n")
    _say_scores(found.scores)
    click.echo(f"\n{path.stat().st_size:,} bytes; {found.latency_us_p50:g} µs a text (median)")
    hard = hardest(
        found.truth, found.told, found.labels, found.probabilities, multi=found.multi, count=5
    )
    rows = [
        [
            f"{each.p:.3f}",
            "|".join(each.truth),
            "|".join(each.told),
            _short(sample.rows, each.index),
        ]
        for each in hard
    ]
    click.echo("\nHardest rows:\n" + table(rows, ["p", "is", "told", "text"]))
    _say_notes(notes)


def _figures(scores: Scores) -> dict[str, Any]:
    return {
        "rows": scores.rows,
        "accuracy": scores.accuracy,
        "accuracy_95": scores.accuracy_95,
        "macro_f1": scores.macro_f1,
        "macro_f1_95": scores.macro_f1_95,
        "micro_f1": scores.micro_f1,
        "micro_f1_95": scores.micro_f1_95,
        "calibration_error": scores.calibration_error,
    }


def _unknown(found: Evaluation | None) -> list[str]:
    if found is None or not found.unknown:
        return []
    names = ", ".join(found.unknown[:5])
    return [f"{len(found.unknown)} labels of the rows are not the model's, and missed: {names}"]


def _say_trained(
    trained: Trained, value: dict[str, Any], scores: Scores, test: Path | None
) -> None:
    kind = "labels, any number to a text" if trained.multi else "classes"
    click.echo(
        f"{value['model']}: {value['model_bytes']:,} bytes, {len(trained.labels)} {kind}, from"
        f" {value['train_rows']:,} rows in {value['train_s']:g} s\n"
    )
    if test is None:
        click.echo(f"On {scores.rows:,} rows of the same file, held out while it was measured:\n")
    else:
        click.echo(f"On the {scores.rows:,} rows of {test}:\n")
    _say_scores(scores)


def _say_scores(scores: Scores) -> None:
    rows = [
        [name, f"{value:.3f}", f"{low:.3f} – {high:.3f}"]
        for name, value, (low, high) in (
            ("accuracy", scores.accuracy, scores.accuracy_95),
            ("macro-F1", scores.macro_f1, scores.macro_f1_95),
            ("micro-F1", scores.micro_f1, scores.micro_f1_95),
        )
    ]
    if scores.calibration_error is not None:
        rows.append(["calibration error", f"{scores.calibration_error:.3f}", ""])
    click.echo(table(rows, ["measure", "value", "95 % interval"]))
    worst = sorted(scores.classes, key=lambda each: each.f1)[:SHOWN_CLASSES]
    cells = [
        [
            each.label,
            f"{each.precision:.3f}",
            f"{each.recall:.3f}",
            f"{each.f1:.3f}",
            f"{each.rows}",
        ]
        for each in worst
    ]
    which = (
        f"The {SHOWN_CLASSES} weakest classes" if len(scores.classes) > len(worst) else "Classes"
    )
    click.echo(f"\n{which}:\n" + table(cells, ["label", "precision", "recall", "F1", "rows"]))


def _say_notes(notes: Sequence[str]) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _short(rows: Sequence[Any], index: int) -> str:
    text = " ".join(rows[index].text.split())
    return text if len(text) <= 100 else text[:99] + "…"
