"""Classifiers in the gateway: asked directly, as guards and as rules of a route."""

from __future__ import annotations

import json
import random

import pytest
from callers import asked
from gateway_site import site_config

from pointsman.client import AsyncClient, Client
from pointsman.config import parse_config
from pointsman.distill.rows import Row
from pointsman.distill.train import TrainSettings, train
from pointsman.errors import BlockedByGuard, ConfigError, DistillError
from pointsman.gateway.app import create_app
from pointsman.gateway.passage import passed_texts
from pointsman.guards import user_texts
from pointsman.testing import Answer, FakeProvider
from pointsman.types import Chat, Message, Text

SPAM = ["win", "free", "prize", "money", "now", "click", "claim", "cash", "winner", "offer"]
HAM = [
    "meeting",
    "tomorrow",
    "lunch",
    "report",
    "thanks",
    "please",
    "send",
    "the",
    "notes",
    "hello",
    "there",
]
CODE = ["python", "function", "loop", "bug", "class", "compile", "variable", "array"]
BAIT = "win a free cash prize now click to claim your money"
PLAIN = "please send the report notes thanks lunch tomorrow"


def rows_of(seed, **words):
    """Rows of eight words each; a label has one list of words, or several that are not mixed."""
    generator = random.Random(seed)
    found = []
    for n in range(60 * len(words)):
        label = sorted(words)[n % len(words)]
        chosen = generator.choice(words[label])
        found.append(Row(" ".join(generator.choice(chosen) for _ in range(8)), (label,)))
    return found


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with spam.onnx (ham, spam), topics/model.onnx (chat, code) and tags.onnx (multi)."""
    folder = tmp_path_factory.mktemp("models")
    small = TrainSettings(size_bytes=64 * 1024)
    spam = train(rows_of(1, ham=[HAM, CODE], spam=[SPAM]), small)
    (folder / "spam.onnx").write_bytes(spam.onnx)
    (folder / "topics").mkdir()
    topics = train(rows_of(2, chat=[HAM, SPAM], code=[CODE]), small)
    (folder / "topics" / "model.onnx").write_bytes(topics.onnx)
    tagged = [
        Row(row.text, row.labels if n % 3 else ())
        for n, row in enumerate(rows_of(3, a=[SPAM], b=[CODE]))
    ]
    (folder / "tags.onnx").write_bytes(train(tagged, small).onnx)
    return folder


@pytest.fixture
def tables(models):
    return f"""
[classifiers.spam]
path = "{models}/spam.onnx"
[classifiers.topics]
path = "{models}/topics"
"""


def guard(action="block", scope="last", name="noads"):
    return f"""
[guards.{name}]
classifier = "spam"
labels = ["spam"]
action = "{action}"
scope = "{scope}"
"""


def messages(*texts):
    return [{"role": "user", "content": text} for text in texts]


def test_texts_are_classified(make_site, tables, models):
    site = make_site(None, f'{tables}\n[classifiers.tags]\npath = "{models}/tags.onnx"')
    one = site.send("/pointsman/v1/classify", {"model": "spam", "input": BAIT})
    assert one.status == 200 and one.json["model"] == "spam"
    (result,) = one.json["results"]
    assert result["label"] == "spam" and result["scores"].keys() == {"ham", "spam"}
    assert sum(result["scores"].values()) == pytest.approx(1, abs=1e-4)
    many = site.send(
        "/pointsman/v1/classify", {"model": "topics", "input": [PLAIN, "", CODE[0]] * 300}
    )
    assert [each["label"] for each in many.json["results"][:3:2]] == ["chat", "code"]
    assert len(many.json["results"]) == 900
    tags = site.send("/pointsman/v1/classify", {"model": "tags", "input": [BAIT]}).json["results"][
        0
    ]
    assert isinstance(tags["labels"], list) and "label" not in tags
    empty = site.send("/pointsman/v1/classify", {"model": "spam", "input": []})
    assert empty.json["results"] == []
    listed = site.send("/pointsman/v1/classifiers", method="GET").json["classifiers"]
    assert [(each["name"], each["kind"]) for each in listed] == [
        ("spam", "single"), ("topics", "single"), ("tags", "multi"),
    ]  # fmt: skip
    assert listed[0]["labels"] == ["ham", "spam"]


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({"model": "spma", "input": "x"}, 404, "nearest: spam"),
        ({"model": "spam"}, 400, "input"),
        ({"model": "spam", "input": 5}, 400, "input"),
        ({"model": "spam", "input": ["x", None]}, 400, "input"),
        ({"model": "spam", "input": "x", "more": 1}, 400, "more"),
        ({"model": "spam", "input": ["x"] * 1025}, 400, "over 1024 texts"),
        ({"model": "spam", "input": ["x", "y" * 262_145]}, 400, "input[1]"),
        ({"model": "spam", "input": ["y" * 250_000] * 20}, 400, "in all"),
        (b"[", 400, "JSON"),
    ],
)
def test_what_cannot_be_classified_is_refused(make_site, tables, body, status, part):
    reply = make_site(None, tables).send("/pointsman/v1/classify", body)
    assert reply.status == status and part in reply.json["error"]["message"]


def test_without_classifiers_there_are_none(make_site):
    site = make_site()
    assert site.send("/pointsman/v1/classifiers", method="GET").json == {"classifiers": []}
    assert site.send("/pointsman/v1/classify", {"model": "x", "input": "x"}).status == 404
    assert site.gateway.gateway.relay._guards is None


DIALECTS = ["openai", "anthropic", "gemini", "ollama", "generate", "completions", "responses"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_guard_blocks_in_the_callers_dialect(make_site, tables, dialect, stream):
    site = make_site([Answer(text="fine")] * 9, tables + guard())
    path, body = asked(dialect, BAIT, stream)
    reply = site.send(path, body)
    assert reply.status == 400
    assert reply.headers["x-pointsman-error"] == "blocked_by_guard"
    assert reply.headers["x-pointsman-guard"] == "noads; label=spam"
    error = reply.json["error"]
    message = error if isinstance(error, str) else error["message"]
    assert "'noads'" in message and "'spam'" in message and BAIT not in message
    if dialect == "openai":
        assert (error["code"], error["type"]) == ("blocked_by_guard", "invalid_request_error")
    if dialect == "anthropic":
        assert reply.json["type"] == "error" and error["type"] == "invalid_request_error"
    if dialect == "gemini":
        assert error["status"] == "INVALID_ARGUMENT"
    assert site.fake.requests == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_guard_lets_through_what_it_does_not_mind(make_site, tables, dialect, stream):
    site = make_site([Answer(text="fine")] * 9, tables + guard())
    path, body = asked(dialect, PLAIN, stream)
    reply = site.send(path, body)
    assert "x-pointsman-guard" not in reply.headers
    assert reply.headers.get("x-pointsman-error") != "blocked_by_guard"
    assert len(site.fake.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_guard_marks_the_answer(make_site, tables, stream):
    extra = tables + guard("flag") + guard("flag", "user", "other")
    site = make_site([Answer(text="fine")] * 2, extra)
    reply = site.chat("o:m", messages=messages(BAIT), stream=stream)
    assert reply.status == 200 and reply.body
    first, second = reply.headers["x-pointsman-guard"].split(", ")
    assert first.startswith("noads; label=spam; p=0.") or first.endswith("p=1.00")
    assert second.startswith("other; label=spam")


def test_which_words_a_guard_looks_at(make_site, tables):
    site = make_site([Answer(text="fine")] * 9, tables + guard())
    turns = [*messages(BAIT), {"role": "assistant", "content": "no"}, *messages(PLAIN)]
    assert site.chat("o:m", messages=turns).status == 200
    assert (
        site.chat("o:m", messages=[{"role": "system", "content": BAIT}, *messages(PLAIN)]).status
        == 200
    )
    # Messages that follow one another are one turn, so splitting it is no way round.
    assert site.chat("o:m", messages=messages(BAIT, PLAIN[:6])).status == 400
    parts = [{"type": "text", "text": BAIT}]
    assert site.chat("o:m", messages=[{"role": "user", "content": parts}]).status == 400
    every = make_site([Answer(text="fine")] * 9, tables + guard(scope="user"))
    assert every.chat("o:m", messages=turns).status == 400


def test_a_long_text_hides_nothing_from_a_guard(make_site, tables):
    site = make_site([Answer(text="fine")] * 9, tables + guard())
    padding = (PLAIN + " ") * 1000
    bait = (BAIT + " ") * 150
    assert site.chat("o:m", messages=messages(padding)).status == 200
    assert site.chat("o:m", messages=messages(padding + bait + padding)).status == 400
    huge = site.chat("o:m", messages=messages("é" * 600_000))
    assert huge.status == 400 and "could not look" in huge.json["error"]["message"]
    flagged = make_site([Answer(text="fine")], tables + guard("flag"))
    reply = flagged.chat("o:m", messages=messages("é" * 600_000))
    assert (reply.status, reply.headers["x-pointsman-guard"]) == (200, "noads; unchecked")


def test_token_ids_are_nothing_that_a_guard_can_read(make_site, tables):
    site = make_site([Answer(text="fine")] * 9, tables + guard())
    reply = site.send("/v1/completions", {"model": "o:m", "prompt": [1, 2, 3]})
    assert reply.status == 400 and "could not look" in reply.json["error"]["message"]
    suffix = site.send("/v1/completions", {"model": "o:m", "prompt": "a", "suffix": BAIT})
    assert suffix.status == 400


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ('{"model": "o:m", "messages": BAIT, "messages": PLAIN}', "'messages' stands twice"),
        ('{"model": "o:m", "Messages": BAIT, "messages": PLAIN}', "'Messages' is not 'messages'"),
        (
            '{"model": "o:m", "messages": [{"role": "user", "content": "x", "content": "y"}]}',
            "'content' stands twice",
        ),
        (
            '{"model": "o:m", "messages": [{"role": "user", "content": "x", "CONTENT": "y"}]}',
            "'CONTENT' is not 'content'",
        ),
        (
            '{"model": "o:m", "messages": [{"role": "user", "content": [{"type": "text", "text": "x",'
            ' "Text": "y"}]}]}',
            "'Text' is not 'text'",
        ),
    ],
)
def test_a_body_that_says_two_things_is_refused_where_there_is_a_guard(
    make_site, tables, body, part
):
    body = body.replace("BAIT", json.dumps(messages(BAIT))).replace(
        "PLAIN", json.dumps(messages(PLAIN))
    )
    site = make_site([Answer(text="fine")] * 2, tables + guard())
    reply = site.send("/v1/chat/completions", body.encode())
    assert reply.status == 400 and part in reply.json["error"]["message"]
    assert site.fake.requests == []


def test_a_tools_schema_may_have_properties_of_any_name(make_site, tables):
    site = make_site([Answer(text="fine")] * 2, tables + guard())
    schema = {"type": "object", "properties": {"Text": {"type": "string"}, "text": {}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert site.chat("o:m", tools=[tool]).status == 200
    use = {"type": "tool_use", "id": "t1", "name": "f", "input": {"Text": "x", "text": "y"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "z"}
    turns = [
        *messages(PLAIN),
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    body = {
        "model": "a:m",
        "max_tokens": 5,
        "messages": turns,
        "tools": [{"name": "f", "input_schema": schema}],
    }
    assert site.send("/v1/messages", body).status == 200


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"prompt": "a"}, ["a"]),
        ({"prompt": ["a", "b"]}, ["a\nb"]),
        ({"prompt": [[1, 2]]}, None),
        ({"prompt": {"id": "p_1", "variables": {"x": "a"}}, "input": "b"}, ["a", "b"]),
        ({"input": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}, ["a"]),
        (
            {"input": ["a", {"role": "user", "content": [{"type": "input_text", "text": "b"}]}]},
            ["a", "b"],
        ),
        ({"input": [{"role": "user", "content": [{"image_url": "data:x"}]}]}, []),
        ({"input_prefix": "a", "input_suffix": "b"}, ["a\nb"]),
        ({"suffix": "b"}, ["b"]),
        ({"query": "q", "documents": ["d"]}, ["q"]),
        ({}, []),
        ({"input": 5}, []),
    ],
)
def test_what_a_user_says_in_a_body_that_is_passed_on(body, texts):
    assert passed_texts(body) == texts


def test_the_turns_of_a_user():
    def said(role, *texts):
        return Message(role, tuple(Text(text) for text in texts))

    chat = Chat(model="m", messages=(
        said("system", "s"), said("user", "a", "b"), said("user", "c"), said("assistant", "d"),
        said("user"), said("user", "e"),
    ))  # fmt: skip
    assert user_texts(chat) == ["a\nb\nc", "e"]


ROUTE = """
[models.cheap]
ref = "o:small"
price = { input = 0.1, output = 0.1 }
[models.coder]
ref = "a:coder"
price = { input = 9, output = 9 }
[models.writer]
ref = "g:writer"
price = { input = 5, output = 5 }
[routes.r]
candidates = ["cheap", "writer"]
policy = "POLICY"
dial = 0
[[routes.r.rules]]
classifier = "spam"
labels = ["spam"]
candidates = ["writer"]
[[routes.r.rules]]
classifier = "topics"
labels = ["code"]
candidates = ["coder"]
"""
CODING = "python function loop bug class compile variable array"


@pytest.mark.parametrize("policy", ["classifier", "order"])
def test_rules_come_before_the_policy(make_site, tables, policy):
    site = make_site([Answer(text="fine")] * 9, tables + ROUTE.replace("POLICY", policy))
    code = site.chat("r", messages=messages(CODING))
    assert code.headers["x-pointsman-model"] == "coder"
    assert code.headers["x-pointsman-route"].startswith("route=r; rule=2; topics=code; ")
    bait = site.chat("r", messages=messages(BAIT), stream=True)
    assert bait.headers["x-pointsman-model"] == "writer"
    assert "rule=1; spam=spam" in bait.headers["x-pointsman-route"]
    none = site.chat("r", messages=messages(PLAIN))
    assert none.headers["x-pointsman-model"] == "cheap"
    assert "rule=" not in none.headers["x-pointsman-route"]


def test_a_rule_whose_candidates_cannot_serve_is_passed_over(make_site, tables):
    tight = ROUTE.replace("POLICY", "classifier").replace(
        'ref = "a:coder"', 'ref = "a:coder"\ncontext = 50'
    )
    site = make_site([Answer(text="fine")], tables + tight)
    reply = site.chat("r", messages=messages(CODING))
    assert reply.headers["x-pointsman-model"] == "cheap"


def test_a_decision_is_explained_with_its_rule(make_site, tables):
    site = make_site(None, tables + ROUTE.replace("POLICY", "classifier"))
    value = site.send("/pointsman/v1/routes/explain", {"prompt": CODING, "model": "r"}).json
    assert value["chosen"] == "a:coder" and value["reasons"][0] == "rule=2; topics=code"


def test_a_rule_whose_classifier_fails_is_passed_over(make_site, tables, monkeypatch):
    site = make_site([Answer(text="fine")], tables + ROUTE.replace("POLICY", "order"))

    def fail(*_):
        raise DistillError("the graph failed")

    for name in ("spam", "topics"):
        monkeypatch.setattr(type(site.gateway.gateway.door.classifiers.get(name)), "classify", fail)
    assert site.chat("r", messages=messages(CODING)).headers["x-pointsman-model"] == "cheap"


def test_a_guard_whose_classifier_fails_lets_nothing_through(make_site, tables, monkeypatch):
    site = make_site([Answer(text="fine")], tables + guard())

    def fail(*_):
        raise DistillError("the graph failed")

    monkeypatch.setattr(type(site.gateway.gateway.door.classifiers.get("spam")), "classify", fail)
    assert site.chat("o:m", messages=messages(PLAIN)).status == 500
    assert site.fake.requests == []


def test_a_gateway_does_not_start_with_a_broken_classifier(tmp_path, tables):
    def error(extra):
        with pytest.raises(ConfigError) as caught:
            create_app(parse_config(extra))
        return caught.value.message

    broken = tmp_path / "model.onnx"
    table = f'[classifiers.spam]\npath = "{broken}"\n'
    assert "classifiers.spam.path" in error(table) and str(broken) in error(table)
    broken.write_bytes(b"no graph")
    assert "classifiers.spam.path" in error(table + guard())
    assert "guards.noads.labels: the classifier 'spam' has no label 'spma'" in error(
        tables + guard().replace('["spam"]', '["spma"]')
    )
    rule = "[routes.r]\ncandidates = ['o:m']\n[[routes.r.rules]]\nclassifier = 'topics'\nlabels = ['x']\ncandidates = ['o:m']"
    assert "routes.r.rules, rule 1" in error(tables + rule)


async def test_the_python_client_has_the_same_guards_and_rules(tables, tmp_path):
    extra = tables + guard() + guard("flag", "user", "mark") + ROUTE.replace("POLICY", "order")
    with FakeProvider([Answer(text="fine")] * 9) as fake:
        async with AsyncClient(site_config(fake, extra, str(tmp_path))) as client:
            with pytest.raises(BlockedByGuard) as caught:
                await client.chat("o:m", BAIT)
            assert (caught.value.guard, caught.value.label) == ("noads", "spam")
            assert fake.requests == []
            answer = await client.chat("r", CODING)
            assert answer.ref == "coder" and answer.route.startswith("route=r; rule=2; topics=code")
            assert answer.guards == ()
            turns = [
                Message("user", (Text(BAIT),)),
                Message("assistant", (Text("no"),)),
                Message("user", (Text(PLAIN),)),
            ]
            marked = await client.chat("o:m", turns)
            assert marked.guards[0].startswith("mark; label=spam; p=")
            async with await client.chat("o:m", turns, stream=True) as stream:
                async for _ in stream:
                    pass
                assert stream.answer().guards[0].startswith("mark; label=spam; p=")


def test_a_client_without_asyncio_is_guarded_as_well(tables, tmp_path):
    with (
        FakeProvider([Answer(text="fine")]) as fake,
        Client(site_config(fake, tables + guard(), str(tmp_path))) as client,
        pytest.raises(BlockedByGuard),
    ):
        client.chat("o:m", BAIT)
