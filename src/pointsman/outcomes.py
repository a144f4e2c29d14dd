"""The outcomes of routed requests, and the learner that they teach.

A request never waits for the disk: what came of it is noted in memory and handed to the store's thread.
A store that cannot be had or breaks is logged once and costs no request; the learner goes on in memory.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from pointsman.errors import RequestError
from pointsman.outcome_store import Store, read_learner, read_outcomes, read_spent_usd
from pointsman.router.online import Context, Learner, Offset
from pointsman.router.outcomes import (
    Feedback,
    Outcome,
    feedback_of,
    passed_over,
    reward_of,
    told,
)

__all__ = ["Outcomes", "UnknownRequest", "reward_said"]

_log = logging.getLogger("pointsman")

# Outcomes that are known without the store, so that feedback at once finds its request.
RECENT = 4096
# The learner is written with every so manieth word on an answer, and at the end.
KEEP_EVERY = 100
# The same request again in a conversation, so soon after its answer: it would not do.
RETRY_S = 120.0


class UnknownRequest(RequestError):
    """No routed request of that id is kept."""

    code = "request_not_found"
    status = 404


class Outcomes:
    """Keeps outcomes and learns from them. `path` None keeps them in memory only.

    It belongs to one event loop; the learner's state is read at once, and with it what was said since.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.learner = _learner(path)
        self._store = None if path is None else Store(path, clock=clock)
        self._clock = clock
        self._recent: OrderedDict[str, tuple[Outcome, list[Feedback]]] = OrderedDict()
        self._last: OrderedDict[str, Outcome] = OrderedDict()
        self._learned = 0

    def offset(self, context: Context, ref: str) -> Offset:
        """Give what outcomes say of a candidate."""
        return self.learner.offset(context, ref)

    def record(self, outcome: Outcome) -> None:
        """Keep an outcome; never fails and never waits.

        What the traffic itself says is learned: a candidate that failed before another one answered,
        and a request that comes again soon after its answer.
        """
        self._recent[outcome.request_id] = (outcome, [])
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        if self._store is not None:
            self._store.put(outcome)
        if failed := passed_over(outcome):
            self.learner.learn(outcome.context(failed), failed, 0.0)
            self._learned += 1
        self._retried(outcome)

    async def feedback(self, request_id: str, feedback: Feedback) -> Outcome:
        """Keep what was said of an answer, learn from it, and give the request's outcome.

        Of each source the first word is learned from; later ones are kept for `route calibrate`.

        Raises:
            UnknownRequest: no routed request of that id is kept.
        """
        known = self._recent.get(request_id)
        if known is None and self._store is not None:
            found = await asyncio.wrap_future(self._store.find(request_id))
            if found is not None:
                known = self._recent[request_id] = (found[0], list(found[1]))
        if known is None:
            raise UnknownRequest(
                f"no routed request '{request_id}' is kept: give the x-request-id of an answer that a"
                " route chose a model for"
            )
        self._say(known, feedback)
        return known[0]

    def rewarded(
        self, route: str | None = None, since_s: float = 0.0
    ) -> list[tuple[Outcome, float | None]]:
        """Give the kept outcomes, the oldest first, each with its reward if anybody said a word.

        Reads the store: not for the request path. One that cannot be read gives what is in memory.
        """
        if self._store is not None and self.path is not None:
            self._store.flush()
            try:
                rows = read_outcomes(self.path, route=route, since_s=since_s)
                return [(outcome, reward_said(said)) for outcome, said in rows]
            except (OSError, sqlite3.Error) as error:
                _log.warning("outcomes cannot be read from %s: %s", self.path, error)
        return [
            (outcome, reward_said(said))
            for outcome, said in self._recent.values()
            if outcome.at_s >= since_s and route in (None, outcome.route)
        ]

    def spent_usd(self, route: str, since_s: float) -> float:
        """Give what a route's requests cost since a time, as far as it is known; asks the store."""
        if self._store is not None and self.path is not None:
            self._store.flush()
            try:
                return read_spent_usd(self.path, route, since_s)
            except (OSError, sqlite3.Error) as error:
                _log.warning("what was spent cannot be read from %s: %s", self.path, error)
        kept = (outcome for outcome, _ in self._recent.values())
        return sum(
            each.cost_usd or 0.0 for each in kept if each.route == route and each.at_s >= since_s
        )

    def close(self) -> None:
        """Write the learner and what waits."""
        if self._store is not None:
            if self._learned:
                self._store.keep(msgspec.json.encode(self.learner.state))
            self._store.close()

    def _say(self, known: tuple[Outcome, list[Feedback]], feedback: Feedback) -> None:
        outcome, said = known
        feedback = msgspec.structs.replace(feedback, at_s=feedback.at_s or self._clock())
        first = all(each.source != feedback.source for each in said)
        said.append(feedback)
        if self._store is not None:
            self._store.say(outcome.request_id, feedback)
        if not first or not outcome.ref:
            return
        told(self.learner, outcome, feedback)
        self._learned += 1
        if self._store is not None and self._learned % KEEP_EVERY == 0:
            self._store.keep(msgspec.json.encode(self.learner.state))

    def _retried(self, outcome: Outcome) -> None:
        """Take a conversation's same request again, soon after its answer, for a word against that."""
        talk = outcome.conversation
        if talk is None or not outcome.run:  # A first question may well be asked twice on purpose.
            return
        before = self._last.pop(talk, None)
        self._last[talk] = outcome
        while len(self._last) > RECENT:
            self._last.popitem(last=False)
        if before is None or not before.ref or before.facts != outcome.facts:
            return
        ended_s = before.at_s + (before.latency_s or 0.0)
        known = self._recent.get(before.request_id)
        if known is not None and ended_s <= outcome.at_s <= ended_s + RETRY_S:
            self._say(known, feedback_of(score=0.0, source="traffic", at_s=self._clock()))


def _learner(path: Path | None) -> Learner:
    """The learner as the store has it, with what was said after that."""
    if path is None:
        return Learner()
    try:
        state, later = read_learner(path)
        learner = Learner(state)
        for outcome, feedback in later:
            told(learner, outcome, feedback)
    except (OSError, sqlite3.Error, msgspec.MsgspecError, ValueError) as error:
        _log.warning("routing begins without earlier outcomes: %s: %s", path, error)
        return Learner()
    return learner


def reward_said(said: Sequence[Feedback]) -> float | None:
    """Give the mean of what was said, by its weight; of each source the last word. None without any."""
    last = {each.source: each for each in said}
    rewards = [reward_of(each) for each in last.values()]
    weight = sum(each[1] for each in rewards)
    return sum(a * b for a, b in rewards) / weight if weight else None
