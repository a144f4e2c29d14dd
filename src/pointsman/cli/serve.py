"""`pointsman serve`."""

from __future__ import annotations

import logging
import sys

import click

from pointsman.cli.output import config_option, echo_json, json_option
from pointsman.cli.trust_self import import_paths, site_folders
from pointsman.config import LOOPBACK_HOSTS, load_config
from pointsman.errors import TrustError
from pointsman.providers.binding import configured_names
from pointsman.trust.environment.check import quick_check

__all__ = ["command"]


@click.command("serve")
@config_option
@click.option("--host", help="Address to listen on; the default is 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@json_option
def command(config_path: str | None, host: str | None, port: int | None, as_json: bool) -> None:
    """Run the gateway.

    With no configuration it takes the providers whose keys are in the environment and the local
    models it finds.
    """
    from pointsman.gateway.server import serve

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    config = load_config(config_path)
    if host is not None:
        config.server.host = host
    if port is not None:
        config.server.port = port
    if config.trust.mode != "off":
        _check_environment(refuse=config.trust.mode == "enforce")

    def ready(url: str) -> None:
        if as_json:
            echo_json({"event": "listening", "url": url})
            sys.stdout.flush()
            return
        names = configured_names(config)
        click.echo(f"Pointsman listens on {url}")
        click.echo(f"  OpenAI clients     base_url = {url}/v1")
        click.echo(f"  Anthropic clients  base_url = {url}")
        click.echo(f"  Gemini clients     base_url = {url}")
        click.echo(
            f"  providers          {', '.join(names) or 'none: set a key, such as OPENAI_API_KEY'}"
        )
        if config.server.host not in LOOPBACK_HOSTS:
            click.echo(f"  key                asked for, from ${config.server.admin_key_env}")
        sys.stdout.flush()

    serve(config, ready)


def _check_environment(*, refuse: bool) -> None:
    """Look at what is cheap to see of the environment that is about to hold the keys.

    Raises:
        TrustError: something was found, and `refuse` is set.
    """
    report = quick_check(site_folders(), import_paths())
    for each in report.findings:
        click.echo(f"{each.severity}: {each.rule}: {each.path}: {each.message}", err=True)
    if not report.findings:
        return
    what = f"{len(report.findings)} findings in this environment; see pointsman trust self"
    if refuse:
        raise TrustError(f"the gateway does not start (trust.mode is enforce): {what}")
    click.echo(what, err=True)
