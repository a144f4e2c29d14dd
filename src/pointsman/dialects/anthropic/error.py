"""Anthropic's error form, both ways.

Source: the types of the official client, anthropic 2.12.0 (`types/shared/error_type.py`,
`types/thread_unsupported_request_error_details.py`, `_exceptions.py`), and Anthropic's API
documentation, "Errors" (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman.dialects._shared import error_message, retry_after_s
from pointsman.dialects.base import Target
from pointsman.errors import PointsmanError, ProviderError, UnsupportedParameter

__all__ = ["read_error", "read_error_body", "write_error"]

_STATUS_TYPE = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_TYPE_STATUS = {kind: status for status, kind in _STATUS_TYPE.items() if status != 408}


def write_error(error: PointsmanError) -> tuple[int, dict[str, Any]]:
    """Give the status and the body. The type follows from the status, but for an upstream's own
    word where that is one of Anthropic's.

    A thread that the target has none of is refused with the details that make Anthropic's own
    client send the whole history instead.
    """
    status = error.status
    kind = error.kind if isinstance(error, ProviderError) else None
    if kind not in _TYPE_STATUS:
        other = "invalid_request_error" if 400 <= status < 500 else "api_error"
        kind = _STATUS_TYPE.get(status, other)
    body: dict[str, Any] = {"type": kind, "message": error.message}
    if isinstance(error, UnsupportedParameter) and error.param == "thread":
        body["details"] = {"error_code": "thread_unsupported_request"}
    return status, {"type": "error", "error": body}


def read_error_body(body: Mapping[str, Any], target: Target) -> ProviderError:
    """Give the error of a body that came without a status: in a stream, or in place of an answer.

    The status follows from the error's type; an unknown type counts as 502.
    """
    message, kind = _message(body)
    return ProviderError(
        _says(target, message),
        provider=target.provider,
        model=target.model,
        status=_TYPE_STATUS.get(kind or "", 502),
        kind=kind,
    )


def read_error(
    status: int, headers: Mapping[str, str], body: bytes, target: Target
) -> ProviderError:
    """Classify an upstream's error by its status; `body` may be anything at all."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        decoded = None
    if isinstance(decoded, dict):
        message, kind = _message(decoded)
    else:
        message, kind = body[:4096].decode("utf-8", "replace"), None
    return ProviderError(
        _says(target, message or f"HTTP status {status}"),
        provider=target.provider,
        model=target.model,
        status=status,
        kind=kind,
        retry_after_s=retry_after_s(headers),
    )


def _message(body: Mapping[str, Any]) -> tuple[str, str | None]:
    error = body.get("error")
    if not isinstance(error, dict):
        # Compatible servers: FastAPI's `detail`, or a bare message.
        for value in (error, body.get("message"), body.get("detail")):
            if isinstance(value, str):
                return value, None
        return "", None
    message, kind = error.get("message"), error.get("type")
    return (
        message if isinstance(message, str) else "",
        kind if isinstance(kind, str) else None,
    )


def _says(target: Target, message: str) -> str:
    return f"{target.provider} says: {error_message(message) or 'nothing more'}"
