"""Routes at work: what a policy must know is gathered here, and what came of it is noted.

Nothing in here makes a request fail that a candidate could serve: a router, a verifier, a store or a
rule that cannot be had is passed over, which is logged once and said in the header.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec

from pointsman.calibration import Bench, bench_of, sample_of
from pointsman.carry import Run, decided
from pointsman.classifiers import plain
from pointsman.config import Config
from pointsman.curves import WEEK_S, traffic_scale
from pointsman.errors import MissingExtra, PointsmanError, RouteError
from pointsman.outcomes import Outcomes
from pointsman.resolve import Candidate, Plan
from pointsman.router.ability import blended_usd_per_mtok
from pointsman.router.budget import DAY_S, Budget
from pointsman.router.classifier import OnnxClassifier, default_classifier
from pointsman.router.conversation import Conversations, conversation_key
from pointsman.router.decision import Decision
from pointsman.router.dial import Gauge
from pointsman.router.experiment import assigned, seed_of
from pointsman.router.facts import Facts, facts_of
from pointsman.router.limits import NO_LIMITS, Limits, forbidden, most_usd
from pointsman.router.policy import (
    Check,
    bandit,
    cascade,
    classifier,
    consistency,
    judge,
    order,
)
from pointsman.router.prognosis import Prognosis, prognosis_of, settle
from pointsman.router.ranking import Situation
from pointsman.router.steps import Classify, Done, Policy, Step
from pointsman.router.trajectory import advance
from pointsman.router.verify import Verifier, default_verifier, read_verifier
from pointsman.tickets import NOBODY, Caller, Choice, Ticket
from pointsman.types import Chat, Classifier, PromptReading

__all__ = ["NOBODY", "Caller", "Choice", "Routing", "Ticket"]

_log = logging.getLogger("pointsman")

MAX_BENCHES = 256
# After so many answers a route's dial is calibrated anew on its own traffic.
RECALIBRATE_EVERY = 500
# The policies that ask before they decide.
ASKING = ("cascade", "consistency", "judge")
INFINITE = float("inf")


Match: TypeAlias = Callable[[Plan, Chat, Facts, Caller], tuple[Plan, str]]


class Routing:
    """What routes share: routers, benches, conversations, budgets and outcomes."""

    def __init__(
        self,
        config: Config,
        outcomes: Outcomes,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.outcomes = outcomes
        self._now_s = now_s
        self._classifiers: dict[str | None, Classifier | None] = {}
        self._verifiers: dict[str | None, Verifier | None] = {}
        self._benches: OrderedDict[object, Bench] = OrderedDict()
        self._conversations: dict[str, Conversations] = {}
        self._budgets: dict[str, Budget] = {}
        self._answers: dict[str, int] = {}
        self._gauges: dict[str, Gauge] = {}
        self._no_prognosis = False
        self._left_out: set[str] = set()
        self.silent: set[str] = set()

    # What is loaded once

    def classifier(self, path: str | None = None) -> Classifier | None:
        """Give a router, the shipped one without a path; None if it cannot be had, logged once.

        A router of the user's own that cannot be had is replaced by the shipped one.
        """
        if path in self._classifiers:
            return self._classifiers[path]
        found: Classifier | None
        try:
            if path is None:
                found = default_classifier()
            else:
                found = OnnxClassifier.open(Path(path).expanduser())
        except (MissingExtra, PointsmanError) as error:
            found = None if path is None else self.classifier(None)
            _log.warning("%s: %s", _without(path, "a classifier", found is not None), error.message)
        self._classifiers[path] = found
        return found

    def verifier(self, path: str | None = None) -> Verifier | None:
        """Give a verifier of answers, as `classifier` gives a router."""
        if path in self._verifiers:
            return self._verifiers[path]
        found: Verifier | None
        try:
            found = default_verifier() if path is None else read_verifier(Path(path).expanduser())
        except (OSError, PointsmanError) as error:
            found = None if path is None else self.verifier(None)
            text = error.message if isinstance(error, PointsmanError) else str(error)
            _log.warning("%s: %s", _without(path, "a verifier", found is not None), text)
        self._verifiers[path] = found
        return found

    def _bench(self, ticket: Ticket) -> Bench:
        if ticket.bench is None:
            ticket.bench = self.bench(ticket.plan)
        return ticket.bench

    def bench(self, plan: Plan) -> Bench:
        """Give a plan's candidates made ready: abilities, and the scale of the dial."""
        key = _key(plan)
        found = self._benches.get(key)
        if found is None:
            found = self._made(plan)
            while len(self._benches) >= MAX_BENCHES:
                self._benches.popitem(last=False)
            self._benches[key] = found
        return found

    def _made(self, plan: Plan) -> Bench:
        unread = plan.policy == "order" and not plan.spec.shadow
        router = None if unread else self.classifier(plan.spec.router)
        sample = None
        if router is not None:
            try:
                sample = sample_of(router)
            except RouteError as error:
                _log.warning("the dial is not calibrated: %s", error.message)
        return bench_of(plan.candidates, router, sample)

    def recalibrate(self, plan: Plan) -> bool:
        """Calibrate a route's dial on its own traffic of the last week; whether there was enough of it.

        Reads the store: not for the request path.
        """
        if plan.route is None:
            return False
        bench = self.bench(plan)
        recorded = self.outcomes.rewarded(plan.route, self._now_s() - WEEK_S)
        scale = traffic_scale(bench, [outcome for outcome, _ in recorded])
        if scale is None:
            return False
        self._benches[_key(plan)] = msgspec.structs.replace(
            bench, scale=scale, source="the last week's traffic", weights={}, dearest=None
        )
        self._gauges.pop(plan.route, None)
        return True

    def due(self, route: str) -> bool:
        """Count an answer of a route; whether its dial should be calibrated anew by now."""
        count = self._answers[route] = self._answers.get(route, 0) + 1
        return count % RECALIBRATE_EVERY == 0

    def budget(self, plan: Plan) -> Budget | None:
        """Give a route's budget, if it has one."""
        usd = plan.spec.spend_usd_per_day
        if usd is None or plan.route is None:
            return None
        found = self._budgets.get(plan.route)
        if found is None:
            found = self._budgets[plan.route] = Budget(usd)
            now_s = self._now_s()
            found.resume(self.outcomes.spent_usd(plan.route, now_s - now_s % DAY_S), now_s)
        return found

    # Deciding

    def choose(
        self,
        plan: Plan,
        chat: Chat,
        dial: float | None,
        caller: Caller = NOBODY,
        match: Match | None = None,
    ) -> Choice:
        """Decide a route for a request, and remember what must be noted when it is answered.

        Raises:
            RouteError: no candidate can serve the request; says why for each.
        """
        facts = facts_of(chat)
        ticket = Ticket(plan, caller.request_id, facts, self._now_s())
        self._recognise(ticket, chat, caller)
        plan = self._dealt(ticket, plan, caller)
        matched = ""
        if match is not None and plan.rules:
            plan, matched = match(plan, chat, facts, caller)
        ticket.plan = plan
        situation, setting = self._situation(ticket, chat, dial, caller)
        policy = self._policy(ticket, situation)
        step, done = self._driven(policy, self._bench(ticket))
        gone = f"gone={','.join(map(plain, plan.gone))}" if plan.gone else ""
        notes = [
            f"route={plan.route}",
            gone,
            matched,
            ticket.variant and f"ab={ticket.variant}",
            setting,
        ]
        if plan.spec.shadow:
            return self._on_paper(ticket, situation, done, [note for note in notes if note])
        return self._choice(ticket, situation, policy, step, done, [n for n in notes if n])

    def decide(
        self,
        plan: Plan,
        chat: Chat,
        dial: float | None,
        caller: Caller = NOBODY,
        match: Match | None = None,
    ) -> Decision:
        """Give the decision on a chat by itself, before anything is asked; nothing is noted.

        Raises:
            RouteError: as `choose`.
        """
        facts = facts_of(chat)
        matched = ""
        if match is not None and plan.rules:
            plan, matched = match(plan, chat, facts, caller)
        ticket = Ticket(plan, caller.request_id, facts, self._now_s(), paper=True)
        situation, setting = self._situation(ticket, chat, dial, caller)
        if plan.policy == "order" and not plan.spec.shadow:
            return _as_listed(situation)
        _, done = self._driven(classifier(situation), self._bench(ticket))
        if done is None or done.decision is None:
            raise RouteError("the policy gave no decision")
        extra = tuple(note for note in (matched, setting) if note)
        gone = tuple((ref, "gone: it means nothing now") for ref in plan.gone)
        return msgspec.structs.replace(
            done.decision,
            reasons=(*extra, *done.decision.reasons),
            excluded=(*done.decision.excluded, *gone),
        )

    def _recognise(self, ticket: Ticket, chat: Chat, caller: Caller) -> None:
        """Find the conversation, and see how its run goes."""
        plan = ticket.plan
        key = conversation_key(plan.route or "", chat, caller.conversation)
        if key is None or plan.route is None:
            return
        kept = self._conversations.get(plan.route)
        if kept is None:
            kept = self._conversations[plan.route] = Conversations(plan.spec.conversation_ttl_s)
        ticket.key = key
        opens = not caller.conversation and not any(m.role == "assistant" for m in chat.messages)
        talk = kept.start(key, ticket.started_s) if opens else kept.get(key, ticket.started_s)
        ticket.conversation = talk
        if len(chat.messages) < 2:
            return
        cut = talk.progress.trajectory.compactions if talk.progress is not None else 0
        talk.progress = advance(talk.progress, chat)
        if talk.progress.trajectory.compactions > cut:
            talk.warm.clear()  # The prompt begins otherwise now: no cache has it.
        try:
            ticket.prognosis = prognosis_of(talk.progress.trajectory)
        except RouteError as error:
            if not self._no_prognosis:
                _log.warning("routing without a look at the run: %s", error.message)
            self._no_prognosis = True
            return
        if talk.messages != len(chat.messages):
            talk.messages = len(chat.messages)
            talk.level = settle(talk.level, ticket.prognosis)

    def _dealt(self, ticket: Ticket, plan: Plan, caller: Caller) -> Plan:
        """The variant of an A/B, for the conversations that are dealt to it."""
        ab = plan.spec.ab
        if ab is None or plan.variant is None:
            return plan
        unit = ticket.key or caller.request_id.encode()
        taken = assigned(ab.name, ab.share, unit)
        ticket.variant = f"{ab.name}:{'variant' if taken else 'control'}"
        return plan.variant if taken else plan

    def _situation(
        self, ticket: Ticket, chat: Chat, dial: float | None, caller: Caller
    ) -> tuple[Situation, str]:
        plan, spec, talk = ticket.plan, ticket.plan.spec, ticket.conversation
        bench = self._bench(ticket)
        ratio = bench.ratio(ticket.facts)
        if ratio is not None and not ticket.paper:
            self._gauge(plan).note(ratio)
        at, per_usd, setting = self._setting(ticket, bench, dial)
        learned = self.outcomes.learner.knows
        situation = Situation(
            facts=ticket.facts,
            cards=bench.cards,
            chat=chat,
            route=plan.route or "",
            abilities=bench.abilities,
            limits=self.limits(plan, ticket.facts, caller, ticket.started_s),
            dial=at,
            per_usd=per_usd,
            level=talk.level if talk is not None and talk.messages else None,
            trouble=_trouble(ticket.prognosis),
            offset=self.outcomes.offset if learned else None,
            current=talk.ref if talk is not None and spec.sticky else None,
            warm=talk.warm_tokens(ticket.started_s) if talk is not None and talk.warm else {},
            explore=spec.explore,
            seed=seed_of(ticket.key or b"", ticket.request_id.encode()) if spec.explore else 0,
            stream=chat.stream,
        )
        return situation, setting

    def _setting(
        self, ticket: Ticket, bench: Bench, dial: float | None
    ) -> tuple[float, float | None, str]:
        """The dial, the weight of a dollar that follows from it, and what was set in its place."""
        plan, spec, scale = ticket.plan, ticket.plan.spec, bench.scale
        # Requests that are dearer than the calibration's make each dollar weigh less, and so do bills
        # that are higher than expected: the dial is about shares.
        size = self._gauge(plan).factor * self._billed(plan, bench)
        if dial is None and not plan.asked_dial:
            if spec.quality is not None:
                if scale is None:
                    return spec.quality, None, f"quality={spec.quality:g}"
                weight = scale.at_quality(spec.quality)
                return scale.dial_at(weight), weight / size, f"quality={spec.quality:g}"
            budget = self.budget(plan)
            mean = budget.per_request_usd(ticket.started_s) if budget is not None else None
            if mean is not None and scale is not None:
                weight = scale.at_cost(mean / size)
                said = f"usd_per_day={spec.spend_usd_per_day:g}"
                return scale.dial_at(weight), weight / size, said
        at = plan.dial if dial is None else dial
        found = bench.weight(at)
        return at, None if found is None else found / size, ""

    def _billed(self, plan: Plan, bench: Bench) -> float:
        """What the candidates cost together for each dollar expected of them, 1 before any bill."""
        if not self.outcomes.learner.knows:
            return 1.0
        expected = actual = 0.0
        for card in bench.cards:
            price = blended_usd_per_mtok(card) or 0.0
            expected += price
            actual += price * self.outcomes.learner.factor(plan.route or "", card.ref)
        return actual / expected if expected > 0.0 else 1.0

    def _gauge(self, plan: Plan) -> Gauge:
        found = self._gauges.get(plan.route or "")
        if found is None:
            found = self._gauges[plan.route or ""] = Gauge()
        return found

    def dial_of(self, plan: Plan) -> float:
        """Give where a route's dial stands now, by whatever key sets it."""
        ticket = Ticket(plan, "", Facts("", 0, 0), self._now_s())
        return self._setting(ticket, self._bench(ticket), None)[0]

    def limits(self, plan: Plan, facts: Facts, caller: Caller, at_s: float) -> Limits:
        """Give the hard limits of a request on a route.

        What a policy that asks first may spend on the way to the dearest candidate is taken off its
        caps: they hold for all of a request.
        """
        spec = plan.spec
        budget = self.budget(plan)
        plain = not spec.residency and not spec.verified_only and spec.max_cost_usd is None
        if plain and budget is None and caller.allowed is None:
            return NO_LIMITS
        way = 0.0
        if plan.policy in ASKING and (spec.max_cost_usd is not None or budget is not None):
            each = sorted(most_usd(facts, candidate.card) or 0.0 for candidate in plan.candidates)
            times = spec.samples if plan.policy == "consistency" else 1
            way = times * sum(each[:-1])
        return Limits(
            max_cost_usd=None if spec.max_cost_usd is None else max(spec.max_cost_usd - way, 0.0),
            left_usd=budget.left_usd(at_s) - way if budget is not None else None,
            residency=tuple(spec.residency),
            verified_only=spec.verified_only,
            allowed=caller.allowed,
        )

    def _policy(self, ticket: Ticket, situation: Situation) -> Policy:
        spec, name = ticket.plan.spec, ticket.plan.policy
        if name == "order":
            return order(situation)
        if name == "bandit":
            if situation.explore > 0.0:
                situation = msgspec.structs.replace(situation, offset=self.outcomes.offset)
            return bandit(situation)
        if name == "classifier" or spec.shadow:
            return classifier(situation)
        check = Check(self.verifier(spec.verifier), spec.accept)
        if situation.stream and spec.holdback_tokens == 0:
            return classifier(situation)
        if name == "consistency":
            return consistency(situation, check, spec.samples)
        if name == "judge" and ticket.plan.judge is not None:
            card = ticket.plan.judge.card
            # A judge reads the prompt: it may be no other than a candidate may be.
            why = forbidden(ticket.facts, card, situation.limits)
            if why is not None:
                self._leave_out(ticket.plan, card.ref, why)
                return cascade(situation, check)
            ref = card.ref
            return judge(situation, check, ref, spec.judge_share, ticket.key or b"")
        return cascade(situation, check)

    def _leave_out(self, plan: Plan, ref: str, why: str) -> None:
        key = f"{plan.route}\n{ref}"
        if key not in self._left_out:
            self._left_out.add(key)
            _log.warning("the judge of '%s' is left out: %s: %s", plan.route, ref, why)

    def _driven(self, policy: Policy, bench: Bench) -> tuple[Step | None, Done | None]:
        """Drive a policy up to its first call, or to its end."""
        try:
            step = next(policy)
            while isinstance(step, Classify):
                step = policy.send(self._read(bench, step.text))
        except StopIteration as end:
            return None, end.value
        return step, None

    def _read(self, bench: Bench, text: str) -> PromptReading | None:
        if bench.classifier is None:
            return None
        try:
            return bench.classifier.read(text)
        except Exception as error:
            # A runtime's own errors share no base class; the route goes on by its dial.
            _log.warning("the classifier failed on a prompt: %s", type(error).__name__)
            return None

    def _choice(
        self,
        ticket: Ticket,
        situation: Situation,
        policy: Policy,
        step: Step | None,
        done: Done | None,
        notes: list[str],
    ) -> Choice:
        plan, bench = ticket.plan, self._bench(ticket)
        fallback = self._allowed(plan.fallback, situation)
        if plan.policy not in ("classifier", "order"):
            notes.append(f"policy={plan.policy}")
        if step is not None:
            callable_ = dict(bench.by_ref)
            if plan.judge is not None:
                callable_.setdefault(plan.judge.card.ref, plan.judge)
            run = Run(
                policy,
                step,
                callable_,
                fallback,
                lambda text: self._read(bench, text),
                plan.spec.holdback_tokens,
                plan.spec.holdback_ms / 1000.0,
                ticket.facts.prompt_tokens,
                "; ".join(notes),
            )
            return self._first_asking(ticket, situation, run)
        if done is None:
            raise RouteError("the policy ended without a word")
        decision = decided(done)
        ticket.decision = decision
        ticket.reserved_usd = self._reserve(ticket, done.choice)
        ordered = tuple(bench.by_ref[ref] for ref in done.order)
        says = decision.header() if decision is not None else "; ".join(done.reasons)
        return Choice((*ordered, *fallback), "; ".join((*notes, says)), decision, None, ticket)

    def _first_asking(self, ticket: Ticket, situation: Situation, run: Run) -> Choice:
        """A policy that asks first. What cannot be asked so goes by the plain decision: a text in place of
        a chat, a count of tokens."""
        bench = self._bench(ticket)
        _, done = self._driven(classifier(situation), bench)
        if done is None:
            raise RouteError("the policy ended without a word")
        ticket.decision = done.decision
        ticket.reserved_usd = self._reserve(ticket, *done.order)
        ordered = tuple(bench.by_ref[ref] for ref in done.order)
        says = done.decision.header() if done.decision is not None else "; ".join(done.reasons)
        why = f"{run.notes}; {says}"
        return Choice((*ordered, *run.fallback), why, done.decision, run, ticket)

    def _on_paper(
        self, ticket: Ticket, situation: Situation, done: Done | None, notes: list[str]
    ) -> Choice:
        """In the order that is listed, with what would have been chosen."""
        plan = ticket.plan
        ticket.shadow = True
        ordered = self._allowed(plan.candidates, situation) or plan.candidates
        ticket.asked = tuple(candidate.card.ref for candidate in ordered)
        ticket.reserved_usd = self._reserve(ticket, ticket.asked[0])
        says = "as listed"
        if done is not None:
            ticket.decision = done.decision
            says = done.decision.header() if done.decision else f"choice={done.choice}"
        fallback = self._allowed(plan.fallback, situation)
        why = "; ".join((*notes, "shadow=true", says))
        return Choice((*ordered, *fallback), why, ticket.decision, None, ticket)

    def _allowed(
        self, candidates: tuple[Candidate, ...], situation: Situation
    ) -> tuple[Candidate, ...]:
        """Those that the route's own limits let through; what a request needs is theirs to say."""
        if situation.limits is NO_LIMITS:
            return candidates
        return tuple(
            each
            for each in candidates
            if forbidden(situation.facts, each.card, situation.limits) is None
        )

    def _reserve(self, ticket: Ticket, *refs: str) -> float:
        """Set aside the most that asking each of these once may cost."""
        budget = self.budget(ticket.plan)
        if budget is None:
            return 0.0
        most = sum(
            most_usd(ticket.facts, each.card) or 0.0
            for each in ticket.plan.candidates
            if each.card.ref in refs
        )
        budget.reserve(most, ticket.started_s)
        return most


def _as_listed(situation: Situation) -> Decision:
    """What the policy `order` does, as a decision."""
    out = [
        (card.ref, forbidden(situation.facts, card, situation.limits)) for card in situation.cards
    ]
    refs = tuple(ref for ref, why in out if why is None)
    excluded = tuple((ref, why) for ref, why in out if why is not None)
    if not refs:
        each = "; ".join(f"{ref}: {why}" for ref, why in excluded)
        raise RouteError(f"no candidate of the route can serve this request: {each}")
    fit = tuple(card for card in situation.cards if card.ref in refs)
    reasons = ("policy=order",)
    return Decision(refs[0], refs, situation.dial, reasons, excluded=excluded, fit=fit)


def _key(plan: Plan) -> object:
    """What a bench depends on."""
    cards = tuple(candidate.card for candidate in plan.candidates)
    return cards, plan.spec.router, plan.policy == "order" and not plan.spec.shadow


def _trouble(prognosis: Prognosis | None) -> tuple[str, ...]:
    """The sign that counts most, if the run is in trouble now and not only was."""
    return prognosis.reasons[:1] if prognosis is not None and prognosis.excess > 0.0 else ()


def _without(path: str | None, what: str, replaced: bool) -> str:
    if path is None:
        return f"routing without {what}"
    return f"{path} is not used, {'the shipped one is' if replaced else 'nor is there another'}"
