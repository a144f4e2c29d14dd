"""One model as the engine keeps it: its process, who uses it, who waits for it, how it failed."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.child import Child
from pointsman.local.planning import Plan
from pointsman.local.schedule import Memory, Resident

__all__ = ["Running", "Slot", "back_off_s"]

BACK_OFF_FIRST_S = 0.5
BACK_OFF_MOST_S = 30.0


class Running(Struct, frozen=True):
    """A model that runs now or is being loaded. `leases` counts the requests on it, and `idle_s`
    the seconds since the last one ended (0 while there is one).

    `expires_in_s` is the time until it is unloaded, None while it is in use or for one that stays.
    `predicted_bytes` is what it was expected to hold, `vram_bytes` the part of that on graphics
    cards; `resident_bytes` is what its process holds in main memory now.
    """

    name: str
    pid: int | None
    port: int | None
    context_tokens: int | None
    leases: int
    resident_bytes: int | None
    state: Literal["loading", "ready"] = "ready"
    idle_s: float = 0.0
    expires_in_s: float | None = None
    predicted_bytes: int = 0
    vram_bytes: int = 0


class Slot:
    """What is known of one model's process: itself, who uses it, who waits for it, how it failed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.child: Child | None = None
        # Its process is being stopped.
        self.ending: asyncio.Task[None] | None = None
        self.starting: asyncio.Task[None] | None = None
        self.plan: Plan | None = None
        # What it holds or is about to hold; None if nothing.
        self.holds: Memory | None = None
        # Set while it waits for memory; gives what must have ended before it is there.
        self.room: asyncio.Future[list[asyncio.Task[None]]] | None = None
        self.waiters: list[asyncio.Future[None]] = []
        self.leases = 0
        self.used_at = time.monotonic()
        self.keep_s: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.expires_at: float | None = None
        self.failures = 0
        self.not_before = 0.0
        self.fault: LocalError | None = None

    @property
    def ready(self) -> bool:
        """Whether its process runs, and is not about to be stopped."""
        return self.child is not None and self.ending is None and not self.child.ended.is_set()

    def resident(self) -> Resident | None:
        """What the scheduler must know of it; None if it holds no memory."""
        if self.holds is None:
            return None
        # Whether others wait for it does not count: they wait behind the one it is evicted for.
        idle = self.ready and self.leases == 0
        return Resident(self.name, self.holds, self.used_at if idle else None)

    def note_failure(self) -> None:
        """Hold the next start back, the longer the more often it has failed."""
        self.failures += 1
        self.not_before = time.monotonic() + back_off_s(self.failures)

    def disarm(self) -> None:
        """Take back its unloading."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.expires_at = None

    def report(self) -> Running:
        """What is told of it; any thread may ask."""
        child = self.child if self.starting is None else None
        now = time.monotonic()
        return Running(
            name=self.name,
            pid=child.pid if child else None,
            port=child.port if child else None,
            context_tokens=child.order.context if child else None,
            leases=self.leases,
            resident_bytes=child.resident_bytes() if child else None,
            state="ready" if child else "loading",
            idle_s=0.0 if self.leases else now - self.used_at,
            expires_in_s=None if self.expires_at is None else max(0.0, self.expires_at - now),
            predicted_bytes=self.plan.footprint.total_bytes if self.plan else 0,
            vram_bytes=self.plan.need.vram_bytes if self.plan else 0,
        )


def back_off_s(failures: int) -> float:
    """Seconds to wait before a start that follows `failures` failures in a row, the first is 1.

    The first comes at once: most crashes are of one request, and its neighbours should not wait.
    """
    if failures < 2:
        return 0.0
    return min(BACK_OFF_FIRST_S * 2.0 ** (failures - 2), BACK_OFF_MOST_S)
