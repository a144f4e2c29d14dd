"""`pointsman stop`."""

from __future__ import annotations

import click

from pointsman.cli.gateway_link import find_gateway
from pointsman.cli.output import config_option, echo_json, json_option
from pointsman.config import load_config
from pointsman.errors import LocalError

__all__ = ["command"]


@click.command("stop")
@click.argument("name")
@config_option
@json_option
def command(name: str, config_path: str | None, as_json: bool) -> None:
    """Unload a model from the gateway; requests that are being answered are waited for."""
    config = load_config(config_path)
    link = find_gateway(config)
    if link is None:
        raise LocalError(
            f"no gateway answers on {config.server.host}:{config.server.port}, so nothing runs"
            " there; 'pointsman serve' starts it"
        )
    if not link.unload(name):
        raise LocalError(f"'{name}' does not run in the gateway at {link.url}")
    if as_json:
        echo_json({"name": name, "unloaded": True})
    else:
        click.echo(f"{name} is unloaded")
