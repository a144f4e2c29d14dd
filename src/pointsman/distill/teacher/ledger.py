"""The ledger: one journal of everything that was asked, answered, paid and decided.

An append-only file. Each line is a JSON object, `{"crc":"<8 hex>","entry":{…}}`, whose CRC-32 is
that of the entry's bytes. A line is on the disk (fsync) before what it says is acted on, so that a
run that is killed at any moment goes on from here:

- an answer in the journal is never asked for again;
- a request that was on its way at the kill has an `ask` line and no answer: its upper bound counts
  as spent, since nobody can know whether it was charged, and it is asked again;
- a torn last line (the kill hit the write) is cut off.

What a run chose by computing (which rows to ask about) is kept too: a resumed run then asks the
same questions even where the computation would not come out the same to the last bit.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec
from msgspec import Struct

from pointsman.distill.teacher.asking import Answer
from pointsman.errors import DistillError

__all__ = ["Answered", "Asked", "Decided", "Ledger", "Submitted", "Voided"]

MAX_LINE_BYTES = 64 * 1024 * 1024
_HEAD = b'{"crc":"'
_MIDDLE = b'","entry":'


class Asked(Struct, frozen=True, tag="ask", tag_field="kind"):
    """A request goes out; it may cost up to `bound_usd`."""

    key: str
    stage: str
    bound_usd: float
    at_s: float


class Answered(Struct, frozen=True, tag="answer", tag_field="kind"):
    """Its answer came."""

    key: str
    stage: str
    answer: Answer
    cost_usd: float


class Voided(Struct, frozen=True, tag="void", tag_field="kind"):
    """The provider turned the request down, so that it cost nothing."""

    key: str


class Submitted(Struct, frozen=True, tag="batch", tag_field="kind"):
    """A batch of requests: without an `id` it is about to be handed in, with one it was.

    `ended` closes it, its answers being in the journal.
    """

    tag: str
    keys: tuple[str, ...]
    stages: tuple[str, ...]
    at_s: float
    id: str | None = None
    ended: bool = False


class Decided(Struct, frozen=True, tag="decision", tag_field="kind"):
    """What the run chose."""

    key: str
    value: Any


Entry = Asked | Answered | Voided | Submitted | Decided
_ENTRY = msgspec.json.Decoder(Entry)
_JSON = msgspec.json.Encoder()


class Ledger:
    """The journal of one output folder, held by one process at a time. Use it as a context manager.

    `torn_bytes` were cut off the end on opening; `damaged_lines` could not be read and are passed
    over (a fault of the disk, or an edit): what they held may be paid again.

    Raises:
        DistillError: on entry, if another run holds the folder, or the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn_bytes = 0
        self.damaged_lines = 0
        self.batches: dict[str, Submitted] = {}
        self._answers: dict[str, Answered] = {}
        self._open: dict[str, float] = {}
        self._decisions: dict[str, Any] = {}
        self._lost_usd = 0.0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Lock the journal, read it and mend its end."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("a+b")
        except OSError as error:
            raise DistillError(
                f"{self.path} cannot be opened ({error.strerror or error}): choose another --out"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise DistillError(
                f"{self.path.parent} is in use by another run: wait for it, or choose another --out"
            ) from error
        self._file = file
        self._replay(file)
        # What was under way when an earlier run ended may have been charged: it stays spent. What
        # is in a batch is still to come.
        waiting = {key for batch in self.batches.values() if not batch.ended for key in batch.keys}
        for key in [key for key in self._open if key not in waiting]:
            self.lose(key)
        _sync_folder(self.path.parent)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the folder go."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    @property
    def spent_usd(self) -> float:
        """What all answers cost, and the upper bounds of those that never came."""
        return sum(each.cost_usd for each in self._answers.values()) + self._lost_usd

    @property
    def lost_usd(self) -> float:
        """The upper bounds of requests whose answers never came."""
        return self._lost_usd

    @property
    def calls(self) -> int:
        """Answers that were paid."""
        return len(self._answers)

    def answers(self) -> Iterator[Answered]:
        """Yield what was answered, in order."""
        yield from self._answers.values()

    def answer(self, key: str) -> Answered | None:
        """Give the answer for a key, if it was paid already."""
        return self._answers.get(key)

    def bound_usd(self, key: str) -> float | None:
        """Give what a request under way may cost; None if there is none for the key."""
        return self._open.get(key)

    def ask(self, *requests: Asked) -> None:
        """Note that requests go out."""
        self._write(*requests)
        for each in requests:
            self._open[each.key] = each.bound_usd

    def settle(self, key: str, stage: str, answer: Answer, cost_usd: float) -> None:
        """Keep an answer."""
        entry = Answered(key, stage, answer, cost_usd)
        self._write(entry)
        self._open.pop(key, None)
        self._answers[key] = entry

    def void(self, key: str) -> None:
        """Note that a request cost nothing."""
        self._write(Voided(key))
        self._open.pop(key, None)

    def lose(self, key: str) -> None:
        """Count a request whose answer broke off at its upper bound: it may have been charged."""
        self._lost_usd += self._open.pop(key, 0.0)

    def submit(self, batch: Submitted) -> None:
        """Note where a batch stands."""
        self._write(batch)
        self._take(batch)

    def decided(self, key: str) -> Any:
        """Give what was decided under `key`, None if nothing was."""
        return self._decisions.get(key)

    def decide(self, key: str, compute: Callable[[], Any]) -> Any:
        """Give what was decided before under `key`, or compute it and keep it.

        The value is JSON: what comes back is made of dicts, lists, strings and numbers.
        """
        if key not in self._decisions:
            value = msgspec.json.decode(_JSON.encode(compute()))
            self._write(Decided(key, value))
            self._decisions[key] = value
        return self._decisions[key]

    def _write(self, *entries: Entry) -> None:
        assert self._file is not None, "the ledger is open"
        bodies = [_JSON.encode(entry) for entry in entries]
        lines = [_HEAD + b"%08x" % zlib.crc32(body) + _MIDDLE + body + b"}\n" for body in bodies]
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DistillError(
                f"{self.path} cannot be written ({error.strerror or error}): free some space and"
                " run the same command again; nothing that was paid is lost"
            ) from error

    def _replay(self, file: BinaryIO) -> None:
        file.seek(0)
        good = 0
        while line := file.readline(MAX_LINE_BYTES):
            entry = _read(line)
            if entry is not None:
                self._take(entry)
            elif line.endswith(b"\n"):
                self.damaged_lines += 1
            else:
                break
            good += len(line)
        size = file.seek(0, os.SEEK_END)
        if size > good:
            self.torn_bytes = size - good
            file.truncate(good)

    def _take(self, entry: Entry) -> None:
        match entry:
            case Asked():
                # The same question once more: what the first try may have cost is lost for good.
                self._lost_usd += self._open.get(entry.key, 0.0)
                self._open[entry.key] = entry.bound_usd
            case Answered():
                self._open.pop(entry.key, None)
                self._answers[entry.key] = entry
            case Voided():
                self._open.pop(entry.key, None)
            case Submitted():
                self.batches[entry.tag] = entry
            case Decided():
                self._decisions[entry.key] = entry.value


def _read(line: bytes) -> Entry | None:
    """Read a line; None if it is torn or damaged."""
    start = len(_HEAD) + 8 + len(_MIDDLE)
    if not (line.startswith(_HEAD) and line.endswith(b"}\n")):
        return None
    body = line[start:-2]
    if line[len(_HEAD) : len(_HEAD) + 8] != b"%08x" % zlib.crc32(body):
        return None
    try:
        entry: Entry = _ENTRY.decode(body)
        return entry
    except (msgspec.DecodeError, RecursionError):
        return None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
