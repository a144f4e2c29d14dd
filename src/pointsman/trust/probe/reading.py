"""Asks a model for heads: counted, within a budget, each prompt once, resumable from a journal."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec
from msgspec import Struct

from pointsman.errors import TrustError
from pointsman.trust.probe.target import (
    Access,
    Head,
    ProbeTarget,
    head_of_logprobs,
    head_of_text,
)

__all__ = ["Budget", "BudgetSpent", "Journal", "Reader"]

MAX_JOURNAL_BYTES = 512 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024
KEPT_WORDS = 64
# A word is seldom more, with the space or the quotation mark before it.
WORD_TOKENS = 4
MAX_WORDS = 4
FORMAT = 1
_JSON = msgspec.json.Encoder()


class BudgetSpent(Exception):
    """The calls or the seconds of a probe are used up."""


class Budget:
    """What a probe may cost: calls to both models together, and seconds by `clock`."""

    def __init__(self, max_calls: int, max_seconds: float, clock: Callable[[], float]) -> None:
        self.max_calls = max_calls
        self.max_seconds = max_seconds
        self.calls = 0
        # Calls that only what comes last may make.
        self.held_back = 0
        self._clock = clock
        self._began_s = clock()

    @property
    def seconds(self) -> float:
        """The seconds since the probe began."""
        return self._clock() - self._began_s

    @property
    def left(self) -> int:
        """The calls that may be made now."""
        return max(0, self.max_calls - self.held_back - self.calls)

    def take(self, calls: int) -> None:
        """Count calls that are about to be made.

        Raises:
            BudgetSpent: they would go over the limit, or the time is up.
        """
        if calls > self.left:
            raise BudgetSpent(f"{self.max_calls} calls are used up")
        if self.seconds > self.max_seconds:
            raise BudgetSpent(f"{self.max_seconds:g} seconds are used up")
        self.calls += calls


class Journal:
    """The heads that were asked for, on disk: a probe that was broken off goes on from it.

    A prompt stands in it as a hash; nothing of its text is written. `what` names the models, and a
    journal of others is refused.
    """

    def __init__(self, path: Path | None, what: str) -> None:
        self._known: dict[str, Head] = {}
        self._file: IO[bytes] | None = None
        if path is None:
            return
        header = {"format": FORMAT, "of": _digest(what)}
        if path.exists() and path.stat().st_size:
            self._load(path, header)
            self._file = path.open("ab")
        else:
            self._file = path.open("wb")
            self._file.write(_JSON.encode(header) + b"\n")

    def __enter__(self) -> Self:
        """Nothing happens; leaving closes the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def get(self, key: str) -> Head | None:
        """Give the head of a key, None if it was not asked for yet."""
        return self._known.get(key)

    def put(self, key: str, head: Head) -> None:
        """Keep a head, its likeliest words; on disk once `flush` is called."""
        likely = sorted(head.items(), key=lambda pair: -pair[1])[:KEPT_WORDS]
        kept = {word: share for word, share in likely if share >= 1e-4}
        self._known[key] = kept
        if self._file is not None:
            rounded = {word: round(share, 5) for word, share in kept.items()}
            self._file.write(_JSON.encode([key, rounded]) + b"\n")

    def flush(self) -> None:
        """Put what was kept on disk."""
        if self._file is not None:
            self._file.flush()

    def _load(self, path: Path, header: dict[str, Any]) -> None:
        if path.stat().st_size > MAX_JOURNAL_BYTES:
            raise TrustError(f"{path.name} is over {MAX_JOURNAL_BYTES} bytes: start a new journal")
        with path.open("rb") as file:
            if _decoded(file.readline(MAX_LINE_BYTES)) != header:
                raise TrustError(
                    f"{path.name} is the journal of another probe: name another file, or remove it"
                )
            while line := file.readline(MAX_LINE_BYTES):
                # The last line of a probe that was killed may be cut.
                pair = _decoded(line)
                if isinstance(pair, list) and len(pair) == 2 and _is_head(pair[1]):
                    self._known[str(pair[0])] = pair[1]


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None


def _is_head(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(share, int | float) and math.isfinite(share) for share in value.values()
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class Reader(Struct, kw_only=True):
    """Gives the heads of one model. `tick` is told the calls made so far.

    With an `opening`, the words that replies habitually begin with, it reads texts past them.
    """

    target: ProbeTarget
    role: str
    budget: Budget
    journal: Journal
    tick: Callable[[int], None]
    batch: int = 64
    opening: tuple[str, ...] = ()

    @property
    def access(self) -> Access:
        """How it asks: past an opening there are no first token's probabilities."""
        return "text" if self.opening else self.target.access

    def heads(self, prompts: Sequence[str]) -> list[Head]:
        """Give the heads of prompts, in order; what the journal knows costs no call.

        Raises:
            BudgetSpent: before the call that would go over.
        """
        return self._read(prompts, self.access, self.opening)

    def heads_after(self, prompts: Sequence[str], words: Sequence[str]) -> list[Head]:
        """Give the heads of replies past these words, by text.

        Raises:
            BudgetSpent: before the call that would go over.
        """
        return self._read(prompts, "text", (*self.opening, *words))

    def _read(self, prompts: Sequence[str], access: Access, opening: tuple[str, ...]) -> list[Head]:
        what = f"{self.role}\0{access}\0{' '.join(opening)}"
        keys = [_digest(f"{what}\0{prompt}") for prompt in prompts]
        missing = {
            key: prompt
            for key, prompt in zip(keys, prompts, strict=True)
            if self.journal.get(key) is None
        }
        wanted = list(missing.items())
        for start in range(0, len(wanted), self.batch):
            part = wanted[start : start + self.batch]
            self.budget.take(len(part))
            for (key, _), head in zip(
                part, self._ask([text for _, text in part], access, opening), strict=True
            ):
                self.journal.put(key, head)
            self.journal.flush()
            self.tick(self.budget.calls)
        return [self.journal.get(key) or {} for key in keys]

    def _ask(self, prompts: Sequence[str], access: Access, opening: tuple[str, ...]) -> list[Head]:
        if access == "logprobs":
            return [head_of_logprobs(each) for each in self.target.next_logprobs(prompts)]
        texts = self.target.complete(prompts, WORD_TOKENS * min(MAX_WORDS, 1 + len(opening)))
        return [head_of_text(each, opening) for each in texts]
