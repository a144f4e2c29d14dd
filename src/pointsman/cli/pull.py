"""`pointsman pull`."""

from __future__ import annotations

import click

from pointsman.cli.output import config_option, echo_json, json_option, progress_bar
from pointsman.config import load_config
from pointsman.local.host import store_of
from pointsman.local.pull import pull

__all__ = ["command"]


@click.command("pull")
@click.argument("ref")
@config_option
@json_option
def command(ref: str, config_path: str | None, as_json: bool) -> None:
    """Fetch a local model of the catalogue, such as smollm2, and check its hash."""
    store = store_of(load_config(config_path))
    with progress_bar(f"pulling {ref}") as show:
        model = pull(ref, store, show)
    if as_json:
        echo_json([model])
    else:
        click.echo(f"local:{model.name} is ready ({model.bytes / 2**20:.0f} MiB, sha256 checked)")
