"""Chooses a model for a request: hard limits first, then the dial and the classifier. Pure.

A policy makes no call itself. It is a generator of steps that a host carries out: `Classify` asks
for an estimate of a text, and the generator returns the Decision. The gateway, the client and a
test drive the same one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

from pointsman.errors import RouteError
from pointsman.types import (
    Audio,
    Chat,
    Estimate,
    File,
    HostedTool,
    Image,
    ModelCard,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

__all__ = ["Classify", "Decision", "Facts", "decide", "facts_of", "steps"]

_Leaf: TypeAlias = Text | Refusal | Image | Audio | File | ToolCall | Reasoning

# Bytes of UTF-8 a token, taken low so that a prompt's length is over- rather than underestimated.
BYTES_PER_TOKEN = 3.0
MEDIA_TOKENS = 1000
DEFAULT_ANSWER_TOKENS = 1024
# A last message below this length is read with up to so many earlier ones.
SHORT_CHARS, EARLIER_MESSAGES = 40, 2
# The blend by which models are ordered: prompts are longer than answers, most of the time.
INPUT_PARTS, OUTPUT_PARTS = 3.0, 1.0
INFINITE = float("inf")


class Facts(Struct, frozen=True):
    """What a route must know of a request. Tokens are estimates.

    `text` is the last user message, with up to two earlier ones before it where it is too short to
    say what it is about ("continue").
    """

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

    `order` are the refs to ask, the chosen one first and then the fall-backs: dearer ones, the
    nearest first, then cheaper ones. `prices` are those of all fit candidates, the cheapest first,
    in US dollars per million tokens, three parts input to one part output; None is unknown.
    """

    chosen: str
    order: tuple[str, ...]
    dial: float
    reasons: tuple[str, ...]
    estimate: Estimate | None = None
    excluded: tuple[tuple[str, str], ...] = ()
    prices: tuple[tuple[str, float | None], ...] = ()

    def header(self) -> str:
        """Give the decision in short, in ASCII; it holds nothing of the prompt."""
        fields = [f"choice={self.chosen}"]
        if self.estimate is not None:
            fields.append(f"p={self.estimate.p_weak:.2f}")
            fields.append(f"rank={self.estimate.rank:.2f}")
        fields += [f"dial={self.dial:g}", f'why="{"; ".join(self.reasons)}"']
        if len(self.order) > 1:
            fields.append(f"next={self.order[1]}")
        line = "; ".join(fields).encode("ascii", "replace").decode()
        return "".join(c if c.isprintable() else "?" for c in line)


def facts_of(chat: Chat) -> Facts:
    """Read from a chat what a route must know."""
    size = sum(_tool_bytes(tool) for tool in chat.tools)
    media = 0
    vision = False
    asked: list[str] = []
    for message in chat.messages:
        own: list[str] = []
        for part in _flat(message.parts):
            if isinstance(part, Image | Audio | File):
                media += 1
                vision = vision or isinstance(part, Image)
                part_text = part.text or "" if isinstance(part, File) else ""
            elif isinstance(part, ToolCall):
                part_text = part.arguments
            else:
                part_text = part.text
            size += len(part_text.encode("utf-8", "replace"))
            if isinstance(part, Text):
                own.append(part_text)
        if message.role == "user" and own:
            asked.append("\n".join(own))
    return Facts(
        text=_in_context(asked),
        prompt_tokens=round(size / BYTES_PER_TOKEN) + media * MEDIA_TOKENS,
        answer_tokens=chat.max_tokens or DEFAULT_ANSWER_TOKENS,
        vision=vision,
        tools=bool(chat.tools),
        json_schema=chat.response_format is not None and chat.response_format.kind == "json_schema",
    )


def _flat(parts: Sequence[Part]) -> Iterator[_Leaf]:
    """The parts, with a tool's result replaced by what it holds."""
    for part in parts:
        if isinstance(part, ToolResult):
            yield from part.content
        else:
            yield part


def _tool_bytes(tool: Tool | HostedTool) -> int:
    if isinstance(tool, HostedTool):
        return len(msgspec.json.encode(tool.spec))
    about = tool.description or ""
    return (
        len(tool.name)
        + len(about.encode("utf-8", "replace"))
        + len(msgspec.json.encode(tool.parameters))
    )


def _in_context(asked: Sequence[str]) -> str:
    if not asked:
        return ""
    texts = [asked[-1]]
    for earlier in reversed(asked[-1 - EARLIER_MESSAGES : -1]):
        if sum(map(len, texts)) >= SHORT_CHARS:
            break
        texts.insert(0, earlier)
    return "\n".join(texts)


def steps(
    facts: Facts, cards: Sequence[ModelCard], dial: float
) -> Generator[Classify, Estimate | None, Decision]:
    """Decide, in steps.

    Candidates are a ladder by price, the cheapest first: with nothing else known, a dearer model
    is taken for an abler one. A local model costs nothing; one of unknown price counts as the
    dearest. With k rungs the dial d sends the share d^j of the prompts, the
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
    prices = tuple(
        (card.ref, None if (price := _price(card)) == INFINITE else max(price, 0.0))
        for card in ladder
    )
    if rung and prices[rung][1] is None:
        reasons = (*reasons, "its price is unknown: taken as the dearest")
    if excluded:
        reasons = (*reasons, f"{len(excluded)} excluded")
    return Decision(
        chosen=chosen,
        order=(chosen, *above, *below),
        dial=dial,
        reasons=reasons,
        estimate=estimate,
        excluded=tuple(excluded),
        prices=prices,
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
        # Before a remote model that is free as well.
        return -1.0
    if card.input_usd_per_mtok is None or card.output_usd_per_mtok is None:
        return INFINITE
    parts = INPUT_PARTS + OUTPUT_PARTS
    return (INPUT_PARTS * card.input_usd_per_mtok + OUTPUT_PARTS * card.output_usd_per_mtok) / parts
