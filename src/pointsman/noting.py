"""Notes what came of a routed request: in its conversation, its budget, and the outcomes."""

from __future__ import annotations

import math

import msgspec

from pointsman.carry import Carried, decided
from pointsman.errors import PointsmanError
from pointsman.outcomes import Outcomes
from pointsman.resolve import Candidate
from pointsman.router.budget import Budget
from pointsman.router.decision import Decision
from pointsman.router.facts import Facts
from pointsman.router.outcomes import Candidacy, Outcome
from pointsman.router.steps import Judged
from pointsman.tickets import Choice, Ticket
from pointsman.types import Usage

__all__ = ["answered", "carried", "failed"]


def carried(choice: Choice, found: Carried) -> Choice:
    """Give the choice as a policy that asked first made it, with what it spent on the way."""
    ticket, done = choice.ticket, found.done
    ref = found.served.candidate.card.ref
    decision = decided(done, ref)
    spent = sum(each.cost_usd or 0.0 for each in found.spent)
    judged = next((each for each in reversed(done.judged) if each.ref == ref), None)
    if ticket is not None:
        ticket.decision = decision
        ticket.spent_usd = spent
        ticket.asked = tuple(dict.fromkeys((*(each.ref for each in done.judged), ref)))
        if judged is not None and judged.score is not None:
            ticket.verdict = (ref, judged.score)
    says = decision.header() if decision is not None else "; ".join(done.reasons)
    asked = "; ".join(map(_said, done.judged))
    notes = choice.run.notes if choice.run is not None else ""
    parts = (notes, says, f'judged="{asked}"' if asked else "", f"spent={spent:.6f}")
    why = "; ".join(part for part in parts if part)
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in why)
    return msgspec.structs.replace(choice, why=plain, decision=decision, run=None)


def answered(
    ticket: Ticket,
    outcomes: Outcomes,
    budget: Budget | None,
    candidate: Candidate,
    usage: Usage | None,
    *,
    now_s: float,
    attempts: int = 1,
    finish: str | None = None,
    error: PointsmanError | None = None,
) -> None:
    """Note an answer, complete or cut by `error`. Only the first word on a ticket counts."""
    if ticket.noted:
        return
    ticket.noted = True
    card = candidate.card
    cost = 0.0 if card.local else card.cost_usd(usage) if usage is not None else None
    if budget is not None:
        # An answer whose tokens nobody counted is taken to have cost the most that it may.
        spent = ticket.spent_usd + (ticket.reserved_usd if cost is None else cost)
        budget.settle(ticket.reserved_usd, spent, now_s)
    talk = ticket.conversation
    if talk is not None and error is None:
        tokens = usage.input_tokens if usage is not None else ticket.facts.prompt_tokens
        talk.answered(card.ref, tokens, now_s)
    outcome = _outcome(ticket, card.ref, now_s)
    outcome.attempts = attempts
    outcome.finish = finish
    outcome.status = error.status if error is not None else 200
    if cost is not None:
        outcome.cost_usd = cost + ticket.spent_usd
    if usage is not None:
        outcome.input_tokens = usage.input_tokens
        outcome.output_tokens = usage.output_tokens
        outcome.cached_tokens = usage.cached_tokens
    outcomes.record(outcome)


def failed(
    ticket: Ticket, outcomes: Outcomes, budget: Budget | None, *, now_s: float, status: int | None
) -> None:
    """Note that nobody answered, or that the client left before; nothing happens if it is noted."""
    if ticket.noted:
        return
    ticket.noted = True
    if budget is not None:
        budget.settle(ticket.reserved_usd, ticket.spent_usd, now_s)
    outcome = _outcome(ticket, "", now_s)
    outcome.status = status
    outcomes.record(outcome)


def _outcome(ticket: Ticket, ref: str, now_s: float) -> Outcome:
    plan, decision = ticket.plan, ticket.decision
    policy = f"shadow:{plan.policy}" if ticket.shadow else plan.policy
    found = Outcome(
        request_id=ticket.request_id,
        route=plan.route or "",
        ref=ref,
        at_s=ticket.started_s,
        policy=policy,
        asked=ticket.asked,
        facts=_facts(ticket.facts),
        conversation=ticket.key.hex() if ticket.key else None,
        latency_s=max(now_s - ticket.started_s, 0.0),
        variant=ticket.variant,
    )
    if ticket.prognosis is not None:
        told = ticket.prognosis
        found.run = {"excess": told.excess, "p_fail": told.p_fail, "sd": told.sd}
    if decision is not None:
        _decided(found, decision)
    return found


def _decided(outcome: Outcome, decision: Decision) -> None:
    outcome.dial = decision.dial
    if decision.per_usd is not None and math.isfinite(decision.per_usd):
        outcome.per_usd = decision.per_usd
    outcome.reasons = decision.reasons
    outcome.share = decision.share
    outcome.candidates = tuple(
        Candidacy(
            view.ref, view.logit, view.p_success, view.sd, view.cost_usd if view.priced else None
        )
        for view in decision.views
    )
    reading = decision.reading
    if reading is not None:
        outcome.reading = {
            "difficulty": reading.difficulty,
            "answer_tokens": reading.answer_tokens,
            "rank": reading.rank,
            "familiar": reading.familiar,
        }
        outcome.loadings = reading.loadings


def _facts(facts: Facts) -> dict[str, float]:
    return {
        "prompt_tokens": facts.prompt_tokens,
        "answer_tokens": facts.answer_tokens,
        "vision": float(facts.vision),
        "tools": float(facts.tools),
        "json_schema": float(facts.json_schema),
    }


def _said(judged: Judged) -> str:
    return f"{judged.ref} {judged.p_good:.2f} {judged.why}"
