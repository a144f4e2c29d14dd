"""One turn of a conversation: the answer is shown as it comes, and taken into it."""

from __future__ import annotations

import time

from msgspec import Struct

from pointsman.cli.terminal.conversation import Conversation
from pointsman.cli.terminal.screen import Screen
from pointsman.cli.terminal.speaker import Speaker
from pointsman.client import Answer
from pointsman.types import ReasoningDelta, Refusal, RefusalDelta, Text, TextDelta

__all__ = ["Turn", "figures", "take_turn"]


class Turn(Struct, frozen=True):
    """How a turn went: `first_s` until the first piece came, `rest_s` from then to the end."""

    answer: Answer
    interrupted: bool
    first_s: float
    rest_s: float


def take_turn(
    speaker: Speaker,
    conversation: Conversation,
    screen: Screen,
    *,
    wait_for: str = "",
    quiet: bool = False,
) -> Turn | None:
    """Ask for the answer to what was said last, and show it (unless `quiet`).

    Ctrl-C ends the answer; what came of it is kept. None if it came before anything did. What got
    no answer is taken back, so that it can be said anew.

    Raises:
        PointsmanError: as `Client.chat`; what was said is taken back.
    """
    begun_s = time.perf_counter()
    heard: Turn | None = None
    try:
        heard = _listen(speaker, conversation, screen, begun_s, wait_for, quiet)
    except KeyboardInterrupt:
        pass
    finally:
        if not quiet:
            screen.end()
        _keep(conversation, heard)
    return heard


def _keep(conversation: Conversation, heard: Turn | None) -> None:
    parts = () if heard is None else heard.answer.message.parts
    spoken = tuple(part for part in parts if isinstance(part, Text | Refusal))
    if not any(part.text for part in spoken):
        conversation.unsay()
    elif heard is not None and heard.interrupted:
        # Thoughts that were cut short lack the proof of their maker: no provider takes them back.
        conversation.hear(spoken)
    else:
        conversation.hear(parts)


def _listen(
    speaker: Speaker,
    conversation: Conversation,
    screen: Screen,
    begun_s: float,
    wait_for: str,
    quiet: bool,
) -> Turn:
    first_s = 0.0
    interrupted = False
    with screen.waiting(wait_for) as stop_waiting, speaker.open(conversation) as stream:
        try:
            for chunk in stream:
                if not isinstance(chunk, TextDelta | RefusalDelta | ReasoningDelta):
                    continue
                if not first_s:
                    first_s = time.perf_counter() - begun_s
                    stop_waiting()
                if quiet:
                    continue
                if isinstance(chunk, ReasoningDelta):
                    screen.thought(chunk.text)
                else:
                    screen.text(chunk.text)
        except KeyboardInterrupt:
            interrupted = True
        answer = speaker.answer(stream)
    ended_s = time.perf_counter() - begun_s
    return Turn(answer, interrupted, first_s, ended_s - first_s)


def figures(turn: Turn) -> str:
    """Say what a turn took: who served it, tokens, their rate, and the cost."""
    usage = turn.answer.usage
    said = [turn.answer.ref]
    if usage is not None:
        output = f"{usage.output_tokens} tokens in {turn.rest_s:.1f} s"
        timings = turn.answer.completion.timings
        # The engine's own time, where it says it: ours has the network in it.
        seconds = timings.output_ms / 1e3 if timings else turn.rest_s
        if usage.output_tokens > 1 and seconds > 0:
            output += f" ({usage.output_tokens / seconds:.1f} tokens/s)"
        said += [f"prompt {usage.input_tokens} tokens", output]
    said.append(f"first after {turn.first_s:.2f} s")
    cost = turn.answer.cost_usd
    if cost is None:
        said.append("cost unknown")
    else:
        said.append(f"${cost:.6f}".rstrip("0").rstrip(".") if cost else "free")
    if turn.interrupted:
        said.append("stopped")
    return " · ".join(said)
