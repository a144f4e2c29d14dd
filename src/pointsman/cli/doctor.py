"""`pointsman doctor`."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from pointsman import __version__
from pointsman._http.h1 import H1Transport
from pointsman.cli.output import config_option, echo_json, json_option
from pointsman.cli.trust_self import import_paths, site_folders
from pointsman.config import Config, load_config
from pointsman.door import Door
from pointsman.errors import PointsmanError
from pointsman.listing import list_provider
from pointsman.local.admission import state_of
from pointsman.local.child import child_environment
from pointsman.local.devices import Device, cards
from pointsman.local.hardware import Budget, budget, engine_threads
from pointsman.local.host import settings_of, store_of
from pointsman.local.planning import EngineSettings
from pointsman.local.schedule import Memory
from pointsman.local.starter import Starter
from pointsman.local.store import LocalModel
from pointsman.providers.binding import configured_names
from pointsman.trust.environment.check import check_environment
from pointsman.trust.findings import NOTHING_FOUND

__all__ = ["command"]

TIMEOUT_S = 10.0
VERSION_S = 5.0
MIB, GIB = 2**20, 2**30
# `version: 11434 (c0ffee)`, in all builds since 2023: common/common.cpp, b11434.
_BUILD = re.compile(r"^version: (\d+)", re.MULTILINE)

Check = dict[str, Any]


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


def _check(name: str, status: str, message: str, **facts: Any) -> Check:
    return {"name": name, "status": status, "message": message, **facts}


def _checks(config_path: str | None, offline: bool) -> Iterator[Check]:
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
    yield _environment()
    yield _router()
    yield from _canaries(config)
    yield from _local(config)
    names = configured_names(config)
    if not names:
        yield _check("providers", "note", "no key in the environment and none configured")
    elif offline:
        yield _check("providers", "note", f"not asked (--offline): {', '.join(names)}")
    else:
        yield from asyncio.run(_providers(config, names))


def _home(config: Config) -> Check:
    home = Path(config.home)
    return _check("data directory", "ok", f"{home} ({_free(home) / GIB:.1f} GiB free)")


def _environment() -> Check:
    """What `pointsman trust self` finds, in short."""
    checked = check_environment(site_folders(), import_paths(), os.environ)
    report = checked.report
    facts = {"findings": len(report.findings), "incomplete": len(report.incomplete)}
    if report.findings:
        first = report.findings[0]
        why = f"{len(report.findings)} findings, such as {first.rule}: {first.path}"
        return _check("environment", "fault", f"{why}; see pointsman trust self", **facts)
    if report.incomplete:
        why = f"{report.incomplete[0]}; see pointsman trust self"
        return _check("environment", "note", why, **facts)
    message = f"{checked.packages} packages: {NOTHING_FOUND}"
    return _check("environment", "ok", message, **facts)


def _canaries(config: Config) -> Iterator[Check]:
    """What the gateway's canaries came to at last, and which remote models are set aside."""
    state = state_of(config)
    try:
        records, aside = state.canaries(), state.quarantined()
    except PointsmanError as error:
        yield _check("canaries", "fault", error.message)
        return
    for name, row in config.trust.canary.items():
        record = records.get(name)
        title = f"canary {name}"
        if record is None or record.verdict is None:
            why = f"{row.ref} was not probed yet: pointsman serve does so"
            yield _check(title, "note", why, ref=row.ref, verdict=None)
            continue
        found = record.verdict in ("suspected", "backdoored")
        status = "fault" if found else "ok" if record.verdict == "nothing-found" else "note"
        said = NOTHING_FOUND if status == "ok" else record.verdict
        why = f"{record.ref}, {record.at}: {said}"
        if record.incomplete:
            why += f" ({record.incomplete[0]})"
        yield _check(title, status, why, ref=record.ref, verdict=record.verdict)
    for name, entry in aside.items():
        yield _check(f"quarantine {name}", "note", entry.reason, since=entry.at)


def _free(folder: Path) -> int:
    """The free bytes of a folder's disk, also of a folder that is yet to be made."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def _router() -> Check:
    if importlib.util.find_spec("onnxruntime"):
        return _check("router", "ok", "onnxruntime is here")
    why = "routes go by the dial alone: pip install 'pointsman[router]'"
    return _check("router", "note", why)


def _local(config: Config) -> Iterator[Check]:
    """What local models need: an engine, memory, a disk; and each model itself."""
    settings = settings_of(config.local)
    server = settings.llama_server or shutil.which("llama-server")
    yield _engine(server, settings)
    found = budget(server)
    yield _devices(found.devices, cards())
    may = settings.memory or Memory(found.ram_bytes, found.vram_bytes)
    yield _memory(found, may, chosen=settings.memory is not None)
    store = store_of(config)
    yield _folder(store.directory)
    names = store.names()
    yield _check(
        "local models",
        "ok" if names else "note",
        ", ".join(names) or "none: pointsman pull smollm2",
    )
    starter = Starter(store, _with(settings, may), H1Transport())
    for name in names:
        yield _model(starter, name, store.get, configured=store.is_configured(name))


def _engine(server: str | None, settings: EngineSettings) -> Check:
    threads = settings.threads or engine_threads()
    if server:
        build = _build_of(server)
        if build is None:
            why = f"llama-server at {server} does not say its version: is it one, and does it run?"
            return _check("local engine", "fault", why, engine="llama-server", path=server)
        message = f"llama-server b{build} at {server}, {threads} threads"
        facts: Check = {"engine": "llama-server", "version": build, "path": server}
        return _check("local engine", "ok", message, **facts, threads=threads)
    if importlib.util.find_spec("xllamacpp"):
        version = importlib.metadata.version("xllamacpp")
        message = f"the xllamacpp worker {version}, {threads} threads"
        facts = {"engine": "worker", "version": version}
        return _check("local engine", "ok", message, **facts, threads=threads)
    return _check("local engine", "note", "none: pip install 'pointsman[local]'")


def _build_of(server: str) -> str | None:
    """The build's number of a llama-server, which it says on standard error."""
    try:
        done = subprocess.run(  # noqa: S603  # the engine of the configuration
            [server, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_S,
            env=child_environment(os.environ),
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    found = _BUILD.search(done.stderr + done.stdout)
    return found[1] if found else None


def _devices(usable: tuple[Device, ...], seen: list[Device]) -> Check:
    rows = [
        {"name": each.name, "total_bytes": each.total_bytes, "free_bytes": each.free_bytes}
        for each in usable
    ]
    if usable:
        message = ", ".join(f"{each.name} ({_size_of(each)})" for each in usable)
        return _check("graphics cards", "ok", message, devices=rows)
    if seen:
        there = ", ".join(each.name for each in seen)
        why = f"the engine cannot use what is here ({there}): it is a build for processors alone"
        return _check("graphics cards", "note", why, devices=rows)
    return _check("graphics cards", "ok", "none; models run on the processor", devices=rows)


def _size_of(device: Device) -> str:
    if device.unified:
        return "shares the machine's memory"
    return f"{device.free_bytes / GIB:.1f} of {device.total_bytes / GIB:.1f} GiB free"


def _memory(found: Budget, may: Memory, *, chosen: bool) -> Check:
    parts = [f"{may.ram_bytes / GIB:.1f} GiB for local models"]
    if may.vram_bytes:
        parts.append(f"and {may.vram_bytes / GIB:.1f} GiB on graphics cards")
    by = "local.memory_bytes; of" if chosen else "of"
    total, available = found.total_ram_bytes / GIB, found.available_ram_bytes / GIB
    return _check(
        "memory",
        "ok",
        f"{' '.join(parts)} ({by} {total:.1f} GiB, {available:.1f} GiB available now)",
        ram_bytes=may.ram_bytes,
        vram_bytes=may.vram_bytes,
        total_bytes=found.total_ram_bytes,
        available_bytes=found.available_ram_bytes,
    )


def _folder(folder: Path) -> Check:
    free = _free(folder)
    message = f"{folder} ({free / GIB:.1f} GiB free)"
    return _check("models' folder", "ok", message, path=str(folder), free_bytes=free)


def _model(starter: Starter, name: str, get: Any, *, configured: bool) -> Check:
    """A model: what it will hold as it would be run, or why it cannot be."""
    title = f"local model {name}"
    try:
        model: LocalModel = get(name)
        if model.url is not None:
            return _check(title, "ok", f"runs at {model.url}", url=model.url)
        plan = starter.plan(name)
    except PointsmanError as error:
        # One that was pulled may wait for a larger machine; one that is configured should run.
        return _check(title, "fault" if configured else "note", error.message, fits=False)
    need, order = plan.footprint, plan.order
    parts = f"weights {need.weights_bytes // MIB}, cache {need.cache_bytes // MIB}"
    message = (
        f"fits: about {need.total_bytes // MIB} MiB ({parts}) with a context of"
        f" {order.context:,} tokens for {order.slots} at a time"
    )
    facts = {
        "fits": True,
        "predicted_bytes": need.total_bytes,
        "context_tokens": order.context,
        "slots": order.slots,
        "warnings": list(model.warnings),
    }
    if model.warnings:
        return _check(title, "note", f"{message}; but it {'; '.join(model.warnings)}", **facts)
    return _check(title, "ok", message, **facts)


def _with(settings: EngineSettings, memory: Memory) -> EngineSettings:
    """The settings with a budget that was looked up already."""
    return msgspec.structs.replace(settings, memory=memory)


async def _providers(config: Config, names: list[str]) -> list[Check]:
    door = Door(config)
    try:
        return list(await asyncio.gather(*(_reach(door, name) for name in names)))
    finally:
        await door.aclose()


async def _reach(door: Door, name: str) -> Check:
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
