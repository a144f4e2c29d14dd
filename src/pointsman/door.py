"""The door: everything behind a ref, put together once. The gateway and the client stand on it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import Transport
from pointsman.carry import Ask, Carried, carry
from pointsman.classifiers import Classifiers, labels_in, plain
from pointsman.config import Config
from pointsman.dispatch import Dispatcher
from pointsman.errors import (
    ConfigError,
    DistillError,
    MissingExtra,
    PointsmanError,
    RequestError,
    RouteError,
)
from pointsman.guards import Guards
from pointsman.local.host import LocalHost
from pointsman.noting import answered, carried, failed
from pointsman.outcomes import Outcomes
from pointsman.recall import Recall
from pointsman.resolve import Candidate, Plan, Resolver
from pointsman.router.conditions import LANGUAGES, holds
from pointsman.router.decision import Decision
from pointsman.router.facts import Facts, facts_of
from pointsman.router.limits import NO_LIMITS, Limits, forbidden, unfit
from pointsman.router.outcomes import feedback_of
from pointsman.routing import Routing
from pointsman.tickets import NOBODY, Caller, Choice
from pointsman.types import Chat, Classifier, ModelInfo, Usage

__all__ = ["Caller", "Choice", "Door"]

_log = logging.getLogger("pointsman")

# A rule reads so much of each end of a long prompt: what is asked stands at one of them.
END_CHARS = 3000


class Door:
    """Refs in, candidates out, and the means to ask them."""

    def __init__(self, config: Config, transport: Transport | None = None) -> None:
        self.config = config
        _check_languages(config)
        self.local = LocalHost(config)
        self.resolver = Resolver(config, self.local.names, self.local.card, self.local.store.stamp)
        self.dispatcher = Dispatcher(config, transport or H1Transport(), self.local)
        self.recall = Recall()
        self.classifiers = Classifiers(config)
        self.guards = Guards(config.guards, self.classifiers) if config.guards else None
        self.listed: dict[str, tuple[float, list[ModelInfo]]] = {}
        self._routing: Routing | None = None
        self._making = threading.Lock()
        self._tasks: set[asyncio.Future[bool]] = set()

    @property
    def routing(self) -> Routing:
        """What routes share; made when the first route is asked for."""
        if self._routing is None:
            with self._making:  # A gateway makes it in a thread, ahead of the first request.
                if self._routing is None:
                    path = Path(self.config.home) / "outcomes.sqlite" if self.config.home else None
                    self._routing = Routing(self.config, Outcomes(path))
        return self._routing

    def choose(
        self,
        ref: str,
        chat: Callable[[], Chat],
        dial: float | None = None,
        caller: Callable[[], Caller] | None = None,
    ) -> Choice:
        """Give who is asked for a ref. `chat` and `caller` are only read when a route must decide.

        Raises:
            UnknownModel, RequestError: as `Resolver.resolve`.
            RouteError: no candidate can serve the request; says why for each.
        """
        plan = self.resolver.resolve(ref)
        if dial is not None and not 0 <= dial <= 1:
            raise RequestError("the quality is a number from 0 to 1", param="x-pointsman-quality")
        if plan.route is None:
            return Choice(plan.candidates, "direct")
        if plan.policy == "order" and _is_plain(plan):
            gone = f"; gone={','.join(map(plain, plan.gone))}" if plan.gone else ""
            why = f"route={plan.route}; policy=order{gone}"
            return Choice((*plan.candidates, *plan.fallback), why)
        who = NOBODY if caller is None else caller()
        return self.routing.choose(plan, chat(), dial, who, self.narrow)

    def embedders(self, ref: str) -> tuple[Candidate, ...]:
        """Give who may be asked for embeddings, in order: a route's limits hold for them as well.

        Raises:
            UnknownModel, RequestError: as `Resolver.resolve`.
            RouteError: the route forbids all of its candidates.
        """
        plan = self.resolver.resolve(ref)
        spec = plan.spec
        if plan.route is None or not (spec.residency or spec.verified_only):
            return plan.candidates
        limits = Limits(residency=tuple(spec.residency), verified_only=spec.verified_only)
        nothing = Facts("", 0, 0)
        each = [(c, forbidden(nothing, c.card, limits)) for c in plan.candidates]
        allowed = tuple(candidate for candidate, why in each if why is None)
        if not allowed:
            told = "; ".join(f"{candidate.card.ref}: {why}" for candidate, why in each)
            raise RouteError(f"no candidate of the route may be asked: {told}")
        return allowed

    def narrow(
        self, plan: Plan, chat: Chat, facts: Facts | None = None, caller: Caller = NOBODY
    ) -> tuple[Plan, str]:
        """Give the plan as its first rule that holds has it, and which one that is.

        Nothing is changed, and the word for it is empty, if none holds. Rules never make a request
        fail that the route could serve: one whose classifier fails, or whose candidates all cannot
        serve it, is passed over.
        """
        facts = facts or facts_of(chat)
        text = _ends(facts.text)
        for rule in plan.rules:
            said = ""
            if not holds(
                rule.when,
                text=text,
                chars=len(facts.text),
                tag=caller.tag,
                key=caller.key,
                hour=datetime.now(UTC).hour,
            ):
                continue
            try:
                if rule.classifier is not None:
                    hit = labels_in(self.classifiers.get(rule.classifier), text, rule.labels)
                    if hit is None:
                        continue
                    said = f"; {rule.classifier}={plain(hit[0])}"
                if rule.candidates:
                    self._check_fit(plan, rule.candidates, facts, caller)
            except (DistillError, RouteError) as error:
                _log.warning("rule %d of '%s' was passed over: %s", rule.number, plan.route, error)
                continue
            changed = msgspec.structs.replace(
                plan, candidates=rule.candidates or plan.candidates, rules=()
            )
            if rule.dial is not None and not plan.asked_dial:
                changed = msgspec.structs.replace(changed, dial=rule.dial, asked_dial=True)
            return changed, f"rule={rule.number}{said}"
        return plan, ""

    def _check_fit(
        self, plan: Plan, candidates: tuple[Candidate, ...], facts: Facts, caller: Caller
    ) -> None:
        limits = self.routing.limits(plan, facts, caller, time.time())
        if plan.policy == "order" and limits is NO_LIMITS:
            return
        each = [
            (candidate.card.ref, unfit(facts, candidate.card, limits)) for candidate in candidates
        ]
        if all(why for _, why in each):
            raise RouteError("; ".join(f"{ref}: {why}" for ref, why in each))

    def decide(self, plan: Plan, chat: Chat, dial: float | None = None) -> Decision:
        """Decide a route for a chat, with nothing asked or noted; reads files the first time.

        Raises:
            RouteError: no candidate can serve the request.
        """
        return self.routing.decide(plan, chat, dial, NOBODY, self.narrow)

    async def carry(self, choice: Choice, ask: Ask, *, stream: bool) -> tuple[Carried, Choice]:
        """Carry out a choice whose policy asks first, and give the answer and the choice as it came to be.

        Raises:
            PointsmanError: every candidate failed.
        """
        if choice.run is None:
            raise AssertionError("this choice has no policy to carry out")
        found = await carry(
            choice.run,
            ask,
            self.routing.silent,
            stream=stream,
            limit_bytes=self.config.server.max_answer_bytes,
        )
        return found, carried(choice, found)

    async def note(
        self,
        choice: Choice,
        candidate: Candidate,
        usage: Usage | None,
        *,
        attempts: int = 1,
        finish: str | None = None,
        error: PointsmanError | None = None,
    ) -> None:
        """Note what came of a routed request; nothing for one that named its model."""
        ticket = choice.ticket
        if ticket is None or ticket.noted:
            return
        try:
            routing, now_s = self.routing, time.time()
            answered(
                ticket,
                routing.outcomes,
                routing.budget(ticket.plan),
                candidate,
                usage,
                now_s=now_s,
                attempts=attempts,
                finish=finish,
                error=error,
            )
            if routing.due(ticket.plan.route or ""):
                self._recalibrate(ticket.plan)
            if ticket.verdict is not None and ticket.verdict[0] == candidate.card.ref:
                verdict = feedback_of(score=ticket.verdict[1], source="judge", at_s=now_s)
                await routing.outcomes.feedback(ticket.request_id, verdict)
        except Exception:
            # The answer is there: what is noted of it must not take it away.
            _log.exception("request %s was answered and not noted", ticket.request_id)

    def _recalibrate(self, plan: Plan) -> None:
        """Calibrate a route's dial on its traffic, aside from the requests."""
        routing = self.routing
        if routing.outcomes.path is None:
            routing.recalibrate(plan)
            return
        task = asyncio.ensure_future(asyncio.to_thread(routing.recalibrate, plan))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def note_failed(self, choice: Choice, status: int | None = None) -> None:
        """Note that a routed request got no answer, or that nobody waits for it any more."""
        ticket = choice.ticket
        if ticket is None or ticket.noted:
            return
        try:
            routing = self.routing
            budget = routing.budget(ticket.plan)
            failed(ticket, routing.outcomes, budget, now_s=time.time(), status=status)
        except Exception:
            # As in `note`: the error that the caller hears of is the first one.
            _log.exception("request %s failed and was not noted", ticket.request_id)

    def classifier(self, path: str | None = None) -> Classifier | None:
        """The router's classifier, loaded once; None if it cannot be had, which is logged once.

        A route then goes by its dial alone: routing never makes a request fail.
        """
        return self.routing.classifier(path)

    def warm(self) -> None:
        """Load what the configured routes need, so that what is wrong with it is logged at the start."""
        for name in self.config.routes:
            try:
                plan = self.resolver.resolve(name)
                self.routing.budget(plan)
                if plan.policy != "order":
                    self.routing.recalibrate(plan)
                if plan.policy in ("cascade", "consistency", "judge"):
                    self.routing.verifier(plan.spec.verifier)
            except (PointsmanError, MissingExtra) as error:
                _log.warning("the route '%s' is not ready: %s", name, error.message)

    async def aclose(self) -> None:
        """Stop the local models and close every connection."""
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._routing is not None:
            self._routing.outcomes.close()
        await self.local.aclose()
        await self.dispatcher.transport.aclose()


def _is_plain(plan: Plan) -> bool:
    """Whether nothing of a request decides who is asked, so that it need not be read."""
    spec = plan.spec
    limited = spec.residency or spec.verified_only or spec.max_cost_usd or spec.spend_usd_per_day
    return not (plan.rules or spec.shadow or spec.ab or limited)


def _ends(text: str) -> str:
    if len(text) <= 2 * END_CHARS:
        return text
    return f"{text[:END_CHARS]}\n{text[-END_CHARS:]}"


def _check_languages(config: Config) -> None:
    for name, route in config.routes.items():
        for number, rule in enumerate(route.rules, 1):
            unknown = sorted(set(rule.when.language) - set(LANGUAGES))
            if unknown:
                raise ConfigError(
                    f"routes.{name}.rules, rule {number}: language '{unknown[0]}' cannot be told;"
                    f" known: {', '.join(LANGUAGES)}"
                )
