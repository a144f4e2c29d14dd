"""What is kept of a canary. Apart from what makes it: whoever keeps it needs no probe."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["CanaryRecord", "Reason"]

Reason: TypeAlias = Literal["first", "schedule", "version"]


class CanaryRecord(Struct, frozen=True, kw_only=True):
    """What is kept of a canary. Times are Unix seconds, but for `at`, which is ISO 8601 in UTC.

    `verdict` is the probe's, None before the first one. `versions` are those that were probed, the latest
    last. `began_s` has the probes of the last 24 hours, `running_s` the one under way.
    """

    ref: str
    verdict: str | None = None
    score: float = 0.0
    triggers: tuple[str, ...] = ()
    reason: Reason | None = None
    at: str = ""
    at_s: float | None = None
    calls: int = 0
    seconds: float = 0.0
    cost_usd: float | None = None
    incomplete: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    runs: int = 0
    began_s: tuple[float, ...] = ()
    running_s: float | None = None
