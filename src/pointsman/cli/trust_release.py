"""`pointsman trust release`."""

from __future__ import annotations

import click

from pointsman.cli.output import config_option, echo_json, json_option
from pointsman.config import load_config
from pointsman.local.admission import state_of
from pointsman.quarantine import remote_name

__all__ = ["command"]


@click.command("release")
@click.argument("name")
@config_option
@json_option
def command(name: str, config_path: str | None, as_json: bool) -> int:
    """Take a model out of quarantine. Exit 1 if it was not in it."""
    config = load_config(config_path)
    state = state_of(config)
    full = name.removeprefix("local:")
    released, shown = state.release(full), f"local:{full}"
    remote = None if released or name.startswith("local:") else remote_name(name, config)
    if remote is not None:
        full, shown, released = remote, remote, state.release(remote)
    if as_json:
        echo_json({"name": full, "released": released})
    else:
        click.echo(f"{shown} {'is released' if released else 'was not in quarantine'}")
    return 0 if released else 1
