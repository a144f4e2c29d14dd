"""`pointsman version`."""

from __future__ import annotations

import platform

import click

from pointsman import __version__
from pointsman.cli.output import echo_json, json_option

__all__ = ["command"]


@click.command("version")
@json_option
def command(as_json: bool) -> None:
    """Print the version of Pointsman and of Python."""
    if as_json:
        echo_json({"version": __version__, "python": platform.python_version()})
    else:
        click.echo(f"pointsman {__version__} (Python {platform.python_version()})")
