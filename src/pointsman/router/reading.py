"""What a prompt asks for: the skills it leans on, how hard it is, and how long its answer will be."""

from __future__ import annotations

from pointsman.types import PromptReading

__all__ = ["PromptReading"]
