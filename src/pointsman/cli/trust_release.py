"""`pointsman trust release`, by the name that the group loads it by."""

from __future__ import annotations

from pointsman.cli.trust_quarantine import release as command

__all__ = ["command"]
