"""What a model's settings put into a request that lacks it, and what a request keeps."""

from __future__ import annotations

import json

import pytest

from pointsman.providers.preset import Preset

PRESET = Preset("Be brief.", (("user", "2+2"), ("assistant", "4")), ("END",), 50)
SYSTEM = {"role": "system", "content": "Be brief."}
EXAMPLES = [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]
ASK = {"role": "user", "content": "hi"}


def filled(preset: Preset, path: str, **body: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(preset.fill(path, json.dumps(body).encode()))
    return found


def test_what_a_chat_lacks_is_filled_in() -> None:
    assert filled(PRESET, "/chat/completions", messages=[ASK], seed=1) == {
        "messages": [SYSTEM, *EXAMPLES, ASK],
        "seed": 1,
        "stop": ["END"],
        "max_tokens": 50,
    }


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_requests_own_system_prompt_stays(role: str) -> None:
    own = {"role": role, "content": "Sing."}
    body = filled(PRESET, "/chat/completions", messages=[own, ASK])
    assert body["messages"] == [own, *EXAMPLES, ASK]
    late = filled(Preset("Be brief."), "/chat/completions", messages=[ASK, own])
    assert late["messages"] == [ASK, own]


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens", "n_predict"])
def test_a_requests_own_stop_and_limit_stay(limit: str) -> None:
    body = filled(PRESET, "/completions", prompt="a", stop="X", **{limit: 1})
    assert body == {"prompt": "a", "stop": "X", limit: 1}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/embeddings", b'{"input": "a"}'),
        ("/chat/completions", b"no json"),
        ("/chat/completions", b"[1]"),
        ("/chat/completions", b"\xff"),
    ],
)
def test_what_is_no_chat_stays_as_it_is(path: str, body: bytes) -> None:
    assert PRESET.fill(path, body) == body


def test_messages_of_a_wrong_type_are_left_to_who_gets_them() -> None:
    assert filled(Preset("a"), "/chat/completions", messages="x") == {"messages": "x"}
    assert filled(Preset("a"), "/chat/completions", messages=[1]) == {
        "messages": [{"role": "system", "content": "a"}, 1]
    }
