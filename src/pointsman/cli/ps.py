"""`pointsman ps`."""

from __future__ import annotations

import click

from pointsman.cli.output import config_option, echo_json, json_option, table
from pointsman.config import load_config
from pointsman.local.host import store_of

__all__ = ["command"]


@click.command("ps")
@config_option
@json_option
def command(config_path: str | None, as_json: bool) -> None:
    """List the models that are on this machine."""
    models = store_of(load_config(config_path)).list()
    if as_json:
        echo_json(models)
    elif not models:
        click.echo("No local models; 'pointsman pull smollm2' fetches a small one.")
    else:
        cells = [
            [m.name, f"{m.bytes / 2**20:.0f} MiB", "yes" if m.verified else "no", m.path]
            for m in models
        ]
        click.echo(table(cells, ["name", "size", "verified", "path"]))
