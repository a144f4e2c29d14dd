"""Gemini's error form, both ways.

Source: google.rpc.Code, google.rpc.BadRequest and google.rpc.RetryInfo (googleapis, read 2026-11), and the official
client, google-genai 2.34 (`errors.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman.dialects._shared import error_message, retry_after_s
from pointsman.dialects.base import Target
from pointsman.errors import PointsmanError, ProviderError

__all__ = ["error_body", "read_error", "read_error_body", "write_error"]

_NAMES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED", 409: "ABORTED", 413: "INVALID_ARGUMENT", 422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED",
    502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED", 529: "UNAVAILABLE",
}  # fmt: skip
_STATUSES = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429, "INTERNAL": 500, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
_TYPES = "type.googleapis.com/google.rpc."
_DURATION = re.compile(r"(\d+(?:\.\d+)?)s")


def error_body(error: PointsmanError) -> dict[str, Any]:
    """Give the body of an error: Google's own name where the error has one that fits the status,
    else the one that follows from it; what is wrong and how long to wait are in `details`.
    """
    other = "INVALID_ARGUMENT" if 400 <= error.status < 500 else "INTERNAL"
    name = _NAMES.get(error.status, other)
    details: list[dict[str, Any]] = []
    if error.param is not None:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_TYPES}BadRequest", "fieldViolations": [violation]})
    if isinstance(error, ProviderError):
        if error.kind is not None and _STATUSES.get(error.kind) == error.status:
            name = error.kind
        if error.retry_after_s is not None:
            delay = f"{error.retry_after_s:.3f}".rstrip("0").rstrip(".")
            details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{delay}s"})
    body: dict[str, Any] = {"code": error.status, "message": error.message, "status": name}
    return {"error": {**body, "details": details} if details else body}


def write_error(error: PointsmanError) -> tuple[int, dict[str, Any]]:
    """Give the status and the body."""
    return error.status, error_body(error)


def read_error_body(body: object, target: Target) -> ProviderError:
    """Give the error of a body that came without a status: its code, else its name, else 502."""
    message, kind, code, wait = _facts(body)
    status = code if code is not None and 400 <= code <= 599 else _STATUSES.get(kind or "", 502)
    return _error(target, message, status, kind, wait)


def read_error(
    status: int, headers: Mapping[str, str], body: bytes, target: Target
) -> ProviderError:
    """Classify an upstream's error by its status; `body` may be anything at all."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        decoded = None
    message, kind, _, wait = _facts(decoded)
    if not message and decoded is None:
        message = body[:4096].decode("utf-8", "replace")
    if wait is None:
        wait = retry_after_s(headers)
    return _error(target, message, status, kind, wait)


def _error(
    target: Target, message: str, status: int, kind: str | None, wait: float | None
) -> ProviderError:
    says = error_message(message) or f"HTTP status {status}"
    return ProviderError(
        f"{target.provider} says: {says}",
        provider=target.provider,
        model=target.model,
        status=status,
        kind=kind,
        retry_after_s=wait,
    )


def _facts(body: object) -> tuple[str, str | None, int | None, float | None]:
    """Give (message, Google's name, code, seconds to wait)."""
    if isinstance(body, list) and body:
        body = body[0]  # An array stream's error is its first item.
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return (error if isinstance(error, str) else ""), None, None, None
    message, kind, code = error.get("message"), error.get("status"), error.get("code")
    return (
        message if isinstance(message, str) else "",
        kind if isinstance(kind, str) else None,
        code if isinstance(code, int) else None,
        _wait(error.get("details")),
    )


def _wait(details: object) -> float | None:
    for each in details if isinstance(details, list) else ():
        delay = each.get("retryDelay") if isinstance(each, Mapping) else None
        match = _DURATION.fullmatch(delay) if isinstance(delay, str) else None
        if match is not None and len(match[1]) < 16:
            return float(match[1])
    return None
