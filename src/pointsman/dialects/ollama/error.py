"""Ollama's error form: a status, and one text.

Source: ollama/ollama, server/routes.go and api/types.go (StatusError), read 2026-11.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pointsman.errors import PointsmanError

__all__ = ["error_line", "write_error"]

_JSON = msgspec.json.Encoder()


def write_error(error: PointsmanError) -> tuple[int, dict[str, Any]]:
    """Give the status and the body."""
    return error.status, {"error": error.message}


def error_line(error: PointsmanError) -> bytes:
    """Give the line of an error in a stream."""
    return _JSON.encode({"error": error.message}) + b"\n"
