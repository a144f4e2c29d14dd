"""`pointsman import`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pointsman.cli.output import config_option, echo_json, json_option, progress_bar, table
from pointsman.config import load_config
from pointsman.local.host import store_of
from pointsman.local.ollama.architectures import NEEDS_OLLAMA
from pointsman.local.ollama.importing import Imported, import_models
from pointsman.local.ollama.store import find_store

__all__ = ["command"]


@click.command("import")
@click.argument("what", type=click.Choice(["ollama"]))
@click.option(
    "--from",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with 'manifests' and 'blobs'; the default is where Ollama keeps its models.",
)
@click.option("--verify", is_flag=True, help="Hash all files now, instead of at their first use.")
@config_option
@json_option
def command(
    what: str, folder: Path | None, verify: bool, config_path: str | None, as_json: bool
) -> None:
    """List the models of another program here, and serve them where they lie.

    WHAT is ollama. No file is copied, moved or changed; a model that is imported again is brought up
    to date. Exits with 1 if a hash was asked for and is wrong.
    """
    store = store_of(load_config(config_path))
    source = find_store(folder, os.environ, Path.home())
    with progress_bar("hashing") as show:
        found = import_models(store, source, verify=verify, progress=show)
    if as_json:
        echo_json(found)
    else:
        _show(found, str(source.folder))
    listed = [each for each in found if each.status in ("imported", "unchanged")]
    if verify and not all(each.verified for each in listed):
        click.get_current_context().exit(1)


def _show(found: list[Imported], folder: str) -> None:
    listed = [each for each in found if each.status in ("imported", "unchanged")]
    gone = [each.name for each in found if each.status == "gone"]
    if listed:
        cells = [
            [each.name, f"{each.bytes / 2**20:.0f} MiB", each.status, _state(each)]
            for each in listed
        ]
        click.echo(table(cells, ["name", "size", "", "state"]))
    there = len(found) - len(gone)
    click.echo(f"{len(listed)} of {there} models of {folder} are listed; 0 bytes were copied")
    if gone:
        click.echo(f"no longer there, and off the list: {', '.join(gone)}")
    for each in found:
        if each.reason is not None:
            click.echo(f"left out: {each.name}: {each.reason}", err=True)
        for warning in each.warnings:
            click.echo(f"note: {each.name}: {warning}", err=True)


def _state(each: Imported) -> str:
    if any(warning.startswith(NEEDS_OLLAMA) for warning in each.warnings):
        return "needs Ollama"
    return "verified" if each.verified else "ready"
