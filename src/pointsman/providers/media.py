"""Images, sound and video that a request names by an address instead of holding them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from pointsman.errors import UnsupportedParameter

__all__ = ["refuse_addresses"]

_ANY = msgspec.json.Decoder(Any)
# The types of the parts of OpenAI's two forms that may hold one.
_TYPES = frozenset(
    ("image_url", "input_image", "image", "video_url", "input_video", "video", "audio_url",
     "input_audio", "audio", "file", "input_file")
)  # fmt: skip
_WORDS = (b"image", b"video", b"audio", b"file", b"\\u")
# Of files llama.cpp reads only those in the folder that its owner opened (`media-path`).
_ADDRESS = re.compile(r"\s*(?!file:)[A-Za-z][A-Za-z0-9+.\-]*://")


def refuse_addresses(body: bytes, provider: str) -> None:
    """Make sure that a body holds its media itself, as `data:` URLs or in base64.

    A body that is no JSON passes: whoever gets it will say so.

    Raises:
        UnsupportedParameter: it names some by an address, which the server would fetch from wherever
            it stands.
    """
    if not any(word in body for word in _WORDS):
        return
    try:
        rest = [_ANY.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            kind = value.get("type")
            if not isinstance(kind, str) or kind not in _TYPES:
                rest += value.values()
            elif _has_address(value):
                raise UnsupportedParameter(
                    kind, provider, "give its bytes (a 'data:' URL), not its address"
                )
        elif isinstance(value, list):
            rest += value


def _has_address(part: dict[str, Any]) -> bool:
    rest: list[Any] = [part]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            if _ADDRESS.match(value):
                return True
        elif isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    return False
