"""What a model's own settings put into a request that lacks it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["Preset"]

_JSON = msgspec.json.Encoder()
_ANY = msgspec.json.Decoder(dict[str, Any])
_CHAT, _TEXT = "/chat/completions", "/completions"
_LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")


class Preset(Struct, frozen=True):
    """A system prompt, messages (role, text) before the request's own, stops and a limit on output.

    A request that has a system prompt, stops or a limit keeps its own.
    """

    system: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None

    def fill(self, path: str, body: bytes) -> bytes:
        """Give the body with what it lacks; `path` is OpenAI's, and other bodies stay as they are.

        A body that is no JSON object stays as it is too: who gets it will say so.
        """
        if path not in (_CHAT, _TEXT):
            return body
        try:
            tree = _ANY.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return body
        if self.stop and tree.get("stop") is None:
            tree["stop"] = list(self.stop)
        if self.max_tokens is not None and all(tree.get(name) is None for name in _LIMITS):
            tree["max_tokens"] = self.max_tokens
        if path == _CHAT and isinstance(tree.get("messages"), list):
            tree["messages"] = self._before(tree["messages"])
        return _JSON.encode(tree)

    def _before(self, messages: list[Any]) -> list[Any]:
        """Put the system prompt first if there is none; the examples follow the system prompts."""
        count = 0
        while count < len(messages) and _role(messages[count]) in ("system", "developer"):
            count += 1
        system = messages[:count]
        has_one = any(_role(each) in ("system", "developer") for each in messages)
        if self.system is not None and not has_one:
            system = [{"role": "system", "content": self.system}]
        examples = [{"role": role, "content": text} for role, text in self.messages]
        return [*system, *examples, *messages[count:]]


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None
