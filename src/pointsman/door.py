"""The door: everything behind a ref, put together once. The gateway and the client stand on it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from msgspec import Struct

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import Transport
from pointsman.config import Config
from pointsman.dispatch import Dispatcher
from pointsman.errors import MissingExtra, PointsmanError, RequestError
from pointsman.local.host import LocalHost
from pointsman.recall import Recall
from pointsman.resolve import Candidate, Plan, Resolver
from pointsman.router.classifier import default_classifier
from pointsman.router.policy import Decision, facts_of, steps
from pointsman.types import Chat, Classifier, Estimate, ModelInfo

__all__ = ["Choice", "Door"]

_log = logging.getLogger("pointsman")


class Choice(Struct, frozen=True):
    """Who is asked, in order, and why; `decision` only for a route with a classifier policy."""

    candidates: tuple[Candidate, ...]
    why: str
    decision: Decision | None = None


class Door:
    """Refs in, candidates out, and the means to ask them."""

    def __init__(self, config: Config, transport: Transport | None = None) -> None:
        self.config = config
        self.local = LocalHost(config)
        self.resolver = Resolver(config, self.local.names, self.local.card, self.local.store.stamp)
        self.dispatcher = Dispatcher(config, transport or H1Transport(), self.local)
        self.recall = Recall()
        self.listed: dict[str, tuple[float, list[ModelInfo]]] = {}
        self._classifier: Classifier | None = None
        self._classifier_fault: str | None = None

    def choose(self, ref: str, chat: Callable[[], Chat], dial: float | None = None) -> Choice:
        """Give who is asked for a ref. `chat` is only read when a route must decide on it.

        Raises:
            UnknownModel, RequestError: as `Resolver.resolve`.
            RouteError: no candidate can serve the request; says why for each.
        """
        plan = self.resolver.resolve(ref)
        if dial is not None and not 0 <= dial <= 1:
            raise RequestError("the quality is a number from 0 to 1", param="x-pointsman-quality")
        if plan.route is None:
            return Choice(plan.candidates, "direct")
        if plan.policy == "order":
            return Choice((*plan.candidates, *plan.fallback), f"route={plan.route}; policy=order")
        decision = self.decide(plan, chat(), plan.dial if dial is None else dial)
        by_ref = {candidate.card.ref: candidate for candidate in plan.candidates}
        ordered = tuple(by_ref[ref] for ref in decision.order)
        why = f"route={plan.route}; {decision.header()}"
        return Choice((*ordered, *plan.fallback), why, decision)

    def decide(self, plan: Plan, chat: Chat, dial: float) -> Decision:
        """Decide a route for a chat; pure but for the classifier's one-time load."""
        facts = facts_of(chat)
        policy = steps(facts, [candidate.card for candidate in plan.candidates], dial)
        answer: Estimate | None = None
        try:
            ask = next(policy)
            while True:
                classifier = self.classifier()
                answer = None if classifier is None else classifier.estimate(ask.text)
                ask = policy.send(answer)
        except StopIteration as done:
            decision: Decision = done.value
            return decision

    def classifier(self) -> Classifier | None:
        """The router's classifier, loaded once; None if it cannot be had, which is logged once.

        A route then goes by its dial alone: routing never makes a request fail.
        """
        if self._classifier is None and self._classifier_fault is None:
            try:
                self._classifier = default_classifier()
            except (MissingExtra, PointsmanError) as error:
                self._classifier_fault = error.message
                _log.warning("routing without a classifier: %s", error.message)
        return self._classifier

    async def aclose(self) -> None:
        """Stop the local models and close every connection."""
        await self.local.aclose()
        await self.dispatcher.transport.aclose()
