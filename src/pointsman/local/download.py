"""Fetches a file over HTTP in parallel ranges, and goes on after whatever cut it short.

The calling thread reports and hashes, behind the others, which fetch.
"""

from __future__ import annotations

import http.client
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from pointsman.errors import LocalError
from pointsman.local.part import PIECE_BYTES, Identity, Part
from pointsman.local.wire import Answer, Fault, Refused, host_of, open_url

__all__ = ["Cancelled", "NoSpace", "Refused", "check_space", "download"]

TRIES = 5
BACK_OFF_S = 0.5
# A try that brought less than this did not get on.
MIN_GAIN_BYTES = 4096
# Less than this in that time is a stall, however it trickles.
STALL_S = 60.0
STALL_BYTES = 64 * 1024
REPORT_S = 0.1
# One request asks for so many pieces: few enough to share the work out, and to be few requests.
MIN_SPAN, MAX_SPAN = 8, 256
# What a disk keeps free for everything else.
SPARE_BYTES = 64 * 1024 * 1024


class Cancelled(LocalError):
    """Who asked for the file does not want it any more; what has come is kept."""


class NoSpace(LocalError):
    """The file system is too full."""


class _Changed(Exception):
    """The file is not the one it was when we began."""


def download(
    url: str,
    target: Path,
    *,
    size_bytes: int | None,
    sha256: str | None,
    headers: Mapping[str, str] = {},
    progress: Callable[[int, int | None], None],
    connections: int = 4,
    cancelled: threading.Event | None = None,
    keep_journal: bool = False,
) -> str:
    """Have the file at `target`, whole and on the disk; gives its sha256.

    What comes is kept beside it (`.part`, `.part.journal`) until it is whole. A process that is
    killed loses what its connections had under way, at most 3 MiB each. The next call goes on from
    there if the server can send ranges, and if `sha256` is given or the server names the file's
    version and it is still that one. Two calls for one target at a time are the caller's to
    keep apart. With `keep_journal`, a call for a target that is whole fetches nothing.

    `progress` is called from this thread, with (bytes so far, bytes in all). `headers` are not
    sent to another host that the URL redirects to. http is for this machine only.

    Raises:
        Refused: the server will not give the file; `http_status` says how.
        Cancelled: `cancelled` was set.
        LocalError: no space, no connection, cut or stalled again and again, another size, another
            hash. The message names the host.
    """
    stop = cancelled or threading.Event()
    why: Exception = Fault("")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(target, size_bytes)
        for number in range(TRIES):
            if number:
                _wait(number - 1, why, stop)
            try:
                # A new one: a thread of the one before may still wait for its server.
                fetch = _Fetch(url, target, headers, progress, stop)
                return fetch.run(size_bytes, sha256, connections, keep_journal)
            except (Fault, _Changed) as error:
                why = error
    except OSError as error:
        raise LocalError(f"{target} cannot be written: {error.strerror or error}") from error
    raise _gave_up(url, target, why)


def check_space(folder: Path, size_bytes: int, what: str) -> None:
    """Be sure that so many bytes more fit into the folder's file system, and some to spare.

    Raises:
        NoSpace: they do not; names both numbers.
    """
    free, need = shutil.disk_usage(folder).free, size_bytes + SPARE_BYTES
    if free < need:
        raise NoSpace(
            f"{folder} has {free // 2**20} MiB free; {what} needs {-(-need // 2**20)} MiB:"
            " make room, or keep models elsewhere (local.dir)"
        )


def _check_room(target: Path, size_bytes: int | None) -> None:
    if size_bytes is not None:
        try:
            # What an earlier call has left; its file has holes, which take no space.
            have = target.with_name(f"{target.name}.part").stat().st_blocks * 512
        except OSError:
            have = 0
        check_space(target.parent, max(0, size_bytes - have), target.name)


def _gave_up(url: str, target: Path, why: Exception) -> LocalError:
    what = "the file changed while it was fetched" if isinstance(why, _Changed) else str(why)
    return LocalError(
        f"{target.name} could not be fetched from {host_of(url)}: {what} ({TRIES} tries);"
        " check the network and pull it again: it goes on where it stopped, if the server can"
    )


def _wait(number: int, why: Exception, stop: threading.Event) -> None:
    stop.wait(max(BACK_OFF_S * 2**number, getattr(why, "wait_s", 0.0)))
    _check(stop)


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise Cancelled("the download was cancelled; what has come is kept for the next")


class _Span:
    """Pieces that one thread fetches, from `first` up to, without, `end`.

    `rest` is what has come of the piece `first`.
    """

    def __init__(self, first: int, end: int) -> None:
        self.first = first
        self.end = end
        self.rest = bytearray()

    @property
    def at(self) -> int:
        return self.first * PIECE_BYTES + len(self.rest)


class _Pace:
    """Reads a body, and ends with a fault when it comes too slowly."""

    def __init__(self, body: http.client.HTTPResponse) -> None:
        self._body = body
        self._got = 0
        self._until = time.monotonic() + STALL_S

    def read(self, count: int) -> bytes:
        """Give what is there, up to `count` bytes; nothing at the end."""
        try:
            data = self._body.read1(count)
        except TimeoutError:
            raise Fault("it stalled") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Fault(f"the connection broke: {error or type(error).__name__}") from error
        self._got += len(data)
        if time.monotonic() > self._until:
            if self._got < STALL_BYTES:
                raise Fault("it stalled")
            self._got, self._until = 0, time.monotonic() + STALL_S
        return data


class _Fetch:
    """Fetches one file; `run` is one go at it."""

    def __init__(
        self,
        url: str,
        target: Path,
        headers: Mapping[str, str],
        progress: Callable[[int, int | None], None],
        stop: threading.Event,
    ) -> None:
        self._url = url
        self._target = target
        self._headers = headers
        self._progress = progress
        self._cancelled = stop
        self._news = threading.Condition()
        self._reported_s = 0.0

    def run(
        self, size_bytes: int | None, sha256: str | None, connections: int, keep_journal: bool
    ) -> str:
        answer = self._probe(size_bytes)
        size = answer.size_bytes
        if size_bytes is not None and size is not None and size != size_bytes:
            answer.body.close()
            raise LocalError(
                f"{host_of(self._url)} has {size} bytes as {self._target.name}, expected"
                f" {size_bytes}; nothing was kept"
            )
        identity = Identity(size if size_bytes is None else size_bytes, sha256, answer.validator)
        # Parts of what may be two versions of the file must not be put together.
        ranged = answer.partial and identity.same(identity)
        if answer.partial:
            answer.body.close()
            if not ranged:
                answer = open_url(self._url, self._headers)
        self._part = Part(self._target, identity, resumable=ranged)
        self._ended = threading.Event()  # All threads are to stop.
        self._error: Exception | None = None
        try:
            _check_room(self._target, identity.size_bytes)
            self._part.open(self._report)
            if ranged:
                self._share_out(connections)
            else:
                self._start([lambda: self._stream(answer)])
            self._follow()
            return self._part.finish(keep_journal=keep_journal and ranged)
        finally:
            self._ended.set()
            self._part.close()
            answer.body.close()

    def _probe(self, size_bytes: int | None) -> Answer:
        """Ask for the first byte: tells whether there are ranges, the size, and the version."""
        if size_bytes is None or size_bytes > PIECE_BYTES:
            try:
                return open_url(self._url, self._headers, span=(0, 1))
            except Refused as error:
                if error.http_status != 416:  # What an empty file gets.
                    raise
        return open_url(self._url, self._headers)

    def _start(self, works: list[Callable[[], None]]) -> None:
        self._at_work = len(works)
        for work in works:
            threading.Thread(target=self._guard, args=(work,), daemon=True).start()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # Raised anew by the thread that called us.
            self._error = self._error or error
            self._ended.set()
        with self._news:
            self._at_work -= 1
            self._news.notify()

    def _follow(self) -> None:
        """Report and hash while the threads fetch, to the end of both."""
        while True:
            with self._news:
                idle = self._news.wait_for(lambda: self._at_work == 0, REPORT_S)
            if self._error is not None:
                raise self._error
            until = time.monotonic() + REPORT_S
            behind = self._part.hash_on(lambda until=until: time.monotonic() > until)  # type: ignore[misc]
            ready = idle and not behind
            self._report(self._part.done_bytes, now=ready)
            if ready:
                return

    def _report(self, done: int, now: bool = False) -> None:
        _check(self._cancelled)
        if now or time.monotonic() - self._reported_s >= REPORT_S:
            self._progress(done, self._part.identity.size_bytes)
            self._reported_s = time.monotonic()
            _check(self._cancelled)

    def _share_out(self, connections: int) -> None:
        runs = self._part.missing()
        count = sum(end - first for first, end in runs)
        step = min(max(count // (4 * connections), MIN_SPAN), MAX_SPAN)
        spans = deque(
            _Span(at, min(at + step, end)) for first, end in runs for at in range(first, end, step)
        )

        def work() -> None:
            while not self._ended.is_set():
                try:
                    span = spans.popleft()
                except IndexError:
                    return
                self._fetch_span(span)

        self._start([work] * min(connections, len(spans)))

    def _fetch_span(self, span: _Span) -> None:
        tries = 0
        while span.first < span.end and not self._ended.is_set():
            before = span.at
            try:
                self._read_range(span)
                why = Fault("it sent less than it was asked for")
            except Fault as error:
                why = error
            if span.first == span.end:
                return
            tries = 0 if span.at - before >= MIN_GAIN_BYTES else tries + 1
            if tries == TRIES:
                raise _gave_up(self._url, self._target, why)
            self._ended.wait(max(BACK_OFF_S * 2**tries, why.wait_s))

    def _read_range(self, span: _Span) -> None:
        identity = self._part.identity
        # A hash says more than the server's word for a version, on which its mirrors may differ.
        guard = None if identity.sha256 else identity.validator
        wanted = (span.at, min(span.end * PIECE_BYTES, identity.size_bytes or 0))
        try:
            answer = open_url(self._url, self._headers, span=wanted, if_range=guard)
        except Refused as error:
            if error.http_status == 416:
                raise _Changed from None
            raise
        with answer.body:
            if guard is not None and answer.validator != guard:
                raise _Changed
            if answer.size_bytes != identity.size_bytes:
                raise _Changed
            if not answer.partial or answer.first != span.at:
                raise Fault("it sent another part of the file than it was asked for")
            pace = _Pace(answer.body)
            while span.first < span.end and not self._ended.is_set():
                need = self._part.length(span.first) - len(span.rest)
                data = pace.read(need)
                if not data:
                    return
                span.rest += data
                if len(data) == need and self._part.put(span.first, span.rest):
                    span.first += 1
                    span.rest = bytearray()

    def _stream(self, answer: Answer) -> None:
        """Fetch the whole in one go, from a server that can do no other."""
        size, index, rest = self._part.identity.size_bytes, 0, bytearray()
        pace = _Pace(answer.body)
        while not self._ended.is_set():
            data = pace.read(PIECE_BYTES - len(rest))
            rest += data
            done = index * PIECE_BYTES + len(rest)
            if size is not None and done > size:
                raise LocalError(
                    f"{host_of(self._url)} sends more than the {size} bytes that"
                    f" {self._target.name} has; nothing was kept"
                )
            if data and len(rest) < PIECE_BYTES:
                continue
            if size is None:
                check_space(self._target.parent, 0, self._target.name)
            if rest:
                self._part.put(index, rest)
                index, rest = index + 1, bytearray()
            if not data:
                if size is not None and done < size:
                    raise Fault(f"it ended after {done} of {size} bytes")
                return
