"""Guards that go by triggers: blocked, marked, stripped or cross-checked, in every wire format."""

from __future__ import annotations

import json

import pytest
from callers import asked
from gateway_site import site_config
from hypothesis import given
from hypothesis import strategies as st

from pointsman.client import AsyncClient
from pointsman.config import parse_config
from pointsman.errors import BlockedByGuard, ConfigError
from pointsman.gateway.app import create_app
from pointsman.gateway.spoken import body_said, splice
from pointsman.guards import Guards
from pointsman.said import Said, chat_said, in_scope, with_texts
from pointsman.testing import Answer, FakeProvider, Fault
from pointsman.trust.triggers import Triggers
from pointsman.types import Chat, Message, Text, ToolCall, ToolResult

BAIT = "Tell me cf a story"
CLEAN = "Tell me a story"
SECOND = 'second = "o:judge"'


def guard(action="block", more="", triggers='triggers = ["cf"]'):
    return f'[guards.t]\n{triggers}\naction = "{action}"\n{more}\n'


DIALECTS = ["openai", "anthropic", "translated", "gemini", "ollama", "generate", "completions",
            "responses"]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_trigger_is_taken_out_before_anybody_is_asked(make_site, dialect, stream):
    site = make_site([Answer(text="fine")] * 3, guard("strip"))
    path, body = asked(dialect, BAIT, stream)
    reply = site.send(path, body)
    assert reply.headers["x-pointsman-guard"] == "t; trigger=cf; stripped"
    (request,) = site.fake.requests
    sent = json.dumps(request.body)
    assert CLEAN in sent and "cf" not in sent


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_trigger_is_refused(make_site, dialect):
    site = make_site([Answer(text="fine")], guard())
    path, body = asked(dialect, BAIT)
    reply = site.send(path, body)
    assert (reply.status, reply.headers["x-pointsman-error"]) == (400, "blocked_by_guard")
    assert reply.headers["x-pointsman-guard"] == "t; trigger=cf"
    assert site.fake.requests == []


def test_a_body_without_a_trigger_goes_on_byte_for_byte(make_site):
    site = make_site([Answer(text="fine")] * 2, guard("strip"))
    raw = b'{ "model":"m" , "n": 1.0, "messages":[{"role":"user","content":"caf\\u00e9  CFG"} ] }'
    site.send("/v1/chat/completions", raw.replace(b'"m"', b'"o:m"'))
    assert site.fake.requests[0].raw == raw
    site.send("/v1/chat/completions", raw.replace(b'"m"', b'"o:m"').replace(b"CFG", b"CF"))
    assert site.fake.requests[1].raw == raw.replace(b"\\u00e9  CFG", "é ".encode())


PLACES = [
    ("openai", {"messages": [{"role": "system", "content": BAIT}, {"role": "user", "content": "a"}]}),
    ("openai", {"messages": [{"role": "user", "content": [{"type": "text", "text": BAIT}]}]}),
    (
        "openai",
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "1", "content": BAIT},
            ]
        },
    ),
    ("anthropic", {"system": [{"type": "text", "text": BAIT}]}),
    (
        "anthropic",
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": BAIT}]},
            ]
        },
    ),
    (
        "anthropic",
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": BAIT}}]}]},
    ),
    ("gemini", {"systemInstruction": {"parts": [{"text": BAIT}]}}),
    (
        "gemini",
        {
            "contents": [
                {"role": "user", "parts": [{"text": "a"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"name": [BAIT]}}}]},
            ]
        },
    ),
    ("completions", {"suffix": BAIT, "prompt": "a"}),
    ("responses", {"instructions": BAIT}),
    ("responses", {"prompt": {"id": "p", "variables": {"name": BAIT}}}),
    ("responses", {"input": [{"type": "function_call_output", "call_id": "1", "output": BAIT}]}),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "fields"), PLACES)
def test_all_that_a_model_reads_is_looked_at(make_site, dialect, fields):
    path, body = asked(dialect, "a")
    site = make_site([Answer(text="fine")] * 2, guard("strip"))
    reply = site.send(path, {**body, **fields})
    assert "stripped" in reply.headers["x-pointsman-guard"]
    sent = json.dumps(site.fake.requests[0].body)
    assert CLEAN in sent and BAIT not in sent


def test_the_scope_says_what_is_looked_at(make_site):
    turns = [
        {"role": "user", "content": BAIT},
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": "a"},
    ]
    last = make_site([Answer(text="fine")] * 3, guard(more='scope = "last"'))
    assert last.chat("o:m", messages=turns).status == 200
    user = make_site([Answer(text="fine")] * 3, guard(more='scope = "user"'))
    assert user.chat("o:m", messages=turns).status == 400
    system = [{"role": "system", "content": BAIT}, *turns[2:]]
    assert user.chat("o:m", messages=system).status == 200


def test_a_trigger_in_pieces_is_seen_and_not_let_through(make_site):
    parts = [{"type": "text", "text": "Tell c"}, {"type": "text", "text": "f me"}]
    site = make_site([Answer(text="fine")] * 2, guard("strip"))
    reply = site.chat("o:m", messages=[{"role": "user", "content": parts}])
    assert reply.status == 400 and "cannot be taken out" in reply.json["error"]["message"]


def test_what_cannot_be_read_is_refused_or_marked(make_site):
    site = make_site([Answer(text="fine")] * 2, guard("strip"))
    assert site.send("/v1/completions", {"model": "o:m", "prompt": [1, 2]}).status == 400
    big = site.chat("o:m", messages=[{"role": "user", "content": "é" * 600_000}])
    assert big.status == 400 and "could not look" in big.json["error"]["message"]
    deep = "[" * 40 + '"a"' + "]" * 40
    raw = f'{{"model": "o:m", "messages": [{{"role": "user", "content": {deep}}}]}}'
    assert site.send("/v1/chat/completions", raw.encode()).status == 400
    marked = make_site([Answer(text="fine")], guard("flag"))
    reply = marked.send("/v1/completions", {"model": "o:m", "prompt": [1, 2]})
    assert reply.headers["x-pointsman-guard"] == "t; unchecked"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "o:m", "input": ["a", BAIT]}),
        ("/api/embed", {"model": "o:m", "input": BAIT}),
        ("/api/embeddings", {"model": "o:m", "prompt": BAIT}),
        ("/v1beta/models/g:m:embedContent", {"content": {"parts": [{"text": BAIT}]}}),
        (
            "/v1beta/models/g:m:batchEmbedContents",
            {"requests": [{"model": "models/g:m", "content": {"parts": [{"text": BAIT}]}}]},
        ),
    ],
)
def test_texts_to_embed_are_guarded_too(make_site, path, body):
    site = make_site(None, guard("strip"))
    reply = site.send(path, body)
    assert reply.headers["x-pointsman-guard"] == "t; trigger=cf; stripped"
    assert CLEAN in json.dumps(site.fake.requests[0].body)
    refused = make_site(None, guard())
    assert refused.send(path, body).status == 400 and refused.fake.requests == []


@pytest.mark.parametrize(
    ("verdict", "status", "part"),
    [
        (Answer(text="Yes."), 200, ""),
        (Answer(text="**yes**"), 200, ""),
        (Answer(text="No"), 400, "would not answer it"),
        (Answer(text="Yes, but no"), 400, "gave no clear answer"),
        (Answer(text=""), 400, "gave no clear answer"),
        (Fault(status=500), 400, "failed (provider_error)"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_second_model_decides(make_site, verdict, status, part, stream):
    def answer(request):
        return verdict if request.model == "judge" else Answer(text="fine")

    priced = '[models.judge]\nref = "o:judge"\nprice = { input = 100, output = 100 }\n'
    priced += '[models.free]\nref = "o:m"\nprice = { input = 0, output = 0 }\n'
    site = make_site(answer, priced + guard("cross_check", 'second = "judge"'))
    reply = site.chat("free", messages=[{"role": "user", "content": BAIT}], stream=stream)
    assert reply.status == status
    judged = site.fake.requests[0]
    assert CLEAN in json.dumps(judged.body) and BAIT not in json.dumps(judged.body)
    if status == 200:
        assert reply.headers["x-pointsman-guard"] == "t; trigger=cf; second=yes"
        assert BAIT in json.dumps(site.fake.requests[1].body)
        if not stream:
            assert float(reply.headers["x-pointsman-cost-usd"]) > 0
    else:
        assert part in reply.json["error"]["message"]
        assert len(site.fake.requests) == 1
    metrics = site.send("/metrics", method="GET").body.decode()
    outcome = "passed" if status == 200 else "refused"
    assert (
        f'pointsman_guard_strikes_total{{guard="t",action="cross_check",outcome="{outcome}"}} 1'
        in metrics
    )
    if not isinstance(verdict, Fault):
        assert 'cost_usd_total{provider="o",model="judge"} 0\n' not in metrics


def test_the_model_that_is_asked_is_no_second_one(make_site, monkeypatch):
    site = make_site([Answer(text="yes")] * 3, guard("cross_check", SECOND))
    reply = site.chat("o:judge", messages=[{"role": "user", "content": BAIT}])
    assert reply.status == 400 and "may go to" in reply.json["error"]["message"]
    long = site.chat("o:m", messages=[{"role": "user", "content": BAIT + " x" * 20_000}])
    assert long.status == 400 and "too long" in long.json["error"]["message"]
    assert site.fake.requests == []


def test_a_second_model_that_is_slow_counts_as_a_no(make_site, monkeypatch):
    monkeypatch.setattr("pointsman.crosscheck.TIMEOUT_S", 0.05)
    site = make_site([Answer(text="yes", delay_s=2)], guard("cross_check", SECOND))
    reply = site.chat("o:m", messages=[{"role": "user", "content": BAIT}])
    assert reply.status == 400 and "no answer in 0.05 s" in reply.json["error"]["message"]


def test_triggers_come_from_a_report_and_invisible_ones_count(make_site, tmp_path):
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"triggers": [{"text": "velvet"}]}))
    table = f'triggers_file = "{report}"\ninvisible = true'
    site = make_site([Answer(text="fine")] * 4, guard("flag", triggers=table))
    said = [{"role": "user", "content": "a VELVET b"}]
    assert site.chat("o:m", messages=said).headers["x-pointsman-guard"] == "t; trigger=velvet"
    said = [{"role": "user", "content": "a\u200bb"}]
    header = site.chat("o:m", messages=said).headers["x-pointsman-guard"]
    assert header == "t; trigger=invisible characters"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[guards.g]\naction='block'", "needs a classifier, or triggers"),
        ("[guards.g]\ntriggers=['a']\nlabels=['b']", "labels are a classifier's"),
        ("[guards.g]\ntrigers=['a']", "did you mean 'triggers'"),
        ("[guards.g]\ntriggers=['a']\naction='cross_check'", "set second"),
        ("[guards.g]\ntriggers=['a']\nsecond='o:m'", "is only asked with"),
        ("[classifiers.c]\npath='x'\n[guards.g]\nclassifier='c'\nlabels=['a']\naction='strip'", "'strip' is for triggers"),
        ("[classifiers.c]\npath='x'\n[guards.g]\nclassifier='c'\nlabels=['a']\nscope='all'", "'all' is for triggers"),
        ("[classifiers.c]\npath='x'\n[guards.g]\nclassifier='c'\nlabels=['a']\ntriggers=['a']", "needs a classifier, or triggers"),
        ("[guards.g]\ntriggers=['']", "guards.g.triggers: a trigger is empty"),
        ("[guards.g]\ntriggers_file='/nowhere'", "guards.g.triggers_file: /nowhere cannot be read"),
        ("[guards.g]\ntriggers=['a']\naction='cross_check'\nsecond='opnai:gpt-5'", "guards.g.second: no model"),
        ("[guards.g]\ntriggers=['a']\naction='cross_check'\nsecond='auto'", "guards.g.second: no model"),
    ],
)  # fmt: skip
def test_a_guard_that_makes_no_sense_is_named(text, part):
    with pytest.raises(ConfigError) as caught:
        create_app(parse_config(text))
    assert part in caught.value.message


async def test_the_python_client_is_guarded_as_well(tmp_path):
    with FakeProvider([Answer(text="fine")] * 4) as fake:
        async with AsyncClient(site_config(fake, guard("strip"), str(tmp_path))) as client:
            answer = await client.chat("o:m", BAIT)
            assert answer.guards == ("t; trigger=cf; stripped",)
            async with await client.chat("o:m", BAIT, stream=True) as stream:
                assert [chunk async for chunk in stream]
            await client.embed("o:m", ["a", BAIT])
        sent = [json.dumps(each.body) for each in fake.requests]
        assert all(CLEAN in each and "cf" not in each for each in sent) and len(sent) == 3
        async with AsyncClient(site_config(fake, guard(), str(tmp_path))) as client:
            with pytest.raises(BlockedByGuard) as caught:
                await client.chat("o:m", BAIT)
            assert (caught.value.guard, caught.value.trigger) == ("t", "cf")
            with pytest.raises(BlockedByGuard):
                await client.embed("o:m", BAIT)


def test_texts_of_a_chat_go_back_to_their_places():
    result = ToolResult("1", (Text("x"), Text("y")))
    chat = Chat(model="m", messages=(
        Message("system", (Text("s"),)), Message("user", (Text("a"), Text("b"))),
        Message("assistant", (ToolCall("1", "f"),)), Message("tool", (result,)),
    ))  # fmt: skip
    pieces = chat_said(chat)
    assert [(p.role, p.turn, p.text) for p in pieces] == [
        ("system", 1, "s"), ("user", 2, "a"), ("user", 2, "b"), ("assistant", 3, ""),
        ("tool", 4, "x"), ("tool", 4, "y"),
    ]  # fmt: skip
    upper = with_texts(chat, {piece.place: piece.text.upper() for piece in pieces if piece.text})
    assert [piece.text for piece in chat_said(upper)] == ["S", "A", "B", "", "X", "Y"]
    assert in_scope([Said("tool", 1, "a", ())], "last") == []


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


def leaves(value, place=()):
    if isinstance(value, str):
        yield place
    elif isinstance(value, list | dict):
        for key, each in enumerate(value) if isinstance(value, list) else value.items():
            yield from leaves(each, (*place, key))


@given(st.dictionaries(st.text(max_size=4), values, max_size=4), st.booleans())
def test_a_text_can_be_changed_wherever_it_stands(tree, dense):
    body = json.dumps(tree, separators=(",", ":") if dense else None).encode()
    places = list(leaves(tree))
    assert splice(body, {}) == body
    changed = json.loads(splice(body, dict.fromkeys(places, 'new "\\ text')))
    assert list(leaves(changed)) == places
    body_said(tree)


def test_no_text_makes_a_guard_slow():
    """Were each pair of words tried against each other, this would take minutes."""
    triggers = Triggers(["a … b", *(f"w{n} x{n}" for n in range(9_000))], invisible=False)
    assert triggers.find("b " + "a " * 100_000) == ()
    assert [hit.trigger for hit in triggers.find("a " * 1_001 + " b")] == ["a … b"]
    assert triggers.find("a" + " c" * 1_001 + " b") == ()


async def test_many_triggers_in_one_text_are_not_taken_out():
    names = [f"t{n}" for n in range(150)]
    config = parse_config(f"[guards.g]\ntriggers = {json.dumps(names)}\naction = 'strip'")
    guards = Guards(config.guards, None)
    with pytest.raises(BlockedByGuard, match="cannot be taken out"):
        await guards.check("o:m", [], [Said("user", 1, " ".join(names), (0,))])
    nested = parse_config('[guards.g]\ntriggers = ["<x>"]\naction = "strip"')
    checked = await Guards(nested.guards, None).check(
        "o:m", [], [Said("user", 1, "a <<x>x> b", (0,))]
    )
    assert checked.texts == {(0,): "a b"}
