"""`pointsman doctor`."""

from __future__ import annotations

import asyncio
import importlib.util
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from pointsman import __version__
from pointsman.cli.output import config_option, echo_json, json_option
from pointsman.config import Config, load_config
from pointsman.door import Door
from pointsman.errors import PointsmanError
from pointsman.listing import list_provider
from pointsman.providers.binding import configured_names

__all__ = ["command"]

TIMEOUT_S = 10.0


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Ask no provider.")
@config_option
@json_option
def command(offline: bool, config_path: str | None, as_json: bool) -> int:
    """Check the environment: configuration, keys, providers, local models.

    Exit 1 if something that is configured does not work.
    """
    checks = list(_checks(config_path, offline))
    if as_json:
        echo_json(checks)
    else:
        for check in checks:
            mark = {"ok": "ok  ", "note": "note", "fault": "FAIL"}[check["status"]]
            click.echo(f"{mark}  {check['name']}: {check['message']}")
    return 1 if any(check["status"] == "fault" for check in checks) else 0


def _check(name: str, status: str, message: str) -> dict[str, str]:
    return {"name": name, "status": status, "message": message}


def _checks(config_path: str | None, offline: bool) -> Any:
    yield _check(
        "version",
        "ok",
        f"pointsman {__version__}, Python {platform.python_version()} on {sys.platform}",
    )
    try:
        config = load_config(config_path)
    except PointsmanError as error:
        yield _check("configuration", "fault", error.message)
        return
    yield _check("configuration", "ok", config.path or "none; defaults and the environment")
    yield _home(config)
    yield from _engines(config)
    names = configured_names(config)
    if not names:
        yield _check("providers", "note", "no key in the environment and none configured")
    elif offline:
        yield _check("providers", "note", f"not asked (--offline): {', '.join(names)}")
    else:
        yield from asyncio.run(_providers(config, names))


def _home(config: Config) -> dict[str, str]:
    home = Path(config.home)
    existing = next(path for path in (home, *home.parents) if path.exists())
    free_gib = shutil.disk_usage(existing).free / 2**30
    return _check("data directory", "ok", f"{home} ({free_gib:.1f} GiB free)")


def _engines(config: Config) -> Any:
    server = config.local.llama_server or shutil.which("llama-server")
    if server:
        yield _check("local engine", "ok", f"llama-server at {server}")
    elif importlib.util.find_spec("xllamacpp"):
        yield _check("local engine", "ok", "the xllamacpp worker")
    else:
        yield _check("local engine", "note", "none: pip install 'pointsman[local]'")
    if importlib.util.find_spec("onnxruntime"):
        yield _check("router", "ok", "onnxruntime is here")
    else:
        yield _check(
            "router", "note", "routes go by the dial alone: pip install 'pointsman[router]'"
        )
    local = ", ".join(Door(config).local.names())
    yield _check("local models", "ok" if local else "note", local or "none: pointsman pull smollm2")


async def _providers(config: Config, names: list[str]) -> list[dict[str, str]]:
    door = Door(config)
    try:
        return list(await asyncio.gather(*(_reach(door, name) for name in names)))
    finally:
        await door.aclose()


async def _reach(door: Door, name: str) -> dict[str, str]:
    try:
        binding = door.dispatcher.binding(name)
        if not binding.row.capabilities.list_models:
            return _check(f"provider {name}", "note", "ready; it has no list of models to ask for")
        async with asyncio.timeout(TIMEOUT_S):
            models = await list_provider(door, name)
    except TimeoutError:
        return _check(f"provider {name}", "fault", f"no answer in {TIMEOUT_S:g} s")
    except PointsmanError as error:
        return _check(f"provider {name}", "fault", error.message)
    return _check(f"provider {name}", "ok", f"{len(models)} models")
