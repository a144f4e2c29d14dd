"""Chooses a model for a request: hard limits first, then the dial and the classifier. Pure.

A policy makes no call itself. It is a generator of steps that a host carries out: `Classify` asks
for an estimate of a text, and the generator returns the Decision. The gateway, the client and a
test drive the same one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from msgspec import Struct

from pointsman.errors import RouteError
from pointsman.types import (
    Audio,
    Chat,
    Estimate,
    File,
    Image,
    ModelCard,
    Text,
    ToolCall,
    ToolResult,
)

__all__ = ["Classify", "Decision", "Facts", "decide", "facts_of", "steps"]

# Bytes of UTF-8 a token, taken low so that a prompt's length is over- rather than underestimated.
BYTES_PER_TOKEN = 3.0
IMAGE_TOKENS = 1000
DEFAULT_ANSWER_TOKENS = 1024
# The blend by which models are ordered: prompts are longer than answers, most of the time.
INPUT_PARTS, OUTPUT_PARTS = 3.0, 1.0


class Facts(Struct, frozen=True):
    """What a route must know of a request. `text` is the last user message; tokens are estimates."""

    text: str
    prompt_tokens: int
    answer_tokens: int
    vision: bool = False
    tools: bool = False
    json_schema: bool = False


class Classify(Struct, frozen=True):
    """A step: the host sends back the Estimate for `text`, or None if it has no classifier."""

    text: str


class Decision(Struct, frozen=True):
    """A choice with its reasons.

    `order` are the refs to ask, the chosen one first and then the fall-backs, dearer ones before
    cheaper ones.
    """

    chosen: str
    order: tuple[str, ...]
    dial: float
    reasons: tuple[str, ...]
    estimate: Estimate | None = None
    excluded: tuple[tuple[str, str], ...] = ()

    def header(self) -> str:
        """Give the decision in short; it holds nothing of the prompt."""
        fields = [f"choice={self.chosen}"]
        if self.estimate is not None:
            fields.append(f"p={self.estimate.p_weak:.2f}")
            fields.append(f"rank={self.estimate.rank:.2f}")
        fields += [f"dial={self.dial:g}", f'why="{"; ".join(self.reasons)}"']
        if len(self.order) > 1:
            fields.append(f"next={self.order[1]}")
        return "; ".join(fields)


def facts_of(chat: Chat) -> Facts:
    """Read from a chat what a route must know."""
    size = 0
    images = 0
    vision = False
    last = ""
    for message in chat.messages:
        texts: list[str] = []
        for part in message.parts:
            if isinstance(part, Text):
                texts.append(part.text)
            elif isinstance(part, Image | Audio | File):
                vision = vision or isinstance(part, Image)
                images += 1
            elif isinstance(part, ToolCall):
                size += len(part.arguments)
            elif isinstance(part, ToolResult):
                texts += [each.text for each in part.content if isinstance(each, Text)]
        size += sum(len(text.encode()) for text in texts)
        if message.role == "user" and texts:
            last = "\n".join(texts)
    return Facts(
        text=last,
        prompt_tokens=round(size / BYTES_PER_TOKEN) + images * IMAGE_TOKENS,
        answer_tokens=chat.max_tokens or DEFAULT_ANSWER_TOKENS,
        vision=vision,
        tools=bool(chat.tools),
        json_schema=chat.response_format is not None and chat.response_format.kind == "json_schema",
    )


def steps(
    facts: Facts, cards: Sequence[ModelCard], dial: float
) -> Generator[Classify, Estimate | None, Decision]:
    """Decide, in steps.

    Candidates are a ladder by price, the cheapest first: with nothing else known, a dearer model
    is taken for an abler one. With k rungs the dial d sends the share d^j of the prompts, the
    hardest first, to rung j (0 to k − 1) or above. So 0 is always the cheapest, 1 always the
    dearest, and between two models d is the share of the dearer one, on prompts like those that
    the classifier was calibrated on.

    Raises:
        RouteError: no candidate can serve the request; says why for each.
    """
    fit: list[ModelCard] = []
    excluded: list[tuple[str, str]] = []
    for card in cards:
        why = _unfit(facts, card)
        if why is None:
            fit.append(card)
        else:
            excluded.append((card.ref, why))
    if not fit:
        each = "; ".join(f"{ref}: {why}" for ref, why in excluded) or "it has no candidates"
        raise RouteError(f"no candidate of the route can serve this request: {each}")
    ladder = sorted(fit, key=_price)
    if len(ladder) == 1:
        only = "only candidate" if not excluded else "only candidate that can serve it"
        return _decision(ladder, 0, dial, None, (only,), excluded)
    if dial in (0.0, 1.0):
        rung = 0 if dial == 0.0 else len(ladder) - 1
        reason = "dial at cheapest" if rung == 0 else "dial at best"
        return _decision(ladder, rung, dial, None, (reason,), excluded)
    estimate = yield Classify(facts.text)
    if estimate is None:
        rung = 0 if dial < 0.5 else len(ladder) - 1
        return _decision(ladder, rung, dial, None, ("no classifier; by the dial alone",), excluded)
    rung = max(j for j in range(len(ladder)) if j == 0 or estimate.rank < dial**j)
    if rung == 0:
        reason = "the cheapest will do"
    elif rung == len(ladder) - 1:
        reason = "hard: the strongest"
    else:
        reason = "harder than the cheapest should take"
    return _decision(ladder, rung, dial, estimate, (reason,), excluded)


def decide(
    facts: Facts, cards: Sequence[ModelCard], dial: float, estimate: Estimate | None
) -> Decision:
    """Drive `steps` with an estimate that is at hand.

    Raises:
        RouteError: as `steps`.
    """
    policy = steps(facts, cards, dial)
    try:
        next(policy)
        policy.send(estimate)
    except StopIteration as done:
        decision: Decision = done.value
        return decision
    raise AssertionError("the policy asked twice")


def _decision(
    ladder: Sequence[ModelCard],
    rung: int,
    dial: float,
    estimate: Estimate | None,
    reasons: tuple[str, ...],
    excluded: Sequence[tuple[str, str]],
) -> Decision:
    above = [card.ref for card in ladder[rung + 1 :]]
    below = [card.ref for card in reversed(ladder[:rung])]
    chosen = ladder[rung].ref
    if excluded:
        reasons = (*reasons, f"{len(excluded)} excluded")
    return Decision(
        chosen=chosen,
        order=(chosen, *above, *below),
        dial=dial,
        reasons=reasons,
        estimate=estimate,
        excluded=tuple(excluded),
    )


def _unfit(facts: Facts, card: ModelCard) -> str | None:
    need = facts.prompt_tokens + facts.answer_tokens
    if card.context_tokens is not None and need > card.context_tokens:
        return f"about {need} tokens of {card.context_tokens}"
    if facts.vision and not card.vision:
        return "no vision"
    if facts.tools and not card.tools:
        return "no tools"
    if facts.json_schema and not card.json_schema:
        return "no JSON schema"
    return None


def _price(card: ModelCard) -> float:
    """US dollars per million tokens, blended; a model without a price counts as the dearest."""
    if card.local:
        return -1.0
    if card.input_usd_per_mtok is None or card.output_usd_per_mtok is None:
        return float("inf")
    parts = INPUT_PARTS + OUTPUT_PARTS
    return (INPUT_PARTS * card.input_usd_per_mtok + OUTPUT_PARTS * card.output_usd_per_mtok) / parts
