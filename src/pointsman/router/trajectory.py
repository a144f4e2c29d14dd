"""What an agent's run looks like so far, counted from a conversation.

The middle form goes in, so every dialect reads alike. A conversation grows by a few messages a turn:
what was read of it before is passed in again, and only the rest is read.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

from pointsman.router.signs import (
    HEAD_CHARS,
    TAIL_CHARS,
    Deed,
    TestState,
    deed_of,
    fault_of,
    is_correction,
    is_summary,
    tests_of,
)
from pointsman.types import Chat, Message, Text, ToolCall, ToolResult

__all__ = ["Progress", "Speaker", "Trajectory", "advance", "trajectory_of"]

Speaker: TypeAlias = Literal["nobody", "system", "user", "assistant", "tool"]

# The newest messages that are read of a history not met before; what is older is counted only.
WINDOW_MESSAGES = 200
# Calls and failures that are known again; the oldest are forgotten first.
KEPT = 128
# Recent trouble fades by half in so many tool results, or turns of the user.
HALF_LIFE = 3.0
_FADE = 0.5 ** (1 / HALF_LIFE)
# A severe error counts as so many mild ones; what is left of the trouble once a write lands or tests pass.
SEVERE, LANDED = 2.0, 0.5
CHARS_PER_TOKEN = 4.0


class Trajectory(Struct):
    """What a run looks like so far: counts, but for what is recent, which fades. Not to be changed.

    `messages` leaves out the system's. `writes` landed without a fault. `repeated_calls` had the tool
    and arguments of an earlier one with no write between; `repeated_errors` the text of an earlier
    failure. `asks` are the assistant's words to the user without a call. `unfamiliar_calls` went to
    tools of which neither reading nor writing is known. What is `recent` halves with every three tool
    results (corrections: turns of the user), and with a write that lands; a severe error counts twice.
    """

    messages: int = 0
    user_turns: int = 0
    asks: int = 0
    calls: int = 0
    unfamiliar_calls: int = 0
    reads: int = 0
    writes: int = 0
    failed_writes: int = 0
    reads_since_write: int = 0
    errors: int = 0
    severe_errors: int = 0
    errors_in_row: int = 0
    repeated_errors: int = 0
    repeated_calls: int = 0
    recent_errors: float = 0.0
    recent_repeats: float = 0.0
    tests_recovered: int = 0
    tests_broken: int = 0
    test_state: TestState = "none"
    corrections: int = 0
    recent_corrections: float = 0.0
    compactions: int = 0
    user_chars: int = 0
    assistant_chars: int = 0
    tool_chars: int = 0
    last_speaker: Speaker = "nobody"

    @property
    def tokens(self) -> float:
        """Tokens spent on the conversation's own text, estimated."""
        return (self.user_chars + self.assistant_chars + self.tool_chars) / CHARS_PER_TOKEN


class Progress(Struct):
    """What was read of one conversation. It belongs to `advance`, which goes on from it.

    `read` counts its messages that are done with; `mark` knows the last of them again.
    """

    trajectory: Trajectory = field(default_factory=Trajectory)
    read: int = 0
    mark: int = 0
    calls: dict[int, int] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)
    pending: dict[str, Deed] = field(default_factory=dict)


def trajectory_of(chat: Chat) -> Trajectory:
    """Read a conversation from its start, but no more than its newest 200 messages."""
    return advance(None, chat).trajectory


def advance(progress: Progress | None, chat: Chat) -> Progress:
    """Give the progress with the chat's new messages read; `progress` itself is used up.

    If the chat does not go on from it, it is read anew. If it got shorter than what was read, that
    counts as a compaction.
    """
    messages = chat.messages
    if progress is None:
        progress = Progress()
    elif not _goes_on(progress, messages):
        cut = len(messages) < progress.read
        known = progress.trajectory.compactions + cut
        progress = Progress()
        progress.trajectory.compactions = known
    start = max(progress.read, len(messages) - WINDOW_MESSAGES)
    progress.trajectory.messages += start - progress.read
    for index in range(start, len(messages)):
        _read(progress, messages[index], opening=index <= 1)
    progress.read = len(messages)
    progress.mark = _mark(messages, len(messages))
    return progress


def _goes_on(progress: Progress, messages: tuple[Message, ...]) -> bool:
    count = progress.read
    if count > len(messages):
        return False
    return count == 0 or _mark(messages, count) == progress.mark


def _mark(messages: tuple[Message, ...], count: int) -> int:
    """Knows a history again by how it opens and by its last message."""
    if not count:
        return 0
    return hash(
        tuple(_sketch(message) for message in (*messages[: min(2, count)], messages[count - 1]))
    )


def _sketch(message: Message) -> tuple[object, ...]:
    part = message.parts[-1] if message.parts else None
    if isinstance(part, Text):
        return message.role, len(part.text), part.text[:HEAD_CHARS]
    if isinstance(part, ToolCall):
        return message.role, part.id, len(part.arguments), part.arguments[:HEAD_CHARS]
    if isinstance(part, ToolResult):
        return message.role, part.call_id
    return message.role, len(message.parts)


def _read(progress: Progress, message: Message, *, opening: bool) -> None:
    run = progress.trajectory
    role = message.role
    if role == "system":
        return
    run.messages += 1
    run.last_speaker = role
    said = called = 0
    for part in message.parts:
        if isinstance(part, Text):
            said += len(part.text)
            if role == "user":
                _hear(run, part.text, opening)
        elif isinstance(part, ToolCall):
            called += 1
            _call(progress, part)
        elif isinstance(part, ToolResult):
            _result(progress, part)
            run.last_speaker = "tool"
    if role == "assistant":
        run.assistant_chars += said
        if said and not called:
            run.asks += 1
    elif role == "user" and said:
        run.user_turns += 1
        run.user_chars += said


def _hear(run: Trajectory, text: str, opening: bool) -> None:
    if is_summary(text):
        run.compactions += 1
    elif not opening:
        run.recent_corrections *= _FADE
        if is_correction(text):
            run.corrections += 1
            run.recent_corrections += 1.0


def _call(progress: Progress, call: ToolCall) -> None:
    run = progress.trajectory
    deed = deed_of(call.name, call.arguments)
    run.calls += 1
    run.assistant_chars += len(call.arguments)
    if deed == "unknown":
        run.unfamiliar_calls += 1
    if deed != "test" and _met(progress.calls, hash((call.name, call.arguments))):
        run.repeated_calls += 1
        run.recent_repeats += 1.0
    _keep(progress.pending, call.id, deed)


def _result(progress: Progress, result: ToolResult) -> None:
    run = progress.trajectory
    text = "".join(part.text for part in result.content if isinstance(part, Text))
    deed = progress.pending.pop(result.call_id, "unknown")
    run.tool_chars += len(text)
    fault = fault_of(text)
    if result.is_error and fault == "none":
        fault = "mild"
    if deed == "test":
        _test(run, "fail" if (state := tests_of(text)) == "none" and fault != "none" else state)
    run.recent_errors *= _FADE
    run.recent_repeats *= _FADE
    if fault == "none":
        run.errors_in_row = 0
        if deed == "write":
            run.writes += 1
            run.reads_since_write = 0
            run.recent_errors *= LANDED
            progress.calls.clear()  # What is read again after a write may well be another thing.
        elif deed == "read":
            run.reads += 1
            run.reads_since_write += 1
        return
    if deed == "test":
        return  # A test that fails is the test's news, no fault of the tool.
    run.errors += 1
    run.errors_in_row += 1
    run.recent_errors += SEVERE if fault == "severe" else 1.0
    run.severe_errors += fault == "severe"
    run.failed_writes += deed == "write"
    ends = text[:HEAD_CHARS], text[-TAIL_CHARS:]
    if _met(progress.failures, hash(ends)):
        run.repeated_errors += 1
        run.recent_repeats += 1.0


def _test(run: Trajectory, state: TestState) -> None:
    if state == "none":
        return
    if state == "pass" and run.test_state == "fail":
        run.tests_recovered += 1
        run.recent_errors *= LANDED
        run.recent_repeats *= LANDED
    elif state == "fail" and run.test_state == "pass":
        run.tests_broken += 1
    run.test_state = state


def _met(kept: dict[int, int], key: int) -> bool:
    count = kept.pop(key, 0)
    _keep(kept, key, count + 1)
    return count > 0


def _keep(kept: dict[Any, Any], key: int | str, value: Any) -> None:
    kept[key] = value
    if len(kept) > KEPT:
        del kept[next(iter(kept))]
