"""Reads forward in a source, piece by piece, never past its end nor past a limit."""

from __future__ import annotations

from struct import Struct as Form
from typing import Any

from pointsman.trust.formats.context import Fault
from pointsman.trust.formats.source import Source

__all__ = ["Cursor"]

PIECE_BYTES = 256 * 1024


class Cursor:
    """A place in a source. `limit` is the last byte that may be reached, whatever the size."""

    def __init__(self, source: Source, start: int = 0, limit: int | None = None) -> None:
        self._source = source
        self._end = source.size if limit is None else min(limit, source.size)
        self._piece = b""
        self._start = start
        self._at = 0

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return self._start + self._at

    @property
    def left(self) -> int:
        """How many bytes there are up to the end or the limit."""
        return self._end - self.position

    def take(self, count: int, what: str) -> bytes:
        """Give the next `count` bytes.

        Raises:
            Fault: they are not all there; `what` says what they should have been.
        """
        if len(self._piece) - self._at < count:
            if count > self.left:
                raise Fault(f"{what} reaches past the end", self.position)
            self._start, self._at = self.position, 0
            self._piece = self._source.read(self._start, max(count, PIECE_BYTES))
            if len(self._piece) < count:
                raise Fault(f"{what} cannot be read", self._start)
        self._at += count
        return self._piece[self._at - count : self._at]

    def number(self, form: Form, what: str) -> Any:
        """Give the next number of that form.

        Raises:
            Fault: the source ends within it.
        """
        return form.unpack(self.take(form.size, what))[0]

    def skip(self, count: int, what: str) -> None:
        """Pass over `count` bytes without reading them.

        Raises:
            Fault: they are not all there.
        """
        if count > self.left:
            raise Fault(f"{what} reaches past the end", self.position)
        if self._at + count <= len(self._piece):
            self._at += count
        else:
            self._start, self._at, self._piece = self.position + count, 0, b""

    def skip_texts(self, count: int, form: Form, what: str) -> None:
        """Pass over `count` texts, each after its length; a vocabulary has hundreds of thousands.

        Raises:
            Fault: one of them reaches past the end.
        """
        unpack, width = form.unpack_from, form.size
        while count:
            piece, at = self._piece, self._at
            last, size = len(piece) - width, len(piece)
            while count and at <= last:
                after = at + width + unpack(piece, at)[0]
                if after > size:
                    break
                at = after
                count -= 1
            self._at = at
            if count:
                self.skip(self.number(form, what), what)
                count -= 1
