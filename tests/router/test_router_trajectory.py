"""Trajectories: the signs of an agent's run, alike from all dialects, read once."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pointsman.dialects import get_client_dialect
from pointsman.router import signs
from pointsman.router.signs import deed_of, fault_of, is_correction, is_summary
from pointsman.router.trajectory import Progress, Trajectory, advance, trajectory_of
from pointsman.types import Chat, Message, Text, ToolCall, ToolResult

Step = tuple[Any, ...]


def said(role: Any, text: str) -> Message:
    return Message(role, (Text(text),))


def call(number: int, name: str, **arguments: Any) -> Message:
    return Message("assistant", (ToolCall(f"c{number}", name, json.dumps(arguments)),))


def result(number: int, text: str, *, error: bool = False) -> Message:
    return Message("tool", (ToolResult(f"c{number}", (Text(text),), is_error=error),))


def chat(*messages: Message) -> Chat:
    return Chat(model="auto", messages=(said("system", "You are an agent."), *messages))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Error: flight HAT030 not available", "mild"),
        ('{"error": "no such user"}', "mild"),
        ('{"error": null, "rows": []}', "none"),
        ('{"success": false}', "mild"),
        ("<tool_use_error>File has not been read yet</tool_use_error>", "mild"),
        ("Traceback (most recent call last):\n  File", "severe"),
        ("bash: foo: command not found\nexit code: 127", "severe"),
        ("done\nexit code: 0", "none"),
        ("x" * 5000 + "\nProcess exited with code 2", "mild"),
        ("src/a.py:3: raise ValueError('error')\nsrc/b.py:9: # error handling", "none"),
        ("2 matches for 'Error'", "none"),
        ("The failure rate is 3 %", "none"),
        ("", "none"),
    ],
)
def test_a_fault_is_told_from_a_text_about_faults(text: str, fault: str) -> None:
    assert fault_of(text) == fault


@pytest.mark.parametrize(
    ("name", "arguments", "deed"),
    [
        ("get_user_details", "{}", "read"),
        ("cancel_reservation", "{}", "write"),
        ("Write", "{}", "write"),
        ("str_replace_based_edit_tool", "{}", "write"),
        ("WebSearch", "{}", "read"),
        ("think", "{}", "think"),
        ("bash", '{"command": "ls -la 2>&1 | head"}', "read"),
        ("bash", '{"command": "python -m pytest -q tests"}', "test"),
        ("Bash", '{"command": "npm run test"}', "test"),
        ("bash", '{"command": "echo x > a.txt"}', "write"),
        ("bash", '{"command": "git commit -m x"}', "write"),
        ("frobnicate", "{}", "unknown"),
    ],
)
def test_what_a_call_does(name: str, arguments: str, deed: str) -> None:
    assert deed_of(name, arguments) == deed


def test_tests_corrections_and_summaries() -> None:
    assert signs.tests_of("== 3 passed in 0.1s ==") == "pass"
    assert signs.tests_of("FAILED tests/a.py::b\n== 1 failed, 3 passed in 0.1s ==") == "fail"
    assert signs.tests_of("0 failed, 12 passed") == "pass"
    assert signs.tests_of("ok  \tpkg\t0.1s") == "pass"
    assert signs.tests_of("compiling") == "none"
    assert is_correction("That's not what I asked for, undo it")
    assert is_correction("You forgot the header")
    assert not is_correction("No, that's all. Thanks!")
    assert not is_correction("If that is not achievable, economy will do")
    assert is_summary("This session is being continued from a previous conversation")
    assert not is_summary("Write a summary of the book")


def run() -> list[Message]:
    return [
        said("user", "Make the tests pass"),
        call(1, "bash", command="pytest"),
        result(1, "1 failed, 2 passed"),
        call(2, "edit_file", path="a.py"),
        result(2, "Error: string not found"),
        call(3, "edit_file", path="a.py"),
        result(3, "Error: string not found"),
        said("assistant", "Which file do you mean?"),
        said("user", "You forgot that it's b.py"),
        call(4, "read_file", path="b.py"),
        result(4, "def f(): ..."),
        call(5, "edit_file", path="b.py"),
        result(5, "edited"),
        call(6, "bash", command="pytest"),
        result(6, "3 passed"),
        call(7, "blorp"),
        result(7, "fine", error=True),
    ]


def test_a_run_is_counted() -> None:
    seen = trajectory_of(chat(*run()))
    assert seen.messages == 17
    assert (seen.user_turns, seen.asks, seen.corrections) == (2, 1, 1)
    assert (seen.calls, seen.reads, seen.writes, seen.failed_writes) == (7, 1, 1, 2)
    assert (seen.errors, seen.repeated_errors, seen.repeated_calls) == (3, 1, 1)
    assert (seen.tests_recovered, seen.test_state) == (1, "pass")
    assert (seen.unfamiliar_calls, seen.errors_in_row, seen.reads_since_write) == (1, 1, 0)
    assert seen.last_speaker == "tool"
    assert 0 < seen.recent_errors < 2
    assert seen.tokens == (seen.user_chars + seen.assistant_chars + seen.tool_chars) / 4


def test_reading_on_is_the_same_as_reading_all() -> None:
    messages = run() * 3
    whole = trajectory_of(chat(*messages))
    progress: Progress | None = None
    for end in range(1, len(messages) + 1):
        progress = advance(progress, chat(*messages[:end]))
    assert progress is not None
    assert progress.trajectory == whole
    assert advance(progress, chat(*messages)).trajectory == whole, "the same again adds nothing"


def test_another_history_is_read_anew_and_a_shorter_one_is_a_compaction() -> None:
    progress = advance(None, chat(*run()))
    other = chat(said("user", "Something else"), *run()[1:])
    fresh = advance(advance(None, chat(*run()[:3])), other)
    assert fresh.trajectory == trajectory_of(other)
    short = chat(said("user", "Summary of the conversation so far: we fixed a.py"), run()[-1])
    assert advance(progress, short).trajectory.compactions == 2, "cut, and a summary in its place"


def test_a_long_history_is_read_in_a_window() -> None:
    long = chat(*run() * 60)
    seen = trajectory_of(long)
    assert seen.messages == len(long.messages)
    assert seen.calls < 100
    big = chat(said("user", "x" * 2_000_000), result(1, "Error: " + "y" * 2_000_000))
    assert trajectory_of(big).errors == 1


def test_memory_is_bounded() -> None:
    many = chat(*(call(n, "read_file", path=str(n)) for n in range(199)))
    progress = advance(None, many)
    assert len(progress.calls) <= 128
    assert len(progress.pending) <= 128


OPENAI = [
    {"role": "user", "content": "Fix it"},
    {
        "role": "assistant",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "edit_file", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": "Error: no such file"},
    {"role": "user", "content": "You forgot the path"},
]
ANTHROPIC = [
    {"role": "user", "content": "Fix it"},
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "a", "name": "edit_file", "input": {}}],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "Error: no such file"},
        ],
    },
    {"role": "user", "content": "You forgot the path"},
]
GEMINI = [
    {"role": "user", "parts": [{"text": "Fix it"}]},
    {"role": "model", "parts": [{"functionCall": {"name": "edit_file", "args": {}}}]},
    {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "edit_file", "response": {"error": "no such file"}}}
        ],
    },
    {"role": "user", "parts": [{"text": "You forgot the path"}]},
]


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai", {"model": "auto", "messages": OPENAI}),
        ("anthropic", {"model": "auto", "max_tokens": 9, "messages": ANTHROPIC}),
        ("gemini", {"model": "auto", "contents": GEMINI}),
    ],
)
def test_all_dialects_read_alike(dialect: str, body: dict[str, Any]) -> None:
    seen = trajectory_of(get_client_dialect(dialect).read_chat(body))
    assert (seen.calls, seen.errors, seen.failed_writes, seen.corrections) == (1, 1, 1, 1)
    assert (seen.user_turns, seen.last_speaker) == (2, "user")


def test_an_empty_chat_has_no_trajectory() -> None:
    empty = Chat(model="auto", messages=())
    assert trajectory_of(empty) == Trajectory()
    assert advance(advance(None, empty), chat(*run())).trajectory.calls == 7
    assert msgspec.json.encode(trajectory_of(empty))
