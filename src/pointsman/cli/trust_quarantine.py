"""`pointsman trust quarantine`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pointsman.cli.output import config_option, echo_json, json_option, table
from pointsman.config import load_config
from pointsman.errors import PointsmanError
from pointsman.local.admission import state_of
from pointsman.local.host import store_of
from pointsman.local.verification import set_aside
from pointsman.quarantine import remote_name
from pointsman.trust.dates import written
from pointsman.trust.state import Quarantine

__all__ = ["command"]


@click.command("quarantine")
@click.argument("name", required=False)
@click.option("--reason", default="set aside by hand", show_default=True, help="Why; it is shown.")
@config_option
@json_option
def command(name: str | None, reason: str, config_path: str | None, as_json: bool) -> None:
    """Set a model aside until it is released: a local one is not loaded, a remote one not asked. Without
    NAME, list what is.

    Its files are refused by their hashes, under whatever name. A model that runs now goes on until it
    is unloaded (pointsman stop NAME).
    """
    config = load_config(config_path)
    state = state_of(config)
    if name is not None:
        now = written(datetime.now(UTC))
        try:
            full = set_aside(name.removeprefix("local:"), reason, now, store_of(config), state)
            shown = f"local:{full}"
        except PointsmanError as error:
            remote = None if name.startswith("local:") else remote_name(name, config)
            if remote is None:
                raise click.ClickException(error.message) from error
            state.set_aside(remote, Quarantine(reason, now))
            full, shown = remote, remote
        if not as_json:
            click.echo(f"{shown} is in quarantine; pointsman trust release {full} ends it")
            return
    rows = [
        {"name": each, "reason": entry.reason, "at": entry.at, "sha256": list(entry.sha256)}
        for each, entry in sorted(state.quarantined().items())
    ]
    if as_json:
        echo_json(rows)
    elif rows:
        cells = [[str(row["name"]), str(row["at"]), str(row["reason"])] for row in rows]
        click.echo(table(cells, ["model", "since", "reason"]))
    else:
        click.echo("nothing is in quarantine")
