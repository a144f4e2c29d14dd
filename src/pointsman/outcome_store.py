"""Outcomes in SQLite: one thread writes in batches, any process reads.

The file is in the data directory; write-ahead logging lets a command read it while a gateway writes. It
holds numbers, refs and request ids, no prompt, no answer and no key.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from pointsman.router.online import LearnerState
from pointsman.router.outcomes import Feedback, Outcome

__all__ = ["Store", "read_learner", "read_outcomes", "read_spent_usd"]

_log = logging.getLogger("pointsman")

VERSION = 1
# What waits to be written. A disk that is slower than the traffic loses outcomes, never requests.
MAX_WAITING = 20_000
BATCH = 500
BATCH_WAIT_S = 0.25
BUSY_MS = 5000
# After a fault the file is tried again so much later.
RETRY_S = 30.0
MAX_ROWS = 500_000
MAX_AGE_S = 90 * 86_400.0
PRUNE_EVERY = 5000
# More than that is never said of one answer.
MAX_FEEDBACK = 16
MAX_BODY_BYTES = 64 * 1024

_SCHEMA = """
CREATE TABLE outcomes (
  request_id TEXT PRIMARY KEY, at_s REAL NOT NULL, route TEXT NOT NULL, ref TEXT NOT NULL,
  cost_usd REAL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX outcomes_at ON outcomes (at_s);
CREATE TABLE feedback (
  id INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL, at_s REAL NOT NULL, body BLOB NOT NULL
);
CREATE INDEX feedback_request ON feedback (request_id);
CREATE TABLE learner (id INTEGER PRIMARY KEY CHECK (id = 1), upto INTEGER NOT NULL, body BLOB NOT NULL);
"""
_FAULTS = (sqlite3.Error, OSError)

Rewarded: TypeAlias = tuple[Outcome, tuple[Feedback, ...]]
Work: TypeAlias = Callable[[sqlite3.Connection], object]


class _Job(Struct):
    """Something to be done with the file; somebody waits for the `answer` of it, if there is one."""

    work: Work
    answer: Future[Rewarded | None] | None = None


class Store:
    """The writing end. Nothing in it raises on a fault of the file: it is logged once, and tried again."""

    def __init__(
        self,
        path: Path,
        *,
        max_rows: int = MAX_ROWS,
        max_age_s: float = MAX_AGE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._max_rows = max_rows
        self._max_age_s = max_age_s
        self._clock = clock
        self._jobs: queue.Queue[_Job | None] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._fault: str | None = None
        self._written = 0

    def put(self, outcome: Outcome) -> None:
        """Have an outcome written; at once back, and lost if too many wait."""
        body = msgspec.json.encode(outcome)
        if len(body) > MAX_BODY_BYTES:
            _log.warning("an outcome of %d bytes was not kept", len(body))
            return
        row = (outcome.request_id, outcome.at_s, outcome.route, outcome.ref, outcome.cost_usd, body)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?)", row)
            self._written += 1

        self._submit(_Job(write))

    def say(self, request_id: str, feedback: Feedback) -> None:
        """Have feedback written; of one answer at most 16."""
        row = (request_id, feedback.at_s, msgspec.json.encode(feedback), request_id, MAX_FEEDBACK)
        statement = (
            "INSERT INTO feedback (request_id, at_s, body) SELECT ?, ?, ?"
            " WHERE (SELECT count(*) FROM feedback WHERE request_id = ?) < ?"
        )
        self._submit(_Job(lambda connection: connection.execute(statement, row)))

    def keep(self, body: bytes) -> None:
        """Have the learner's state written, as of all feedback that was put before."""
        statement = "INSERT OR REPLACE INTO learner SELECT 1, coalesce((SELECT max(id) FROM feedback), 0), ?"
        self._submit(_Job(lambda connection: connection.execute(statement, (body,))))

    def find(self, request_id: str) -> Future[Rewarded | None]:
        """Look an outcome up, after all that was put before; None if there is none, or no file."""
        found: Future[Rewarded | None] = Future()

        def look(connection: sqlite3.Connection) -> None:
            row = connection.execute(
                "SELECT body FROM outcomes WHERE request_id = ?", (request_id,)
            ).fetchone()
            if found.cancelled():
                return
            found.set_result(
                None if row is None else (_outcome(row[0]), _said(connection, request_id))
            )

        if not self._submit(_Job(look, found)):
            found.set_result(None)
        return found

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that was put is written, or cannot be; whether it was done in time."""
        done: Future[Rewarded | None] = Future()
        if self._thread is None or not self._submit(_Job(_nothing, done)):
            return self._thread is None
        try:
            done.result(timeout_s)
        except TimeoutError:
            return False
        return self._fault is None

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._jobs.put(None)
            thread.join(10.0)

    def _submit(self, job: _Job) -> bool:
        with self._lock:
            if self._closed:
                return False
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="pointsman-outcomes", daemon=True
                )
                self._thread.start()
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self._note("it is slower than the traffic: outcomes are lost")
            return False
        return True

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        retry_at_s = 0.0
        ending = False
        while not ending:
            batch, ending = self._batch()
            if connection is None and time.monotonic() >= retry_at_s:
                try:
                    connection = _open(self.path)
                except _FAULTS as error:
                    self._note(str(error))
                    retry_at_s = time.monotonic() + RETRY_S
            if connection is not None and not self._write(connection, batch):
                connection.close()
                connection = None
                retry_at_s = time.monotonic() + RETRY_S
            for job in batch:
                if job.answer is not None and not job.answer.done():
                    job.answer.set_result(None)
        if connection is not None:
            connection.close()

    def _batch(self) -> tuple[list[_Job], bool]:
        """What waits, up to a bound; the first is waited for, and a little for those that follow it."""
        first = self._jobs.get()
        batch: list[_Job] = []
        job: _Job | None = first
        until_s = time.monotonic() + BATCH_WAIT_S
        while job is not None:
            batch.append(job)
            if len(batch) >= BATCH or job.answer is not None:
                return batch, False  # Somebody waits for this one.
            try:
                job = self._jobs.get(timeout=max(until_s - time.monotonic(), 0.0))
            except queue.Empty:
                return batch, False
        return batch, True

    def _write(self, connection: sqlite3.Connection, batch: Sequence[_Job]) -> bool:
        try:
            with connection:
                for job in batch:
                    job.work(connection)
                if self._written >= PRUNE_EVERY:
                    self._written = 0
                    self._prune(connection)
        except _FAULTS as error:
            self._note(str(error))
            return False
        except msgspec.MsgspecError as error:
            self._note(f"a row cannot be read: {error}")
            return True
        if self._fault is not None:
            _log.warning("outcomes are kept again in %s", self.path)
            self._fault = None
        return True

    def _prune(self, connection: sqlite3.Connection) -> None:
        old = self._clock() - self._max_age_s
        connection.execute("DELETE FROM outcomes WHERE at_s < ?", (old,))
        count = connection.execute("SELECT count(*) FROM outcomes").fetchone()[0]
        if count > self._max_rows:
            connection.execute(
                "DELETE FROM outcomes WHERE request_id IN"
                " (SELECT request_id FROM outcomes ORDER BY at_s LIMIT ?)",
                (count - self._max_rows,),
            )
        connection.execute(
            "DELETE FROM feedback WHERE request_id NOT IN (SELECT request_id FROM outcomes)"
        )

    def _note(self, why: str) -> None:
        if self._fault is None:
            _log.warning("outcomes are not kept in %s: %s", self.path, why)
        self._fault = why


def read_outcomes(
    path: Path, *, route: str | None = None, since_s: float = 0.0
) -> Iterator[Rewarded]:
    """Yield what a store holds, the oldest first, each with what was said of it; rows that cannot be
    read are left out. A store that is not there holds nothing.

    Raises:
        OSError, sqlite3.Error: it cannot be read.
    """
    if not path.is_file():
        return
    with closing(_reading(path)) as connection:
        rows = connection.execute(
            "SELECT request_id, body FROM outcomes WHERE at_s >= ? AND (? IS NULL OR route = ?)"
            " ORDER BY at_s, request_id",
            (since_s, route, route),
        )
        for request_id, body in rows:
            try:
                yield _outcome(body), _said(connection, request_id)
            except msgspec.MsgspecError:
                _log.warning("an outcome in %s cannot be read: it is left out", path)


def read_spent_usd(path: Path, route: str, since_s: float) -> float:
    """Give what a route's requests cost since a time, as far as that is known.

    Raises:
        OSError, sqlite3.Error: the store cannot be read.
    """
    if not path.is_file():
        return 0.0
    with closing(_reading(path)) as connection:
        row = connection.execute(
            "SELECT coalesce(sum(cost_usd), 0) FROM outcomes WHERE route = ? AND at_s >= ?",
            (route, since_s),
        ).fetchone()
    return float(row[0])


def read_learner(path: Path) -> tuple[LearnerState | None, list[tuple[Outcome, Feedback]]]:
    """Give the learner's state that a store holds, and the feedback that came after it.

    Raises:
        OSError, sqlite3.Error, msgspec.MsgspecError: it cannot be read.
    """
    if not path.is_file():
        return None, []
    with closing(_reading(path)) as connection:
        row = connection.execute("SELECT upto, body FROM learner").fetchone()
        state = None if row is None else msgspec.json.decode(row[1], type=LearnerState)
        later = connection.execute(
            "SELECT o.body, f.body FROM feedback f JOIN outcomes o USING (request_id)"
            " WHERE f.id > ? ORDER BY f.id",
            (0 if row is None else row[0],),
        )
        found = [(_outcome(o), msgspec.json.decode(f, type=Feedback)) for o, f in later]
        # Of each source the first word on an answer counts, as when it was said.
        return state, list({(o.request_id, f.source): (o, f) for o, f in reversed(found)}.values())[
            ::-1
        ]


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Whose requests went where is its owner's business alone.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_MS / 1000)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, newer than this Pointsman's")
        if version == 0:
            connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _reading(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_MS / 1000)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _outcome(body: bytes) -> Outcome:
    return msgspec.json.decode(body, type=Outcome)


def _said(connection: sqlite3.Connection, request_id: str) -> tuple[Feedback, ...]:
    rows = connection.execute(
        "SELECT body FROM feedback WHERE request_id = ? ORDER BY id LIMIT ?",
        (request_id, MAX_FEEDBACK),
    )
    return tuple(msgspec.json.decode(row[0], type=Feedback) for row in rows.fetchall())


def _nothing(_: sqlite3.Connection) -> None:
    """A job that only waits for those before it: its answer comes once they are committed."""
