"""`pointsman models`."""

from __future__ import annotations

import click

from pointsman.cli.output import config_option, echo_json, json_option, table
from pointsman.client import Client

__all__ = ["command"]


@click.command("models")
@click.argument("provider", required=False)
@config_option
@json_option
def command(provider: str | None, config_path: str | None, as_json: bool) -> None:
    """List the models that can be named now; with PROVIDER, those that it lists."""
    with Client(config_path) as client:
        found = client.models(provider)
    if as_json:
        echo_json(found)
        return
    cells = [
        [m.ref, m.provider, f"{m.context_tokens:,}" if m.context_tokens else "-"] for m in found
    ]
    click.echo(table(cells, ["ref", "provider", "context"]))
