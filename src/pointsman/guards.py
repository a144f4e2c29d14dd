"""Guards: what a classifier says of the user's words refuses a request, or marks its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from pointsman.classifiers import Classifiers, labels_in, plain
from pointsman.config import GuardConfig
from pointsman.errors import BlockedByGuard
from pointsman.types import Chat, File, Text

__all__ = ["Guards", "Strike", "user_texts"]

# More than this is not looked at: a guard that blocks refuses it, since what it cannot read it
# cannot let through.
MAX_TEXT_BYTES = 1024 * 1024
# Above this the work goes to a thread, lest all other requests wait.
INLINE_BYTES = 2048


class Strike(Struct, frozen=True):
    """A guard that struck: for which label and how surely. `label` is None where it could not look."""

    guard: str
    label: str | None = None
    p: float = 0.0

    def header(self) -> str:
        """Give it in short, as it stands in `x-pointsman-guard`."""
        if self.label is None:
            return f"{self.guard}; unchecked"
        return f"{self.guard}; label={plain(self.label)}; p={self.p:.2f}"


class Guards:
    """The guards of a configuration, over its classifiers."""

    def __init__(self, guards: dict[str, GuardConfig], classifiers: Classifiers) -> None:
        self._guards = guards
        self._labels = {name: frozenset(guard.labels) for name, guard in guards.items()}
        self._classifiers = classifiers

    async def check(self, texts: Sequence[str] | None) -> tuple[Strike, ...]:
        """Give the guards that mark a request with these user messages, the last one last.

        None stands for messages that cannot be read as text.

        Raises:
            BlockedByGuard: a guard refuses it, or would have to and cannot look at it.
            ConfigError, MissingExtra: as `Classifiers.get`.
            DistillError: a classifier failed; the request is not let through unseen.
        """
        size = 0 if texts is None else sum(map(len, texts))
        if size <= INLINE_BYTES:
            return self._check(texts)
        return await asyncio.to_thread(self._check, texts)

    def _check(self, texts: Sequence[str] | None) -> tuple[Strike, ...]:
        found = []
        for name, guard in self._guards.items():
            read = texts if texts is None or guard.scope == "user" else texts[-1:]
            strike = self._strike(name, guard, read)
            if strike is not None:
                if guard.action == "block":
                    raise _blocked(strike, guard)
                found.append(strike)
        return tuple(found)

    def _strike(self, name: str, guard: GuardConfig, texts: Sequence[str] | None) -> Strike | None:
        if texts is None:
            return Strike(name)
        if sum(len(text.encode("utf-8", "replace")) for text in texts) > MAX_TEXT_BYTES:
            return Strike(name)
        classifier = self._classifiers.get(guard.classifier)
        for text in texts:
            hit = labels_in(classifier, text, self._labels[name])
            if hit is not None:
                return Strike(name, *hit)
        return None


def user_texts(chat: Chat) -> list[str]:
    """Give the text of each turn of the user's; messages that follow one another are one turn."""
    turns: list[str] = []
    goes_on = False
    for message in chat.messages:
        if message.role != "user":
            goes_on = False
            continue
        texts = [part.text for part in message.parts if isinstance(part, Text | File) and part.text]
        if texts and goes_on:
            turns[-1] = "\n".join((turns[-1], *texts))
        elif texts:
            turns.append("\n".join(texts))
            goes_on = True
    return turns


def _blocked(strike: Strike, guard: GuardConfig) -> BlockedByGuard:
    if strike.label is None:
        return BlockedByGuard(
            f"the guard '{strike.guard}' could not look at this request, and so refuses it: it reads"
            f" text, of at most {MAX_TEXT_BYTES} bytes",
            guard=strike.guard,
        )
    what = "the last user message" if guard.scope == "last" else "a user message"
    return BlockedByGuard(
        f"the guard '{strike.guard}' refuses this request: it takes {what} for '{strike.label}'",
        guard=strike.guard,
        label=strike.label,
    )
