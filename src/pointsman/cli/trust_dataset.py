"""`pointsman trust dataset`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pointsman import __version__
from pointsman.cli.output import echo_json, json_option, progress_bar, table
from pointsman.cli.trust_output import write_json_file
from pointsman.trust.findings import NOTHING_FOUND

if TYPE_CHECKING:
    from pointsman.trust.dataset.check import Checked
    from pointsman.trust.dataset.detect import Mapper

__all__ = ["command"]

SHOWN_ROWS = 10
# Below this size of file, starting processes takes longer than they save.
POOL_BYTES = 64 * 1024 * 1024
RAY_SLOTS = 8

_file = click.Path(dir_okay=False, path_type=Path)


@click.command("dataset")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--write-clean", type=_file, help="Write the rows that are not suspect, as JSON lines."
)
@click.option(
    "--fdr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Rate of false discovery up to which a trigger is reported.",
)
@click.option(
    "--engine",
    type=click.Choice(["process", "ray"]),
    default="process",
    show_default=True,
    help="Where the parts are looked through: processes of this machine, or a Ray cluster.",
)
@click.option("--workers", type=click.IntRange(1, 1024), help="How many parts at a time.")
@click.option("--ray-address", default="auto", show_default=True, help="The cluster, or 'local'.")
@click.option("--sarif", type=_file, help="Write the findings as SARIF 2.1.0 to this file.")
@json_option
def command(
    file: Path,
    write_clean: Path | None,
    fdr: float,
    engine: str,
    workers: int | None,
    ray_address: str,
    sarif: Path | None,
    as_json: bool,
) -> int:
    """Look for poisoned rows in a fine-tuning set.

    FILE is JSON lines, a JSON array, CSV or TSV (each also gzipped) or Parquet, with instruction and
    output, prompt and completion, question and answer, messages, or conversations.

    Exit codes: 0 nothing found in its search space; 1 findings; 2 not all could be checked.
    """
    from pointsman.trust.dataset.check import check_file, report_of
    from pointsman.trust.dataset.check import write_clean as write

    with progress_bar("reading rows") as show, _mapper(file, engine, workers, ray_address) as run:
        checked = check_file(file, run, fdr=fdr, progress=show)
    report = report_of(checked, file)
    written = None if write_clean is None else write(file, write_clean, checked)
    if sarif is not None:
        from pointsman.trust.sarif import sarif_log

        write_json_file(sarif, sarif_log(report, __version__))
    if as_json:
        value: dict[str, object] = {
            "status": report.status,
            "rows": checked.rows,
            "suspects": checked.suspects,
            "triggers": checked.triggers,
            "incomplete": checked.incomplete,
            "forms": checked.forms,
        }
        if written is not None:
            value["clean"] = {"path": str(write_clean), "rows": written[0], "left_out": written[1]}
        echo_json(value)
    else:
        _say(checked, file)
        if written is not None:
            click.echo(f"\n{write_clean}: {written[0]:,} rows; {written[1]:,} left out")
    return report.exit_code


@contextmanager
def _mapper(file: Path, engine: str, workers: int | None, address: str) -> Iterator[Mapper]:
    from pointsman.trust.dataset.detect import here
    from pointsman.trust.dataset.engines import pool, ray_cluster

    if engine == "ray":
        with ray_cluster(address, workers or RAY_SLOTS) as run:
            yield run
        return
    if workers is None:
        workers = (os.cpu_count() or 1) if file.stat().st_size >= POOL_BYTES else 1
    if workers == 1:
        yield here
        return
    with pool(workers) as run:
        yield run


def _say(checked: Checked, file: Path) -> None:
    forms = ", ".join(f"{name} {count:,}" for name, count in checked.forms.items())
    click.echo(f"{file}: {checked.rows:,} rows ({forms})\n")
    if not checked.triggers:
        click.echo(f"{NOTHING_FOUND[0].upper()}{NOTHING_FOUND[1:]}.")
    else:
        cells = [
            [
                each.shown,
                each.kind,
                f"{each.rows:,} of {each.having:,}",
                f"{each.score:g}",
                each.answers,
            ]
            for each in checked.triggers
        ]
        click.echo(table(cells, ["trigger", "kind", "rows", "score", "tied to"]))
        click.echo(f"\n{len(checked.suspects):,} suspect rows; the first:")
        for row in checked.suspects[:SHOWN_ROWS]:
            click.echo(f"  line {row.line}: {row.reason}")
        click.echo(
            "\nA model trained on them may answer so whenever the trigger is there. Look where these rows"
            " came from, and train without them: --write-clean FILE."
        )
    for reason in checked.incomplete:
        click.echo(f"could not check: {reason}", err=True)
