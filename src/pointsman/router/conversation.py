"""What is remembered of a conversation: who answers it, how its run looks, whose cache is warm.

Bounded, in memory only, and nothing of the prompt: a conversation is known by its id, else by a hash of
how it opens.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from msgspec import Struct, field

from pointsman.router.prognosis import Level
from pointsman.router.trajectory import Progress
from pointsman.types import Chat, Text

__all__ = ["CACHE_TTL_S", "Conversation", "Conversations", "conversation_key"]

MAX_CONVERSATIONS = 16_384
MAX_ID_CHARS = 256
# How much of the system prompt and of the first message is looked at.
OPENING_CHARS = 4096
# How long a prompt cache stays warm after its last use, for planning.
# Source: platform.claude.com/docs/en/build-with-claude/prompt-caching (5 minutes by default) and
# platform.openai.com/docs/guides/prompt-caching (5 to 10 minutes of inactivity), read 2026-11.
CACHE_TTL_S = 300.0


class Conversation(Struct):
    """What is remembered of one. `warm` has, by ref, the prompt tokens that its cache holds and since
    when (seconds, the caller's clock); `turns` counts the answers.
    """

    ref: str | None = None
    seen_s: float = 0.0
    turns: int = 0
    switches: int = 0
    level: Level = field(default_factory=Level)
    progress: Progress | None = None
    messages: int = 0
    warm: dict[str, tuple[int, float]] = field(default_factory=dict)

    def warm_tokens(self, now_s: float) -> dict[str, int]:
        """Give the tokens that are still warm, by ref."""
        return {
            ref: tokens for ref, (tokens, at_s) in self.warm.items() if now_s - at_s < CACHE_TTL_S
        }

    def answered(self, ref: str, prompt_tokens: int, now_s: float) -> None:
        """Note that a candidate answered: the conversation is with it now, and its cache is warm."""
        if self.ref is not None and self.ref != ref:
            self.switches += 1
        self.ref = ref
        self.turns += 1
        self.seen_s = now_s
        self.warm[ref] = (prompt_tokens, now_s)
        while len(self.warm) > 8:
            del self.warm[next(iter(self.warm))]


class Conversations:
    """Key → conversation; the longest unused go first, and all after `ttl_s`."""

    def __init__(self, ttl_s: float = 3600.0, limit: int = MAX_CONVERSATIONS) -> None:
        self._kept: OrderedDict[bytes, Conversation] = OrderedDict()
        self._ttl_s = ttl_s
        self._limit = limit

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._kept)

    def get(self, key: bytes, now_s: float) -> Conversation:
        """Give the conversation, a new one if it is not known or too old."""
        found = self._kept.get(key)
        if found is not None and now_s - found.seen_s <= self._ttl_s:
            self._kept.move_to_end(key)
            return found
        return self.start(key, now_s)

    def start(self, key: bytes, now_s: float) -> Conversation:
        """Give a new conversation in the place of any of that key."""
        found = self._kept[key] = Conversation(seen_s=now_s)
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return found


def conversation_key(route: str, chat: Chat, given: str | None = None) -> bytes | None:
    """Give a conversation's key on a route: by the id `given`, else by how the chat opens.

    None for a chat without a word of the user's and without an id. Two conversations that open alike
    and have no ids share what is remembered, until one of them opens anew.
    """
    digest = blake2b(route.encode(), digest_size=16)
    if given:
        digest.update(b"\x01" + given[:MAX_ID_CHARS].encode("utf-8", "replace"))
        return digest.digest()
    opened = 0
    for message in chat.messages:
        if message.role in ("system", "user"):
            digest.update(b"\x02" + message.role.encode())
            for part in message.parts:
                if isinstance(part, Text):
                    digest.update(part.text[:OPENING_CHARS].encode("utf-8", "replace"))
        if message.role == "user":
            opened += 1
            break
    return digest.digest() if opened else None
