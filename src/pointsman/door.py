"""The door: everything behind a ref, put together once. The gateway and the client stand on it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
from msgspec import Struct

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import Transport
from pointsman.classifiers import Classifiers, labels_in, plain
from pointsman.config import Config
from pointsman.dispatch import Dispatcher
from pointsman.errors import DistillError, MissingExtra, PointsmanError, RequestError, RouteError
from pointsman.guards import Guards
from pointsman.local.host import LocalHost
from pointsman.recall import Recall
from pointsman.resolve import Candidate, Plan, Resolver
from pointsman.router.classifier import default_classifier
from pointsman.router.policy import Decision, facts_of, steps
from pointsman.types import Chat, Classifier, Estimate, ModelInfo

__all__ = ["Choice", "Door"]

_log = logging.getLogger("pointsman")

# A rule reads so much of each end of a long prompt: what is asked stands at one of them.
END_CHARS = 3000


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
        self.classifiers = Classifiers(config)
        self.guards = Guards(config.guards, self.classifiers) if config.guards else None
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
        why = f"route={plan.route}"
        dial = plan.dial if dial is None else dial
        if plan.rules:
            plan, matched = self.narrow(plan, chat(), dial)
            why += f"; {matched}" if matched else ""
        if plan.policy == "order":
            return Choice((*plan.candidates, *plan.fallback), f"{why}; policy=order")
        decision = self._decide(plan, chat(), dial)
        by_ref = {candidate.card.ref: candidate for candidate in plan.candidates}
        ordered = tuple(by_ref[ref] for ref in decision.order)
        return Choice((*ordered, *plan.fallback), f"{why}; {decision.header()}", decision)

    def narrow(self, plan: Plan, chat: Chat, dial: float) -> tuple[Plan, str]:
        """Give the plan with the candidates of its first rule that holds, and which one that is.

        Nothing is narrowed, and the word for it is empty, if none holds. Rules never make a request
        fail that the route could serve: one whose classifier fails, or whose candidates all cannot
        serve it, is passed over.
        """
        text = _ends(facts_of(chat).text)
        for rule in plan.rules:
            narrowed = msgspec.structs.replace(plan, candidates=rule.candidates, rules=())
            try:
                hit = labels_in(self.classifiers.get(rule.classifier), text, rule.labels)
                if hit is not None and plan.policy == "classifier":
                    self._decide(narrowed, chat, dial)
            except (DistillError, RouteError) as error:
                _log.warning("rule %d of '%s' was passed over: %s", rule.number, plan.route, error)
                continue
            if hit is not None:
                return narrowed, f"rule={rule.number}; {rule.classifier}={plain(hit[0])}"
        return plan, ""

    def decide(self, plan: Plan, chat: Chat, dial: float) -> Decision:
        """Decide a route for a chat; pure but for the one-time load of classifiers."""
        if not plan.rules:
            return self._decide(plan, chat, dial)
        plan, matched = self.narrow(plan, chat, dial)
        decision = self._decide(plan, chat, dial)
        if not matched:
            return decision
        return msgspec.structs.replace(decision, reasons=(matched, *decision.reasons))

    def _decide(self, plan: Plan, chat: Chat, dial: float) -> Decision:
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


def _ends(text: str) -> str:
    if len(text) <= 2 * END_CHARS:
        return text
    return f"{text[:END_CHARS]}\n{text[-END_CHARS:]}"
