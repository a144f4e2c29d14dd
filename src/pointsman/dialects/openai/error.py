"""OpenAI's error form, both ways.

Source: the official client, openai 3.54 (`types/shared/error_object.py`, `_exceptions.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman.dialects._shared import error_message, mask_secrets, retry_after_s
from pointsman.dialects.base import Target
from pointsman.dialects.openai.llama_cpp import status_of
from pointsman.errors import PointsmanError, ProviderError

__all__ = ["error_body", "read_error", "read_error_body", "write_error"]

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    429: "rate_limit_error",
    504: "timeout_error",
}
# Words by which compatible servers classify an error that came without a status.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "overloaded_error": 529,
}


def error_body(error: PointsmanError) -> dict[str, Any]:
    """Give the body of an error, in a stream or not; its type follows from the status."""
    other = "invalid_request_error" if 400 <= error.status < 500 else "server_error"
    return {
        "error": {
            "message": error.message,
            "type": _TYPES.get(error.status, other),
            "param": error.param,
            "code": error.code,
        }
    }


def write_error(error: PointsmanError) -> tuple[int, dict[str, Any]]:
    """Give the status and the body."""
    return error.status, error_body(error)


def read_error_body(error: object, target: Target) -> ProviderError:
    """Give the error of an `error` field that came without a status, in a stream or an answer.

    The status is a number in `code` or `status`, else follows from the words; else 502.
    """
    message, kind, param = _facts({"error": error})
    status = 502
    if isinstance(error, Mapping):
        for key in ("status", "status_code", "code"):
            value = error.get(key)
            text = str(value) if isinstance(value, int | str) else ""
            if text.isdecimal() and 400 <= int(text) <= 599:
                return _error(target, message, int(text), kind, param, None)
        words = (error.get("code"), error.get("type"))
        status = next((_STATUSES[w] for w in words if isinstance(w, str) and w in _STATUSES), 502)
    return _error(target, message, status, kind, param, None)


def read_error(
    status: int, headers: Mapping[str, str], body: bytes, target: Target
) -> ProviderError:
    """Classify an upstream's error by its status; `body` may be anything at all."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        decoded = None
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]  # Google's OpenAI surface wraps its errors so.
    if isinstance(decoded, dict):
        message, kind, param = _facts(decoded)
    else:
        message, kind, param = body[:4096].decode("utf-8", "replace"), None, None
    return _error(target, message, status, kind, param, retry_after_s(headers))


def _error(
    target: Target,
    message: str,
    status: int,
    kind: str | None,
    param: str | None,
    retry_after: float | None,
) -> ProviderError:
    says = error_message(message) or f"HTTP status {status}"
    if target.quirks.llama_cpp:
        status = status_of(status, message)
    return ProviderError(
        f"{target.provider} says: {says}",
        provider=target.provider,
        model=target.model,
        status=status,
        kind=kind,
        param=param,
        retry_after_s=retry_after,
    )


def _facts(body: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """Give (message, code or type, param) from the forms that compatible servers use."""
    error = body.get("error")
    if not isinstance(error, Mapping):
        texts = (error, body.get("message"), body.get("detail"))
        found = next((text for text in texts if isinstance(text, str) and text), None)
        if found is None:
            # FastAPI's list of faults stands in `detail`, Mistral's in `message`.
            faults = body.get("detail") or body.get("message")
            found = msgspec.json.encode(faults).decode() if faults else ""
        return found, _text(body.get("code")) or _text(body.get("type")), None
    message = error.get("message")
    if message is not None and not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    return (
        message or "",
        _text(error.get("code")) or _text(error.get("type")),
        _text(error.get("param")),
    )


def _text(value: object) -> str | None:
    return mask_secrets(value) if isinstance(value, str) and value else None
