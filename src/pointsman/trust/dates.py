"""How a moment is written down: ISO 8601 in UTC, to the second."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["written"]


def written(moment: datetime) -> str:
    """Give a moment, which knows its zone, such as `2026-11-24T18:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
