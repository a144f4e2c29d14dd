"""`pointsman distill train|eval`; `new` and `label` are in modules of their own."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pointsman.cli.output import echo_json, json_option, progress_bar, table

if TYPE_CHECKING:
    from pointsman.distill.evaluate import Evaluation
    from pointsman.distill.files import Made
    from pointsman.distill.metrics import Scores
    from pointsman.distill.rows import Row
    from pointsman.distill.sample import Sample

__all__ = ["command", "learn_and_write", "training_options"]

MIN_SIZE_BYTES, MAX_SIZE_BYTES = 40 * 1024, 64 * 1024 * 1024
SHOWN_CLASSES, SHOWN_ROWS = 10, 5


def _size_bytes(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"(\d{1,12})\s*([km]?)(?:i?b)?", value.strip().lower())
    if match is None:
        raise click.BadParameter(f"'{value}': give one such as 64k, 256k, 1m or 300000")
    size = int(match[1]) * {"": 1, "k": 1024, "m": 1024 * 1024}[match[2]]
    if not MIN_SIZE_BYTES <= size <= MAX_SIZE_BYTES:
        raise click.BadParameter(f"'{value}': a model is of 40k to 64m")
    return size


# The verbs that need the client, which the others don't: loaded when they are asked for.
_LATE = {"label": "distill_label", "new": "distill_new"}


class _WithTeacher(click.Group):
    """A group that knows the verbs with a teacher by name alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LATE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LATE:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"pointsman.cli.{_LATE[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group("distill", cls=_WithTeacher)
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


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of how a classifier is learned, which `train` and `new` share."""
    for option in (
        click.option("--licence", help="Licence of the rows, for the card and the manifest."),
        click.option(
            "--max-seconds",
            "budget_s",
            type=click.FloatRange(1),
            default=120,
            show_default=True,
            help="About how long the learning may take: a slower machine learns less.",
        ),
        click.option("--quick", is_flag=True, help="Learn without an ensemble: less good, sooner."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed."),
        size_option,
    ):
        command = option(command)
    return command


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
@click.option("--other", is_flag=True, help="Add a class for texts that are none of the others.")
@training_options
@_encoding
@json_option
def train(
    data: Path,
    out: Path,
    test: Path | None,
    encoding: str | None,
    as_json: bool,
    licence: str | None,
    **settings: Any,
) -> None:
    """Learn a classifier from labelled rows and write it to OUT/model.onnx.

    DATA is jsonl, csv or tsv (each also with .gz) or parquet, with columns `text` and `label`, or
    `labels` where a text may have several (in csv as a|b). Of more than 200,000 rows or 12 MiB of
    text so many are drawn evenly. Without --test a part of the rows is held out and scored.
    """
    from pointsman.distill.files import train_file
    from pointsman.distill.train import TrainSettings

    made = train_file(
        data, out, TrainSettings(**settings), test=test, encoding=encoding, licence=licence,
        bars=progress_bar,
    )  # fmt: skip
    _say_made(made, (), as_json)


def learn_and_write(
    out: Path,
    sample: Sample,
    *,
    data: str,
    settings: Mapping[str, Any],
    test: Path | None,
    test_sample: Sample | None,
    as_json: bool,
    teacher: dict[str, Any] | None = None,
    task: str | None = None,
    licence: str | None = None,
    more_notes: Sequence[str] = (),
) -> None:
    """Learn a classifier from rows, write its folder and print its figures.

    `settings` are those of `TrainSettings`. `teacher` is what is known of the model that wrote or
    labelled the rows, if one did, and `task` what the classifier is for.
    """
    from pointsman.distill.files import train_sample
    from pointsman.distill.train import TrainSettings

    made = train_sample(
        sample,
        out,
        TrainSettings(**settings),
        data=data,
        test_data=None if test is None else str(test),
        test_sample=test_sample,
        teacher=teacher,
        task=task,
        licence=licence,
        bars=progress_bar,
    )
    _say_made(made, more_notes, as_json)


@command.command("eval")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("data", type=_file)
@_encoding
@json_option
def evaluate_command(model: Path, data: Path, encoding: str | None, as_json: bool) -> None:
    """Score a classifier (a model.onnx, or its folder) on labelled rows."""
    from pointsman.distill.files import eval_file

    found = eval_file(model, data, encoding=encoding, bars=progress_bar)
    evaluation = found.evaluation
    notes = found.sample.notes() + _unknown(evaluation)
    if as_json:
        value = {
            **_figures(evaluation.scores),
            "model_bytes": found.model_bytes,
            "latency_us_p50": evaluation.latency_us_p50,
            "classes": evaluation.scores.classes,
            "notes": notes,
        }
        echo_json(value)
        return
    click.echo(f"{found.model} on {data}: {evaluation.scores.rows:,} rows\n")
    _say_scores(evaluation.scores)
    click.echo(f"\n{found.model_bytes:,} bytes; {evaluation.latency_us_p50:g} µs a text (median)")
    _say_hardest(evaluation, found.sample.rows)
    _say_notes(notes)


def _say_made(made: Made, more_notes: Sequence[str], as_json: bool) -> None:
    trained, run = made.trained, made.run
    scores = trained.held_out if run.test is None else run.test.scores
    notes = [*run.sample.notes(), *_unknown(run.test), *more_notes]
    if trained.learning is not None and trained.learning.cut:
        notes.append(trained.learning.told())
    if as_json:
        value = {
            "model": str(made.model),
            "labels": trained.labels,
            "multi": trained.multi,
            "train_rows": len(run.sample.rows),
            "measured_on": "held_out" if run.test is None else "test",
            **_figures(scores),
            "model_bytes": len(trained.onnx),
            "train_s": run.train_s,
            "notes": notes,
        }
        if trained.rejected is not None:
            value["rejected"] = trained.rejected
        if run.test is not None:
            value["latency_us_p50"] = run.test.latency_us_p50
        if run.teacher is not None:
            value["teacher"] = run.teacher
        echo_json(value)
        return
    kind = "labels, any number to a text" if trained.multi else "classes"
    click.echo(
        f"{made.model}: {len(trained.onnx):,} bytes, {len(trained.labels)} {kind}, from"
        f" {len(run.sample.rows):,} rows in {run.train_s:g} s\n"
    )
    if run.test is None:
        click.echo(f"On {scores.rows:,} rows of the same file, held out while it was measured:\n")
    else:
        click.echo(f"On the {scores.rows:,} rows of {run.test_data}:\n")
    _say_scores(scores)
    if trained.rejected is not None:
        click.echo(f"\n{trained.rejected:.1%} of made-up texts of no class are told to be other")
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


def _say_hardest(found: Evaluation, rows: Sequence[Row]) -> None:
    from pointsman.distill.metrics import hardest

    hard = hardest(
        found.truth,
        found.told,
        found.labels,
        found.probabilities,
        multi=found.multi,
        count=SHOWN_ROWS,
    )
    cells = [
        [f"{each.p:.3f}", "|".join(each.truth), "|".join(each.told), _short(rows[each.index].text)]
        for each in hard
    ]
    click.echo("\nHardest rows:\n" + table(cells, ["p", "is", "told", "text"]))


def _say_notes(notes: Sequence[str]) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else line[:99] + "…"
