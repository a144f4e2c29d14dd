"""`pointsman rm`."""

from __future__ import annotations

import click

from pointsman.cli.output import config_option, echo_json, json_option
from pointsman.config import load_config
from pointsman.local.host import store_of

__all__ = ["command"]


@click.command("rm")
@click.argument("name")
@config_option
@json_option
def command(name: str, config_path: str | None, as_json: bool) -> None:
    """Delete a pulled model."""
    removed = store_of(load_config(config_path)).remove(name)
    if as_json:
        echo_json([{"name": name, "bytes": removed.bytes}])
    else:
        click.echo(f"{name} is gone; {removed.bytes / 2**20:.0f} MiB freed")
        for path in removed.kept:
            click.echo(f"kept, as it is not ours: {path}")
