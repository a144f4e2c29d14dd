"""What every dialect needs: checked field reading, data URLs, arguments, signatures, error facts.

A path names a field the way a client would write it: `messages[2].content[0].text`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import msgspec

from pointsman.dialects.base import Target
from pointsman.errors import RequestError
from pointsman.types import Signature

__all__ = [
    "RESULT_SCHEMA",
    "arguments_object",
    "arguments_text",
    "at",
    "carried",
    "data_url",
    "error_message",
    "mask_secrets",
    "optional",
    "parse_data_url",
    "required",
    "retry_after_s",
    "seal",
    "unseal",
    "want_boolean",
    "want_integer",
    "want_list",
    "want_number",
    "want_object",
    "want_string",
]

T = TypeVar("T")

MAX_MESSAGE_CHARS = 300


# Reading fields


def at(path: str, key: str | int) -> str:
    """Give the path of a key or an index below `path` ("" is the body itself)."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _wrong(path: str, expected: str, value: object) -> RequestError:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    kind = "null" if value is None else kinds.get(type(value), "a number")
    return RequestError(f"'{path}' must be {expected}, not {kind}", param=path)


def want_object(value: object, path: str) -> dict[str, Any]:
    """Give the value as an object.

    Raises:
        RequestError: it is something else.
    """
    if isinstance(value, dict):
        return value
    raise _wrong(path, "an object", value)


def want_list(value: object, path: str) -> list[Any]:
    """Give the value as a list.

    Raises:
        RequestError: it is something else.
    """
    if isinstance(value, list):
        return value
    raise _wrong(path, "a list", value)


def want_string(value: object, path: str) -> str:
    """Give the value as a string.

    Raises:
        RequestError: it is something else.
    """
    if isinstance(value, str):
        return value
    raise _wrong(path, "a string", value)


def want_boolean(value: object, path: str) -> bool:
    """Give the value as a boolean.

    Raises:
        RequestError: it is something else.
    """
    if isinstance(value, bool):
        return value
    raise _wrong(path, "a boolean", value)


def want_integer(value: object, path: str) -> int:
    """Give the value as an integer; 5.0 counts as 5, as JSON has one kind of number.

    Raises:
        RequestError: it is something else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, float):
        raise RequestError(f"'{path}' must be a whole number, not {value}", param=path)
    raise _wrong(path, "a whole number", value)


def want_number(value: object, path: str) -> float:
    """Give the value as a number, unchanged (an integer stays one).

    Raises:
        RequestError: it is something else.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise _wrong(path, "a number", value)


def required(
    body: Mapping[str, Any], key: str, want: Callable[[object, str], T], path: str = ""
) -> T:
    """Give the field `key` of the object at `path`, checked by `want`.

    Raises:
        RequestError: it is missing, or `want` refuses it.
    """
    where = at(path, key)
    if key not in body:
        raise RequestError(f"'{where}' is required", param=where)
    return want(body[key], where)


# What a function gives back, as Gemini's declarations may say: others have no place for it, and
# Google's own client sends it for every Python function. Noted under this name, and a hint to all.
RESULT_SCHEMA = "functionDeclarations.responseJsonSchema"


def optional(
    body: Mapping[str, Any], key: str, want: Callable[[object, str], T], path: str = ""
) -> T | None:
    """Give the field `key` of the object at `path`, checked by `want`; None if missing or null.

    Raises:
        RequestError: `want` refuses it.
    """
    value = body.get(key)
    return None if value is None else want(value, at(path, key))


# Data URLs

_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?)(;base64)?,", re.IGNORECASE)


def parse_data_url(url: str, path: str) -> tuple[str, str] | None:
    """Give (media type, standard base64) of a base64 data URL; None for any other URL.

    An absent media type is given as "".

    Raises:
        RequestError: a data URL that is not base64, or whose base64 is broken.
    Source: RFC 2397.
    """
    if url[:5].lower() != "data:":
        return None
    head = _DATA_URL.match(url)
    if head is None or head[3] is None:
        raise RequestError(
            f"'{path}' must be a base64 data URL: data:<media type>;base64,<data>", param=path
        )
    data = url[head.end() :]
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except ValueError:  # binascii.Error, or a letter outside ASCII
        raise RequestError(f"'{path}' holds a data URL with broken base64", param=path) from None
    return head[1].lower(), data


def data_url(media_type: str, data: str) -> str:
    """Give the data URL for standard base64."""
    return f"data:{media_type};base64,{data}"


# A tool call's arguments

_encode = msgspec.json.Encoder().encode


def arguments_object(text: str, path: str) -> dict[str, Any]:
    """Give the arguments as an object; an empty text is an empty object.

    Raises:
        RequestError: the text is not JSON, or not an object.
    """
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise RequestError(f"'{path}' is not valid JSON", param=path) from None
    if not isinstance(value, dict):
        raise RequestError(f"'{path}' must be the JSON text of an object", param=path)
    return value


def arguments_text(value: object) -> str:
    """Give the compact JSON text of the arguments; None is an empty object."""
    return "{}" if value is None else _encode(value).decode()


# Signatures

_MAGIC = b"pm1|"
# How base64 of the magic begins: most texts are told apart without decoding them.
SEAL_PREFIX = "cG0xf"


def seal(signature: Signature) -> str:
    """Give the signature as one standard base64 text that names its origin.

    A client carries it as an opaque value, in any dialect; `unseal` opens it when it comes back.
    """
    raw = _MAGIC + signature.origin.encode() + b"|" + signature.value.encode()
    return base64.b64encode(raw).decode("ascii")


def unseal(text: str, default_origin: str) -> Signature:
    """Open a sealed signature; a text that is no seal is a raw value from `default_origin`.

    URL-safe base64 and missing padding are taken too: clients that hold the value as bytes encode
    it anew in their own way.
    """
    if text.startswith(SEAL_PREFIX):
        plain = text.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            raw = binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
            origin, bar, value = raw.removeprefix(_MAGIC).partition(b"|")
            if bar and raw.startswith(_MAGIC):
                return Signature(value.decode(), origin.decode())
        except ValueError:  # broken base64, a letter outside ASCII, or no UTF-8 inside
            pass
    return Signature(text, default_origin)


def carried(signature: Signature | None, target: Target, dialect: str) -> str | None:
    """Give the raw value if the target made it, or may have (its dialect did); else None."""
    if signature is not None and signature.origin in (target.provider, dialect):
        return signature.value
    return None


# Errors of an upstream

# A key's usual beginnings, and then its body (providers print parts of a key as asterisks).
_SECRET = re.compile(
    r"(?i:\b(bearer)\s+)[\w.~+/*=-]{8,}"
    r"|(?i:\b(basic)\s+)[\w+/*=-]{20,}"
    r"|\b(sk|pk|rk|gsk|csk|xai|hf|nvapi|pplx|fw|r8|tgp)[-_][\w.*-]{8,}"
    r"|\b(AIza|AKIA|ASIA|eyJ)[\w.*-]{12,}"
    r"|(?i:\b(api[-_]?key|x-goog-api-key|access[-_]?token)(?:=|\"?:\s*\"?))[\w.~+/*-]{6,}"
)


def mask_secrets(text: str) -> str:
    """Give the text with everything that looks like a key cut down to its first letters.

    >>> mask_secrets("Incorrect API key provided: sk-proj-abcdefghijklmnop")
    'Incorrect API key provided: sk...'
    """
    return _SECRET.sub(lambda match: match[match.lastindex or 0] + "...", text)


def error_message(text: str) -> str:
    """Give an upstream's message, masked, on one line and at most 300 characters."""
    line = mask_secrets(" ".join(text[: 8 * MAX_MESSAGE_CHARS].split()))
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


def _seconds(text: str, scale: float) -> float | None:
    try:
        value = float(text) * scale
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Give how long the upstream asks to wait; None where it does not say.

    A date counts from the answer's own `date` header, so that no clock is needed and a wrong one
    does no harm; without that header a date says nothing.

    Source: RFC 9110, 10.2.3; `retry-after-ms` as in the official client, openai 3.54
    (`_base_client.py`).
    """
    lower = {name.lower(): value for name, value in headers.items()}
    exact = _seconds(lower.get("retry-after-ms", ""), 0.001)
    if exact is not None:
        return exact
    value = lower.get("retry-after", "")
    seconds = _seconds(value, 1.0)
    if seconds is not None:
        return seconds
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(lower.get("date", ""))
    except (TypeError, ValueError):
        return None
    return max(wait.total_seconds(), 0.0)
