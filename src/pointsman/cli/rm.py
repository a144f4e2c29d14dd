"""`pointsman rm`."""

from __future__ import annotations

from typing import Any

import click

from pointsman.cli.gateway_link import GatewayLink, find_gateway
from pointsman.cli.output import config_option, echo_json, json_option
from pointsman.config import load_config
from pointsman.errors import LocalError
from pointsman.local.host import store_of
from pointsman.local.store import ModelStore

__all__ = ["command"]


@click.command("rm")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@config_option
@json_option
def command(names: tuple[str, ...], config_path: str | None, as_json: bool) -> int:
    """Delete models; one that runs in the gateway is unloaded first.

    Files that are not ours (of an Ollama store, or the Hugging Face cache) are left where they lie.
    """
    config = load_config(config_path)
    store = store_of(config)
    full = list(dict.fromkeys(store.find(name.removeprefix("local:")) for name in names))
    try:
        link = find_gateway(config)
    except LocalError as error:
        click.echo(f"note: {error.message}; nothing is unloaded", err=True)
        link = None
    rows, failed = [], 0
    for name in full:
        try:
            rows.append(_removed(name, store, link))
        except LocalError as error:
            failed = 1
            click.echo(f"pointsman: {error.message}", err=True)
    if as_json:
        echo_json(rows)
        return failed
    for row in rows:
        click.echo(f"{row['name']} is gone; {row['bytes'] / 2**20:.0f} MiB freed")
        for path in row["kept"]:
            click.echo(f"kept, as it is not ours: {path}")
    return failed


def _removed(name: str, store: ModelStore, link: GatewayLink | None) -> dict[str, Any]:
    if link is not None and not store.is_configured(name):
        row = next((each for each in link.rows if each.name == name), None)
        if row is not None and row.state is not None and _same(name, row.path, store):
            link.unload(name)
    removed = store.remove(name)
    return {"name": name, "bytes": removed.bytes, "kept": removed.kept}


def _same(name: str, path: str, store: ModelStore) -> bool:
    """Whether the gateway's model of that name is this one; one that is broken is taken for it."""
    try:
        return store.get(name).path == path
    except LocalError:
        return True
