"""`pointsman trust self`."""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path

import click

from pointsman import __version__
from pointsman.cli.output import echo_json, json_option, progress_bar
from pointsman.cli.trust_output import report_lines, write_json_file
from pointsman.errors import TrustError
from pointsman.trust.environment.check import Checked, check_environment

__all__ = ["command", "import_paths", "site_folders"]


@click.command("self")
@click.option(
    "--site",
    "sites",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Check this site-packages folder in the place of the running environment; may be repeated.",
)
@click.option(
    "--sarif",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the findings as SARIF 2.1.0 to this file.",
)
@json_option
def command(sites: tuple[Path, ...], sarif: Path | None, as_json: bool) -> int:
    """Check the environment that holds the keys: files, packages, start-up hooks, entry points.

    Every installed file is held against its package's RECORD, the packages that Pointsman needs
    against its lock, all against known stolen releases; whatever Python runs by itself as it starts
    is named. Nothing is imported.

    Exit codes: 0 nothing found in its search space; 1 findings; 2 not all could be checked.
    """
    folders = list(sites) or site_folders()
    paths = list(sites) or import_paths()
    try:
        with progress_bar("checking") as show:
            checked = check_environment(folders, paths, os.environ, show)
        if sarif is not None:
            from pointsman.trust.sarif import sarif_log

            write_json_file(sarif, sarif_log(checked.report, __version__))
    except TrustError as error:
        raise click.ClickException(error.message) from error
    if as_json:
        _print_json(checked)
    else:
        _print(checked, ", ".join(map(str, folders)))
    return checked.report.exit_code


def site_folders() -> list[Path]:
    """The folders of the running environment that packages are installed in and .pth files run from."""
    folders = [*site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [
        Path(each) for each in dict.fromkeys(map(os.path.realpath, folders)) if Path(each).is_dir()
    ]


def import_paths() -> list[Path]:
    """The folders of `sys.path`; the first, the script's own or the current one, is among them."""
    return [
        Path(each)
        for each in dict.fromkeys(each or "." for each in sys.path)
        if Path(each).is_dir()
    ]


def _print_json(checked: Checked) -> None:
    report = checked.report
    echo_json(
        {
            "status": report.status,
            "findings": report.findings,
            "incomplete": report.incomplete,
            "packages": checked.packages,
            "startup": checked.startup,
            "limits": checked.limits,
        }
    )


def _print(checked: Checked, subject: str) -> None:
    for each in checked.startup:
        if each.known:
            click.echo(f"runs at start, known: {each.path}:{each.line} ({each.package})")
    for line in report_lines(checked.report, subject, "package"):
        click.echo(line)
    for limit in checked.limits:
        click.echo(f"  not checked: {limit}")
