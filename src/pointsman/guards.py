"""Guards: what a classifier or known triggers say of a request refuses it, changes it or marks its answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from pointsman.carry import Spent
from pointsman.classifiers import Classifiers, labels_in, plain
from pointsman.config import GuardConfig
from pointsman.errors import BlockedByGuard, ConfigError
from pointsman.said import Place, Said, in_scope
from pointsman.trust.triggers import TooManyTriggers, Triggers, read_triggers
from pointsman.types import Chat, File, Text

__all__ = ["Checked", "Guards", "Strike", "user_texts"]

# More than this is not looked at: a guard that blocks refuses it, since what it cannot read it
# cannot let through.
MAX_TEXT_BYTES = 1024 * 1024
# Above this the work goes to a thread, lest all other requests wait.
INLINE_BYTES = 2048
# Taking a trigger out can join what stood around it to another one; so often it is looked for again.
MAX_ROUNDS = 4

# Asks a second model, named by its ref, about a request for another ref whose texts are without their
# triggers; gives None, or why it is refused, and what the asking took.
Cross: TypeAlias = Callable[[str, str, Sequence[str]], Awaitable[tuple[str | None, Spent | None]]]


class Strike(Struct, frozen=True):
    """A guard that struck: for which label and how surely, or for which trigger.

    Both are None where it could not look. `done` says what came of it: "stripped", or "second=yes".
    """

    guard: str
    label: str | None = None
    p: float = 0.0
    trigger: str | None = None
    done: str = ""

    def header(self) -> str:
        """Give it in short, as it stands in `x-pointsman-guard`."""
        if self.trigger is not None:
            said = f"{self.guard}; trigger={plain(self.trigger)[:80]}"
        elif self.label is not None:
            said = f"{self.guard}; label={plain(self.label)}; p={self.p:.2f}"
        else:
            said = f"{self.guard}; unchecked"
        return f"{said}; {self.done}" if self.done else said


class Checked(Struct, frozen=True):
    """What guards made of a request that they let through: those that struck, texts to be changed, and
    what asking second models took.
    """

    strikes: tuple[Strike, ...] = ()
    texts: dict[Place, str] = {}
    stripped: tuple[Triggers, ...] = ()
    spent: tuple[Spent, ...] = ()

    def clean(self, text: str) -> str:
        """Give a text of this request without the triggers that were stripped from it."""
        for triggers in self.stripped:
            text = triggers.take_out(text)
        return text


class Guards:
    """The guards of a configuration, over its classifiers. `counts` has the strikes: by guard, action,
    and what came of it ("refused" or "passed").

    Raises:
        ConfigError: a file of triggers cannot be read, or there are too many triggers.
    """

    def __init__(
        self,
        guards: dict[str, GuardConfig],
        classifiers: Classifiers,
        cross: Cross | None = None,
    ) -> None:
        self._guards = guards
        self._labels = {name: frozenset(guard.labels) for name, guard in guards.items()}
        self._classifiers = classifiers
        self._cross = cross
        self._triggers = {
            name: _triggers_of(name, guard)
            for name, guard in guards.items()
            if guard.classifier is None
        }
        self.counts: Counter[tuple[str, str, str]] = Counter()

    @property
    def reads_texts(self) -> bool:
        """Whether one goes by a classifier, and so reads `user_texts`."""
        return len(self._triggers) < len(self._guards)

    @property
    def reads_pieces(self) -> bool:
        """Whether one goes by triggers, and so reads what is said piece by piece."""
        return bool(self._triggers)

    def triggers(self) -> tuple[str, ...]:
        """The triggers of all guards."""
        return tuple(text for each in self._triggers.values() for text in each.texts)

    async def check(
        self, ref: str, texts: Sequence[str] | None, pieces: Sequence[Said] | None = ()
    ) -> Checked:
        """Give what the guards make of a request for `ref`, in their order.

        `texts` are the user's messages, for classifiers, the last one last; `pieces` all that is said,
        for triggers. None stands for what cannot be read as text.

        Raises:
            BlockedByGuard: a guard refuses it, or would have to and cannot look at it.
            ConfigError, MissingExtra: as `Classifiers.get`.
            DistillError: a classifier failed; the request is not let through unseen.
        """
        found = Checked()
        for name, guard in self._guards.items():
            if name in self._triggers:
                found, pieces = await self._by_triggers(name, ref, pieces, found)
                continue
            strike = await self._by_classifier(name, texts)
            if strike is not None:
                self._note(strike, guard, _blocked if guard.action == "block" else None)
                found = msgspec.structs.replace(found, strikes=(*found.strikes, strike))
        return found

    async def check_pieces(self, ref: str, pieces: Sequence[Said] | None) -> Checked:
        """Give what those that go by triggers make of texts that are no conversation.

        Raises:
            BlockedByGuard: as `check`.
        """
        found = Checked()
        for name in self._triggers:
            found, pieces = await self._by_triggers(name, ref, pieces, found)
        return found

    async def _by_classifier(self, name: str, texts: Sequence[str] | None) -> Strike | None:
        guard = self._guards[name]
        read = texts if texts is None or guard.scope == "user" else texts[-1:]
        if read is None or _size(read) > MAX_TEXT_BYTES:
            return Strike(name)
        if _size(read) <= INLINE_BYTES:
            return self._label(name, read)
        return await asyncio.to_thread(self._label, name, read)

    def _label(self, name: str, texts: Sequence[str]) -> Strike | None:
        classifier = self._classifiers.get(self._guards[name].classifier or "")
        for text in texts:
            hit = labels_in(classifier, text, self._labels[name])
            if hit is not None:
                return Strike(name, *hit)
        return None

    async def _by_triggers(
        self, name: str, ref: str, pieces: Sequence[Said] | None, so_far: Checked
    ) -> tuple[Checked, Sequence[Said] | None]:
        guard, triggers = self._guards[name], self._triggers[name]
        read = None if pieces is None else in_scope(pieces, guard.scope or "all")
        texts: dict[Place, str] | None = {}
        if read is None or pieces is None or _size([piece.text for piece in read]) > MAX_TEXT_BYTES:
            strike: Strike | None = Strike(name)
        elif _size([piece.text for piece in read]) <= INLINE_BYTES:
            strike, texts = _look(name, triggers, read, guard.action)
        else:
            strike, texts = await asyncio.to_thread(_look, name, triggers, read, guard.action)
        if strike is None:
            return so_far, pieces
        refused = guard.action != "flag" and strike.trigger is None
        refuse: Refuse | None = _blocked if refused or guard.action == "block" else None
        if refuse is None and guard.action == "strip":
            if texts is None:
                refuse = _not_stripped
            else:
                strike = msgspec.structs.replace(strike, done="stripped")
        elif refuse is None and guard.action == "cross_check":
            refuse, spent = await self._ask_second(guard, ref, read or [], texts)
            if spent is not None:
                so_far = msgspec.structs.replace(so_far, spent=(*so_far.spent, spent))
            strike = msgspec.structs.replace(strike, done="second=yes")
        self._note(strike, guard, refuse)
        strikes = (*so_far.strikes, strike)
        if guard.action != "strip" or not texts or pieces is None:
            return msgspec.structs.replace(so_far, strikes=strikes), pieces
        so_far = msgspec.structs.replace(
            so_far,
            strikes=strikes,
            texts={**so_far.texts, **texts},
            stripped=(*so_far.stripped, triggers),
        )
        return so_far, [
            msgspec.structs.replace(piece, text=texts.get(piece.place, piece.text))
            for piece in pieces
        ]

    async def _ask_second(
        self, guard: GuardConfig, ref: str, read: Sequence[Said], texts: dict[Place, str] | None
    ) -> tuple[Refuse | None, Spent | None]:
        """Ask whether the request would be answered without its trigger; gives how it is refused if not."""
        if texts is None or self._cross is None:
            return _not_stripped, None
        clean = [texts.get(piece.place, piece.text) for piece in read]
        why, spent = await self._cross(guard.second or "", ref, [text for text in clean if text])
        return (None if why is None else _second_thoughts(why)), spent

    def _note(self, strike: Strike, guard: GuardConfig, refuse: Refuse | None) -> None:
        """Count a strike, and refuse the request if it is to be."""
        self.counts[strike.guard, guard.action, "passed" if refuse is None else "refused"] += 1
        if refuse is not None:
            raise refuse(strike, guard)


Refuse: TypeAlias = Callable[[Strike, GuardConfig], BlockedByGuard]


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


def _triggers_of(name: str, guard: GuardConfig) -> Triggers:
    texts = list(guard.triggers)
    try:
        if guard.triggers_file is not None:
            texts += read_triggers(Path(guard.triggers_file).expanduser())
        return Triggers(texts, invisible=guard.invisible)
    except ConfigError as error:
        key = "triggers" if guard.triggers_file is None else "triggers_file"
        raise ConfigError(f"guards.{name}.{key}: {error.message}") from error


def _size(texts: Sequence[str]) -> int:
    return sum(
        len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts
    )


def _look(
    name: str, triggers: Triggers, pieces: Sequence[Said], action: str
) -> tuple[Strike | None, dict[Place, str] | None]:
    """Look for triggers in a request: gives the strike, and the texts without them where they are wanted.

    The texts are None where no taking out leaves the request without a trigger.
    """
    hit = _first(triggers, [(piece.turn, piece.text) for piece in pieces])
    if hit is None:
        return None, {}
    strike = Strike(name, trigger=hit)
    if action not in ("strip", "cross_check"):
        return strike, {}
    clean = {}
    try:
        for piece in pieces:
            text = piece.text
            for _ in range(MAX_ROUNDS):
                text, before = triggers.take_out(text), text
                if text == before:
                    break
            clean[piece.place] = text
    except TooManyTriggers:
        return strike, None
    if _first(triggers, [(piece.turn, clean[piece.place]) for piece in pieces]) is not None:
        return strike, None
    return strike, {
        piece.place: clean[piece.place] for piece in pieces if clean[piece.place] != piece.text
    }


def _first(triggers: Triggers, texts: Sequence[tuple[int, str]]) -> str | None:
    """The first trigger that stands in a piece, or in a turn whose pieces are put together.

    A model reads the pieces of a turn as one text, with a break between or with none.
    """
    turns: dict[int, list[str]] = {}
    for turn, text in texts:
        if text:
            turns.setdefault(turn, []).append(text)
    for pieces in turns.values():
        joins = ("\n", "") if len(pieces) > 1 else ("",)
        for hits in (triggers.find(join.join(pieces)) for join in joins):
            if hits:
                return hits[0].shown
    return None


def _blocked(strike: Strike, guard: GuardConfig) -> BlockedByGuard:
    if strike.trigger is not None:
        return _refusal(strike, f"it holds the trigger '{strike.trigger}'")
    if strike.label is None:
        return BlockedByGuard(
            f"the guard '{strike.guard}' could not look at this request, and so refuses it: it reads"
            f" text, of at most {MAX_TEXT_BYTES} bytes",
            guard=strike.guard,
        )
    what = "the last user message" if guard.scope != "user" else "a user message"
    return _refusal(strike, f"it takes {what} for '{strike.label}'")


def _not_stripped(strike: Strike, _guard: GuardConfig) -> BlockedByGuard:
    return _refusal(strike, f"the trigger '{strike.trigger}' cannot be taken out of it")


def _second_thoughts(why: str) -> Refuse:
    def refuse(strike: Strike, _guard: GuardConfig) -> BlockedByGuard:
        return _refusal(strike, f"it holds the trigger '{strike.trigger}', and {why}")

    return refuse


def _refusal(strike: Strike, why: str) -> BlockedByGuard:
    return BlockedByGuard(
        f"the guard '{strike.guard}' refuses this request: {why}",
        guard=strike.guard,
        label=strike.label,
        trigger=strike.trigger,
    )
