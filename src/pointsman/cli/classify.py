"""`pointsman classify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pointsman.cli.output import echo_json, json_option

__all__ = ["command"]

MAX_LINE_BYTES = 8 * 1024 * 1024


@click.command("classify")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@json_option
def command(model: Path, texts: tuple[str, ...], as_json: bool) -> None:
    """Say what each TEXT is, or each line of standard input, a line for each.

    MODEL is a model.onnx, or the folder with it. Several labels of one text are joined by |.
    """
    from pointsman.distill.folder import model_file
    from pointsman.distill.model import TextClassifier

    classifier = TextClassifier.load(model_file(model))
    if not texts and sys.stdin.isatty():
        raise click.UsageError("give a TEXT, or lines on standard input")
    for text in texts or _lines():
        found = classifier.classify(text)
        if not as_json:
            click.echo("|".join(found.labels))
            continue
        told = {"labels": found.labels} if classifier.multi else {"label": found.labels[0]}
        echo_json({**told, "scores": dict(zip(classifier.labels, found.scores, strict=False))})


def _lines() -> Iterator[bytes]:
    """Lines as bytes: a classifier takes any, so what is no UTF-8 is no fault here."""
    file = sys.stdin.buffer
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise click.UsageError(f"a line of standard input is over {MAX_LINE_BYTES} bytes")
        yield line.rstrip(b"\r\n")
