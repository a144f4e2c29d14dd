"""`pointsman providers`."""

from __future__ import annotations

from typing import Any

import click

from pointsman.cli.output import config_option, echo_json, json_option, table
from pointsman.config import Config, load_config
from pointsman.errors import ConfigError, MissingKey
from pointsman.providers.binding import bind, merge_row
from pointsman.providers.registry import all_providers

__all__ = ["command"]


@click.command("providers")
@click.option("--all", "every", is_flag=True, help="Also those that are not configured.")
@config_option
@json_option
def command(every: bool, config_path: str | None, as_json: bool) -> None:
    """List the providers: what is known, and what is configured."""
    config = load_config(config_path)
    names = list(dict.fromkeys([*config.providers, *all_providers()]))
    rows = [_row(name, config) for name in names]
    if as_json:
        echo_json(rows)
        return
    shown = [row for row in rows if every or row["configured"]]
    if shown:
        cells = [
            [
                r["name"],
                r["dialect"],
                "yes" if r["configured"] else r["needs"],
                r["base_url"] or "-",
            ]
            for r in shown
        ]
        click.echo(table(cells, ["provider", "dialect", "ready", "base URL"]))
    hidden = len(rows) - len(shown)
    if hidden:
        click.echo(f"{hidden} more are known; 'pointsman providers --all' lists them.")


def _row(name: str, config: Config) -> dict[str, Any]:
    row = merge_row(name, config.providers.get(name))
    needs = ""
    base_url = row.base_url
    try:
        binding = bind(name, config)
        origin = binding.origin
        base_url = f"{origin.scheme}://{origin.host}:{origin.port}{binding.base_path}"
        # A server on the user's own machine needs no key, so only the file says that it is meant.
        configured = name in config.providers or any(config.secret(e) for e in row.api_key_env)
        if not configured:
            needs = f"[providers.{name}] in the configuration"
    except MissingKey:
        configured = False
        needs = row.api_key_env[0] if row.api_key_env else "a key"
    except ConfigError:
        configured = False
        needs = f"providers.{name}.base_url"
    return {
        "name": name,
        "dialect": row.dialect,
        "base_url": base_url,
        "api_key_env": list(row.api_key_env),
        "configured": configured,
        "needs": needs,
        "capabilities": row.capabilities,
    }
