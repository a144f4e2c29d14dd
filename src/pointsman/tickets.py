"""Who asks a route, what was chosen for it, and what must be noted once it is answered."""

from __future__ import annotations

from msgspec import Struct

from pointsman.calibration import Bench
from pointsman.carry import Run
from pointsman.resolve import Candidate, Plan
from pointsman.router.conversation import Conversation
from pointsman.router.decision import Decision
from pointsman.router.facts import Facts
from pointsman.router.prognosis import Prognosis

__all__ = ["NOBODY", "Caller", "Choice", "Ticket"]


class Caller(Struct, frozen=True):
    """Who asks, as far as a route must know. `conversation` is the id that the caller gave; `key` the name
    of its key and `allowed` the refs that it may use, None for all.
    """

    request_id: str = ""
    conversation: str | None = None
    tag: str | None = None
    key: str | None = None
    allowed: frozenset[str] | None = None


NOBODY: Caller = Caller()


class Ticket(Struct):
    """One routed request under way, until it is noted."""

    plan: Plan
    request_id: str
    facts: Facts
    started_s: float
    conversation: Conversation | None = None
    key: bytes | None = None
    decision: Decision | None = None
    prognosis: Prognosis | None = None
    variant: str = ""
    reserved_usd: float = 0.0
    spent_usd: float = 0.0
    asked: tuple[str, ...] = ()
    verdict: tuple[str, float] | None = None
    shadow: bool = False
    noted: bool = False
    bench: Bench | None = None
    paper: bool = False


class Choice(Struct, frozen=True):
    """Who is asked, in order, and why.

    `decision` is a route's, and `ticket` what must be noted of it; `run` is a policy that asks first.
    """

    candidates: tuple[Candidate, ...]
    why: str
    decision: Decision | None = None
    run: Run | None = None
    ticket: Ticket | None = None
