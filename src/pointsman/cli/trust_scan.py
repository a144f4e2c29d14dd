"""`pointsman trust scan`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import click

from pointsman import __version__
from pointsman.cli.output import echo_json, json_option, progress_bar
from pointsman.cli.trust_output import report_lines, write_json_file
from pointsman.trust.findings import Report, merge
from pointsman.trust.scan import Scanned, scan_path

__all__ = ["command"]

_file = click.Path(dir_okay=False, path_type=Path)


@click.command("scan")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    help="The base model, a folder or a .jinja file: show how the chat template differs from its.",
)
@click.option("--sarif", type=_file, help="Write the findings as SARIF 2.1.0 to this file.")
@click.option(
    "--bom", type=_file, help="Write a CycloneDX ML-BOM, with each file's SHA-256, to this file."
)
@click.option(
    "--second-opinions/--no-second-opinions",
    default=True,
    show_default=True,
    help="Ask picklescan, modelscan and modelaudit, where they are installed, about files with pickles.",
)
@json_option
def command(
    path: Path,
    base: Path | None,
    sarif: Path | None,
    bom: Path | None,
    second_opinions: bool,
    as_json: bool,
) -> int:
    """Look for what is dangerous in a model's files, without loading any.

    PATH is a file or a folder. What a file is, its bytes decide and not its name. Nothing is unpickled,
    imported or rendered.

    Exit codes: 0 nothing found in its search space; 1 findings; 2 not all could be checked.
    """
    with progress_bar("scanning") as show:
        scanned = scan_path(path, base=base, hashes=bom is not None, progress=show)
    report, tools = _with_opinions(scanned, path, second_opinions)
    _write_files(scanned, report, path, sarif, bom)
    if as_json:
        echo_json(
            {
                "status": report.status,
                "findings": report.findings,
                "incomplete": report.incomplete,
                "checked": report.checked,
                "tools": tools,
            }
        )
    else:
        for line in report_lines(report, str(path)):
            click.echo(line)
    return report.exit_code


def _with_opinions(scanned: Scanned, path: Path, wanted: bool) -> tuple[Report, tuple[str, ...]]:
    if not wanted or not scanned.pickles:
        return scanned.report, ()
    from pointsman.trust.second_opinion import second_opinions

    theirs = second_opinions(scanned.pickles, path.resolve())
    whole = merge([scanned.report, Report(theirs.status, theirs.findings, theirs.incomplete)])
    return whole, theirs.checked


def _write_files(
    scanned: Scanned, report: Report, path: Path, sarif: Path | None, bom: Path | None
) -> None:
    if sarif is not None:
        from pointsman.trust.sarif import sarif_log

        write_json_file(sarif, sarif_log(report, __version__))
    if bom is not None:
        from pointsman.trust.bom import ml_bom

        name = path.resolve().name
        write_json_file(
            bom,
            ml_bom(
                name, scanned.files, scanned.templates, report,
                version=__version__, now=datetime.now(UTC), serial=uuid4(),
            ),
        )  # fmt: skip
