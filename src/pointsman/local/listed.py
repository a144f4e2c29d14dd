"""A model on this machine and what of it runs, in one row: for the command line and for HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from pointsman.local.slot import Running
from pointsman.local.store import LocalModel

__all__ = ["Listed", "list_rows"]


class Listed(Struct, frozen=True):
    """A model: the fields up to `vision` are of its files, those from `state` on of its process.

    The latter are None for a model that does not run. One whose file is gone while it still runs
    has an empty `path`. For the meaning of each see `LocalModel` and `Running`.
    """

    name: str
    path: str
    bytes: int
    sha256: str | None
    verified: bool
    source: str
    url: str | None = None
    warnings: tuple[str, ...] = ()
    vision: bool = False
    state: Literal["loading", "ready"] | None = None
    leases: int | None = None
    idle_s: float | None = None
    expires_in_s: float | None = None
    context_tokens: int | None = None
    resident_bytes: int | None = None
    predicted_bytes: int | None = None
    vram_bytes: int | None = None
    pid: int | None = None


def list_rows(models: Iterable[LocalModel], running: Iterable[Running]) -> list[Listed]:
    """Give a row for each model, and for each that runs though its file is gone; by name."""
    runs = {each.name: each for each in running}
    rows = [_row(model, runs.pop(model.name, None)) for model in models]
    rows += [_row(LocalModel(name, "", 0, None, False, ""), each) for name, each in runs.items()]
    return sorted(rows, key=lambda row: row.name)


def _row(model: LocalModel, process: Running | None) -> Listed:
    row = Listed(
        name=model.name,
        path=model.path,
        bytes=model.bytes,
        sha256=model.sha256,
        verified=model.verified,
        source=model.source,
        url=model.url,
        warnings=model.warnings,
        vision=model.projector is not None,
    )
    if process is None:
        return row
    return msgspec.structs.replace(
        row,
        state=process.state,
        leases=process.leases,
        idle_s=process.idle_s,
        expires_in_s=process.expires_in_s,
        context_tokens=process.context_tokens,
        resident_bytes=process.resident_bytes,
        predicted_bytes=process.predicted_bytes,
        vram_bytes=process.vram_bytes,
        pid=process.pid,
    )
