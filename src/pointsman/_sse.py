"""Server-sent events: a parser that survives any chunk boundary, and the framing for a writer.

Source: WHATWG HTML, "Server-sent events", 9.2.6 (living standard, read 2026-11).
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

__all__ = ["Event", "EventTooLarge", "Parser", "frame"]

MAX_EVENT_BYTES = 16 * 1024 * 1024


class Event(Struct, frozen=True):
    """One event: its `event` field ("" if it had none) and its data lines joined by newlines."""

    event: str
    data: str


class EventTooLarge(ValueError):
    """An event is over the parser's limit."""


class Parser:
    r"""Turns bytes, cut anywhere, into events.

    Lines may end in LF, CR LF or CR; a leading byte order mark is dropped; comments and the fields
    `id` and `retry` are ignored; an event without data is dropped, and so is an unfinished one at
    the end of the stream. Bytes that are no UTF-8 become U+FFFD.

    >>> parser = Parser()
    >>> list(parser.feed(b'event: a\ndata: {"x"'))
    []
    >>> list(parser.feed(b": 1}\n\n"))
    [Event(event='a', data='{"x": 1}')]
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._rest = b""
        self._scanned = 0
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0
        self._first = True
        self._after_cr = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that `data` completes.

        Raises:
            EventTooLarge: one event is over `max_event_bytes`.
        """
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":
                data = data[1:]
        buffer = self._rest + data if self._rest else data
        if self._first:
            if len(buffer) < 3 and b"\xef\xbb\xbf".startswith(buffer):
                self._rest = buffer
                return
            self._first = False
            buffer = buffer.removeprefix(b"\xef\xbb\xbf")
            self._scanned = 0
        start = 0
        # A carriage return is rare, so look for one only once per feed.
        has_cr = buffer.find(b"\r", self._scanned) >= 0
        search = self._scanned
        while True:
            end = buffer.find(b"\n", max(start, search))
            skip = 1
            if has_cr:
                cr = buffer.find(b"\r", max(start, search), end if end >= 0 else len(buffer))
                if cr >= 0:
                    end = cr
                    if cr + 1 == len(buffer):
                        self._after_cr = True
                    elif buffer[cr + 1] == 10:
                        skip = 2
            if end < 0:
                break
            line = buffer[start:end]
            start = end + skip
            if line:
                self._field(line)
            elif self._data:
                yield self._take()
            else:
                self._event = ""
        self._rest = buffer[start:]
        self._scanned = len(self._rest)
        if len(self._rest) + self._size > self._max:
            raise EventTooLarge(f"an event is over {self._max} bytes")

    def _field(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if not name and colon:
            return
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            if self._size > self._max:
                raise EventTooLarge(f"an event is over {self._max} bytes")
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")

    def _take(self) -> Event:
        event = Event(self._event, b"\n".join(self._data).decode("utf-8", "replace"))
        self._event = ""
        self._data.clear()
        self._size = 0
        return event


def frame(data: bytes, event: str | None = None) -> bytes:
    """Give one event's bytes. `data` is one line (compact JSON has no newline)."""
    if event is None:
        return b"data: " + data + b"\n\n"
    return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"
