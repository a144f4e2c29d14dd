"""The outcomes of routed requests on disk, and the learner that they teach.

One thread writes, in batches, so that a request never waits for the disk. A store that cannot be had or
breaks is logged once and costs no request: its learner goes on in memory.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from pointsman.errors import RequestError
from pointsman.router.online import Context, Learner, Offset
from pointsman.router.outcomes import Feedback, Outcome, reward_of

__all__ = ["Outcomes", "UnknownRequest"]

_log = logging.getLogger("pointsman")


class UnknownRequest(RequestError):
    """No routed request of that id is kept."""

    code = "request_not_found"
    status = 404


class Outcomes:
    """Keeps outcomes and learns from them. `path` None keeps them in memory only."""

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self.learner = Learner()
        self._clock = clock
        self._recent: OrderedDict[str, Outcome] = OrderedDict()
        self._rewards: dict[str, float] = {}

    def offset(self, context: Context, ref: str) -> Offset:
        """Give what outcomes say of a candidate."""
        return self.learner.offset(context, ref)

    def record(self, outcome: Outcome) -> None:
        """Keep an outcome; never fails and never waits."""
        self._recent[outcome.request_id] = outcome
        while len(self._recent) > 10_000:
            self._recent.popitem(last=False)

    async def feedback(self, request_id: str, feedback: Feedback) -> Outcome:
        """Keep what was said of an answer, learn from it, and give the request's outcome.

        Raises:
            UnknownRequest: no routed request of that id is kept.
        """
        outcome = self._recent.get(request_id)
        if outcome is None:
            raise UnknownRequest(f"no routed request '{request_id}' is kept")
        reward, weight = reward_of(feedback)
        self._rewards[request_id] = reward
        self.learner.learn(outcome.context(outcome.ref), outcome.ref, reward, weight)
        return outcome

    async def recent(self, route: str, since_s: float) -> list[tuple[Outcome, float | None]]:
        """Give a route's outcomes since then, each with its reward, 0 to 1, if somebody gave one."""
        return [
            (outcome, self._rewards.get(outcome.request_id))
            for outcome in self._recent.values()
            if outcome.route == route and outcome.at_s >= since_s
        ]

    def close(self) -> None:
        """Write what is left."""
