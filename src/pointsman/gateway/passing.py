"""Passes on the events of a stream as they are, and watches them go by.

No I/O: bytes in, bytes out, so that it can stand between two sockets with no task between them. Most
pieces are only text, so a plain search for a word goes before each expression.
"""

from __future__ import annotations

import re
from collections import deque

from pointsman.errors import BadAnswer, StreamCut
from pointsman.gateway.likelihood import hide_in_events
from pointsman.gateway.makers import Makers, may_hold
from pointsman.gateway.meter import StreamMeter
from pointsman.resolve import Candidate
from pointsman.types import Usage

__all__ = ["Passing"]

_FAULT = re.compile(rb'(?:^|\n)(?:event: ?error|data: ?\{\s*"error"\s*:)')
# Usage, filter results and the like follow the finish reason; they are far smaller than this.
TAIL_BYTES = 8192
_HIDDEN = re.compile(rb'"choices"\s*:\s*\[\s*\]')


class Passing:
    """One stream that is passed on.

    `usage` is the form in which it counts its tokens, `ends` what its end has in it: in its last
    events, and with `late` nowhere before. With `hide_usage` the event with the usage alone is left
    out; `hide_logprobs` is the dialect whose log-probabilities are. An event larger than `limit_bytes` is refused.
    """

    __slots__ = (
        "_candidate",
        "_ended",
        "_ends",
        "_faulty",
        "_hide_logprobs",
        "_hide_usage",
        "_late",
        "_limit_bytes",
        "_makers",
        "_mark",
        "_meter",
        "_provider",
        "_rest",
        "_tail",
        "_tail_bytes",
    )

    def __init__(
        self,
        provider: str,
        candidate: Candidate,
        makers: Makers,
        *,
        usage: str,
        ends: re.Pattern[bytes],
        late: bool,
        hide_usage: bool,
        hide_logprobs: str | None,
        limit_bytes: int,
    ) -> None:
        self._provider = provider
        self._candidate = candidate
        self._makers = makers
        self._meter = StreamMeter(usage)
        self._mark = self._meter.mark
        self._ends = ends
        self._late = late
        self._hide_usage = hide_usage
        self._hide_logprobs = hide_logprobs
        self._limit_bytes = limit_bytes
        self._faulty = self._ended = False
        self._rest = b""
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        """Take in a piece, and give the whole events that there are now to pass on.

        Raises:
            BadAnswer: an event without an end.
        """
        if not self._rest and chunk.endswith(b"\n\n"):
            events = chunk
        else:
            events = self._whole(chunk)
            if not events:
                return b""
        if self._mark in events:
            self._meter.feed(events)
        if may_hold(events):
            self._makers.note(self._provider, events)
        # Whether the stream is complete is looked up once, at its end.
        self._tail.append(events)
        self._tail_bytes += len(events)
        if self._tail_bytes > 2 * TAIL_BYTES:
            self._cut_tail()
        if not self._late and self._ends.search(events):
            self._ended = True  # Its last event may hold all of the answer, and be any size.
        if b"error" in events and _FAULT.search(events):
            self._faulty = True
        if self._hide_usage and b"[]" in events and _HIDDEN.search(events):
            events = _without_usage(events)
        if self._hide_logprobs is not None:
            events = hide_in_events(self._hide_logprobs, events)
        return events

    def _whole(self, chunk: bytes) -> bytes:
        data = self._rest + chunk if self._rest else chunk
        cut = _boundary(data)
        if cut == 0 and len(data) > self._limit_bytes:
            raise BadAnswer(
                f"{self._candidate.ref} sent an event without an end",
                provider=self._provider,
                model=self._candidate.model,
            )
        self._rest = data[cut:]
        return data if cut == len(data) else data[:cut]

    def _cut_tail(self) -> None:
        tail = self._tail
        while self._tail_bytes - len(tail[0]) >= TAIL_BYTES:
            self._tail_bytes -= len(tail.popleft())

    def finish(self) -> Usage | None:
        """Give the usage that the stream reported; call it at its end.

        Raises:
            StreamCut: what marks the end of a stream never came.
        """
        if self._faulty or self._ended or self._ends.search(b"".join(self._tail)):
            return self._meter.usage()
        raise StreamCut(
            f"{self._candidate.ref} ended its stream before its end",
            provider=self._provider,
            model=self._candidate.model,
        )


def _boundary(data: bytes) -> int:
    """The length of the whole events at the head of `data`."""
    if data.endswith(b"\n\n"):
        return len(data)
    cut = data.rfind(b"\n\n")
    if cut >= 0:
        return cut + 2
    cut = data.rfind(b"\r\n\r\n")
    if cut >= 0:
        return cut + 4
    cut = data.rfind(b"\r\r")
    return cut + 2 if cut >= 0 else 0


def _without_usage(events: bytes) -> bytes:
    """Take out OpenAI's last chunk (no choices, only usage) that the client did not ask for."""
    separator = b"\r\n\r\n" if b"\r\n\r\n" in events else b"\n\n"
    kept = [
        event
        for event in events.split(separator)
        if not (_HIDDEN.search(event) and b'"usage"' in event)
    ]
    return separator.join(kept)
