"""`pointsman ps`."""

from __future__ import annotations

import click

from pointsman.cli.gateway_link import GatewayLink, find_gateway
from pointsman.cli.output import config_option, echo_json, json_option, table
from pointsman.config import load_config
from pointsman.errors import LocalError
from pointsman.local.host import store_of
from pointsman.local.listed import Listed, list_rows

__all__ = ["command"]


@click.command("ps")
@config_option
@json_option
def command(config_path: str | None, as_json: bool) -> None:
    """List the models that are on this machine, and which of them run in the gateway.

    Without a gateway that answers, what is of processes is null.
    """
    config = load_config(config_path)
    rows = list_rows(store_of(config).list(), ())
    try:
        link = find_gateway(config)
    except LocalError as error:
        click.echo(f"note: {error.message}", err=True)
        link = None
    if link is not None:
        rows = _merged(rows, link)
    if as_json:
        echo_json(rows)
    elif not rows:
        click.echo("No local models; 'pointsman pull smollm2' fetches a small one.")
    else:
        headers = ["name", "size", "state", "memory", "context", "unloads", "verified", "path"]
        click.echo(table([_cells(row) for row in rows], headers))


def _merged(rows: list[Listed], link: GatewayLink) -> list[Listed]:
    """Take the gateway's word for what it has too, and for what it still runs of what is gone."""
    gone = [row for row in link.rows if not row.path and row.url is None]
    names = {row.name for row in rows}
    merged = [link.row(row.name, row.path) or row for row in rows]
    merged += [row for row in gone if row.name not in names]
    return sorted(merged, key=lambda row: row.name)


def _cells(row: Listed) -> list[str]:
    state: str = row.state or "-"
    unloads = "-"
    if row.state == "ready" and row.leases:
        state = f"busy ({row.leases})"
    elif row.state == "ready" and row.idle_s is not None:
        state = f"idle {_span(row.idle_s)}"
        unloads = "never" if row.expires_in_s is None else f"in {_span(row.expires_in_s)}"
    return [
        row.name,
        _size(row.bytes),
        state,
        _size(row.resident_bytes),
        f"{row.context_tokens:,}" if row.context_tokens else "-",
        unloads,
        "yes" if row.verified else "no",
        row.url or row.path or "gone",
    ]


def _size(count: int | None) -> str:
    return f"{count / 2**20:.0f} MiB" if count else "-"


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 3600 else f"{whole / 3600:.1f} h"
