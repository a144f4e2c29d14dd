"""Remembers which provider made a signature that was passed on as it was.

Two providers may speak one dialect, and a signature does not say whose it is. When it comes back in a
body that would go to the other one, it is sealed with its maker's name first: the dialect then leaves
it out. Bounded; one that is forgotten is taken for the provider's own, as before.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from hashlib import blake2b

from pointsman.dialects._shared import seal
from pointsman.types import Signature

__all__ = ["Makers", "may_hold"]

MAX_SIGNATURES = 16_384
_SIGNATURE = re.compile(
    rb'"(?:signature|thoughtSignature|thought_signature)"\s*:\s*"([^"\\]+)"'
    rb'|"redacted_thinking"\s*,\s*"data"\s*:\s*"([^"\\]+)"'
)


class Makers:
    """A digest of each signature → the provider that made it; the oldest go first."""

    def __init__(self, limit: int = MAX_SIGNATURES) -> None:
        self._makers: OrderedDict[bytes, str] = OrderedDict()
        self._limit = limit

    def note(self, provider: str, data: bytes) -> None:
        """Remember the signatures in an answer, or in whole events of one."""
        if not may_hold(data):
            return
        for match in _SIGNATURE.finditer(data):
            self._makers[_digest(match[1] or match[2])] = provider
            if len(self._makers) > self._limit:
                self._makers.popitem(last=False)

    def sealed(self, provider: str, body: bytes) -> bytes:
        """Give a body in which the signatures of other providers are sealed; mostly the same one."""
        if not self._makers or not may_hold(body):
            return body
        return _SIGNATURE.sub(lambda match: self._seal(match, provider), body)

    def _seal(self, match: re.Match[bytes], provider: str) -> bytes:
        value = match[1] or match[2]
        maker = self._makers.get(_digest(value))
        if maker is None or maker == provider:
            return match[0]
        sealed = seal(Signature(value.decode("utf-8", "replace"), maker)).encode()
        return match[0].replace(value, sealed)


def may_hold(data: bytes) -> bool:
    """Whether there may be a signature in it: a plain search, for what is mostly text."""
    return b'ignature"' in data or b'"redacted_thinking"' in data


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()
