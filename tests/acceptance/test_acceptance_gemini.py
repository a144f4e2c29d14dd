"""Google's own client, unchanged, against the gateway over each upstream dialect."""

from __future__ import annotations

import json

import pytest
from google import genai
from google.genai import errors, types
from media import PNG, WAV, base64_of
from pydantic import BaseModel

from pointsman.testing import NOTICE, Answer, Call, Fault

ADD = types.FunctionDeclaration(
    name="add",
    description="Adds two numbers.",
    parameters=types.Schema(
        type=types.Type.OBJECT,
        properties={
            "a": types.Schema(type=types.Type.INTEGER),
            "b": types.Schema(type=types.Type.INTEGER),
        },
        required=["a", "b"],
    ),
)
WEATHER = types.FunctionDeclaration(
    name="weather",
    parameters_json_schema={"type": "object", "properties": {"city": {"type": "string"}}},
)
CALLS = (Call("add", {"a": 3, "b": 4}), Call("weather", {"city": "Zürich"}), Call("add", {}))
TOOLS = [types.Tool(function_declarations=[ADD, WEATHER])]


@pytest.fixture(scope="module")
def models(whole_site):
    options = types.HttpOptions(base_url=whole_site.url, timeout=20_000)
    with genai.Client(api_key="any", vertexai=False, http_options=options) as client:
        yield client.models


def config(**fields):
    quiet = types.AutomaticFunctionCallingConfig(disable=True)
    return types.GenerateContentConfig(automatic_function_calling=quiet, **fields)


def ask(models, upstream, contents="Say hello", **fields):
    return models.generate_content(
        model=f"{upstream}:m", contents=contents, config=config(**fields)
    )


def streamed(models, upstream, contents="Say hello", **fields):
    return models.generate_content_stream(
        model=f"{upstream}:m", contents=contents, config=config(**fields)
    )


def collected(models, upstream, contents="Say hello", **fields):
    """A stream's parts put together into one response, joining text as Google's chats do."""
    parts, finish, usage, last = [], None, None, None
    for last in streamed(models, upstream, contents, **fields):
        usage = last.usage_metadata or usage
        for candidate in last.candidates or ():
            finish = candidate.finish_reason or finish
            for part in (candidate.content and candidate.content.parts) or ():
                before = parts[-1] if parts else None
                if (
                    before is not None
                    and part.text is not None
                    and before.text is not None
                    and bool(before.thought) == bool(part.thought)
                    and not before.thought_signature
                ):
                    parts[-1] = before.model_copy(
                        update={
                            "text": before.text + part.text,
                            "thought_signature": part.thought_signature,
                        }
                    )
                elif part.text != "" or part.thought_signature:
                    parts.append(part)
    content = types.Content(role="model", parts=parts)
    candidate = types.Candidate(content=content, finish_reason=finish)
    return last.model_copy(update={"candidates": [candidate], "usage_metadata": usage})


each_way = pytest.mark.parametrize("take", [ask, collected], ids=["whole", "stream"])


@each_way
def test_chat(models, site, upstream, take):
    response = take(models, upstream)
    assert response.text == f"{NOTICE} Your prompt has 2 words."
    assert response.candidates[0].content.role == "model"
    assert response.candidates[0].finish_reason is types.FinishReason.STOP
    assert response.model_version == "m" and response.response_id
    assert site.sent.dialect == upstream


def test_a_stream_comes_piece_by_piece(models, site, upstream):
    site.fake.play([Answer(text="one two three", pieces=3)])
    texts, ends = [], []
    for chunk in streamed(models, upstream):
        texts.append(chunk.text or "")
        ends.append(chunk.candidates[0].finish_reason if chunk.candidates else None)
    assert [text for text in texts if text] == ["one t", "wo th", "ree"]
    assert [end for end in ends if end] == [types.FinishReason.STOP]


@each_way
def test_usage(models, site, upstream, take):
    site.fake.play(
        [
            Answer(
                text="x",
                input_tokens=100,
                output_tokens=20,
                cached_tokens=40,
                reasoning_tokens=8,
                reasoning="hm",
            )
        ]
    )
    usage = take(models, upstream).usage_metadata
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (100, 40)
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (12, 8)
    assert usage.total_token_count == 120


def results_of(calls, values):
    parts = [
        types.Part(
            function_response=types.FunctionResponse(
                id=call.id, name=call.name, response={"result": value}
            )
        )
        for call, value in zip(calls, values, strict=True)
    ]
    return types.Content(role="user", parts=parts)


@each_way
def test_a_tool_is_called_and_answered(models, site, upstream, take):
    asked = types.Content(role="user", parts=[types.Part(text="Add 3 and 4.")])
    response = take(models, upstream, [asked], tools=TOOLS)
    call = response.function_calls[0]
    assert (call.name, call.args) == ("add", {"a": 3, "b": 4})
    assert response.candidates[0].finish_reason is types.FinishReason.STOP
    turns = [asked, response.candidates[0].content, results_of([call], ["seven"])]
    closing = take(models, upstream, turns, tools=TOOLS)
    assert "The tool said:" in closing.text and "seven" in closing.text


@each_way
@pytest.mark.parametrize("with_ids", [True, False])
def test_several_calls_at_once(models, site, upstream, take, with_ids):
    site.fake.play([Answer(text="so", calls=CALLS), Answer(text="done")])
    response = take(models, upstream, tools=TOOLS)
    calls = response.function_calls
    assert [(call.name, call.args) for call in calls] == [(c.name, c.arguments) for c in CALLS]
    assert response.candidates[0].content.parts[0].text == "so"
    if not with_ids:
        # Many programs know calls by their names alone.
        for call in calls:
            call.id = None
    turns = [
        types.Content(role="user", parts=[types.Part(text="hi")]),
        response.candidates[0].content,
        results_of(calls, ["r0", "r1", "r2"]),
    ]
    assert take(models, upstream, turns, tools=TOOLS).text == "done"
    assert all(f"r{index}" in site.sent.raw.decode() for index in range(3))


def test_a_python_function_is_called_by_the_client(models, site, upstream):
    site.fake.play([Answer(calls=(Call("double", {"number": 4}),)), Answer(text="It is 8.")])
    given = []

    def double(number: int) -> int:
        """Doubles a number."""
        given.append(number)
        return 2 * number

    response = models.generate_content(
        model=f"{upstream}:m",
        contents="Double 4.",
        config=types.GenerateContentConfig(tools=[double]),
    )
    assert (response.text, given) == ("It is 8.", [4])
    assert "8" in json.dumps(site.sent.body)


@pytest.mark.parametrize(
    ("mode", "names", "called"),
    [
        ("AUTO", None, "add"),
        ("NONE", None, None),
        ("ANY", None, "add"),
        ("ANY", ["weather"], "weather"),
    ],
)
def test_the_calling_mode(models, site, upstream, mode, names, called):
    calling = types.FunctionCallingConfig(mode=mode, allowed_function_names=names)
    response = ask(
        models,
        upstream,
        tools=TOOLS,
        tool_config=types.ToolConfig(function_calling_config=calling),
    )
    calls = response.function_calls
    assert (calls[0].name if calls else None) == called


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


@pytest.mark.parametrize(
    "fields",
    [{"response_schema": Person}, {"response_json_schema": Person.model_json_schema()}],
    ids=["schema", "json_schema"],
)
@each_way
def test_structured_output(models, site, upstream, take, fields):
    response = take(
        models, upstream, "'Ada' is 36", response_mime_type="application/json", **fields
    )
    wanted = {"name": "Ada", "age": 36, "tags": ["example tags"]}
    assert json.loads(response.text) == wanted
    if take is ask and "response_schema" in fields:
        assert response.parsed == Person(**wanted)


def plain(request):
    """A request's text with its base64 in the standard alphabet; this client's is the other."""
    return request.raw.decode().replace("-", "+").replace("_", "/")


def test_an_image(models, site, upstream):
    contents = [types.Part.from_bytes(data=PNG, mime_type="image/png"), "What is it?"]
    assert ask(models, upstream, contents).text
    assert base64_of(PNG) in plain(site.sent)


def test_sound(models, site, upstream):
    contents = [types.Part.from_bytes(data=WAV, mime_type="audio/wav"), "What is it?"]
    if upstream == "anthropic":
        with pytest.raises(errors.ClientError, match="sound"):
            ask(models, upstream, contents)
        return
    assert ask(models, upstream, contents).text
    assert base64_of(WAV) in plain(site.sent)


def test_parameters_arrive(models, site, upstream):
    ask(
        models,
        upstream,
        system_instruction="Be brief.",
        max_output_tokens=50,
        temperature=0.5,
        top_p=0.9,
        stop_sequences=["END"],
    )
    body = site.sent.body
    if upstream == "openai":
        assert (body["max_completion_tokens"], body["temperature"], body["top_p"]) == (50, 0.5, 0.9)
        assert body["stop"] == ["END"]
        assert "Be brief." in json.dumps(body["messages"][0])
    elif upstream == "anthropic":
        assert (body["max_tokens"], body["temperature"], body["top_p"]) == (50, 0.5, 0.9)
        assert body["stop_sequences"] == ["END"]
        assert "Be brief." in json.dumps(body["system"])
    else:
        assert body["generationConfig"]["maxOutputTokens"] == 50


@each_way
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"openai": "length", "anthropic": "max_tokens", "gemini": "MAX_TOKENS"}, "MAX_TOKENS"),
        ({"openai": "content_filter", "anthropic": "refusal", "gemini": "SAFETY"}, "SAFETY"),
        ({"openai": "stop", "anthropic": "end_turn", "gemini": "STOP"}, "STOP"),
    ],
)
def test_finish_reasons(models, site, upstream, words, reason, take):
    site.fake.play([Answer(text="some text", finish=words[upstream])])
    assert take(models, upstream).candidates[0].finish_reason.value == reason


def test_a_stop_sequence_ends_the_text(models, site, upstream):
    assert ask(models, upstream, stop_sequences=["stand"]).text == "This is a scripted "


@each_way
def test_thoughts_go_back_to_the_one_who_thought_them(models, site, upstream, take):
    thought = Answer(
        reasoning="let me think",
        signature="the signature",
        redacted="b3BhcXVl",
        calls=(Call("add", {"a": 1, "b": 2}, signature="of the call"),),
    )
    site.fake.play([thought, Answer(text="done")])
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)
    fields = {"tools": TOOLS, "thinking_config": thinking, "max_output_tokens": 2000}
    response = take(models, upstream, **fields)
    first = response.candidates[0].content.parts[0]
    assert (first.thought, first.text) == (True, "let me think")
    turns = [
        types.Content(role="user", parts=[types.Part(text="hi")]),
        response.candidates[0].content,
        results_of(response.function_calls, ["3"]),
    ]
    take(models, upstream, turns, **fields)
    body = site.sent.body
    if upstream == "anthropic":
        assert body["messages"][1]["content"][:2] == [
            {"type": "thinking", "thinking": "let me think", "signature": "the signature"},
            {"type": "redacted_thinking", "data": "b3BhcXVl"},
        ]
    elif upstream == "gemini":
        signed = [part for part in body["contents"][1]["parts"] if "functionCall" in part]
        assert signed[0]["thoughtSignature"] == "b2YgdGhlIGNhbGw="
    else:
        assert body["messages"][1]["reasoning_content"] == "let me think"


@pytest.mark.parametrize(
    ("status", "error", "name"),
    [
        (400, errors.ClientError, "INVALID_ARGUMENT"),
        (401, errors.ClientError, "UNAUTHENTICATED"),
        (403, errors.ClientError, "PERMISSION_DENIED"),
        (404, errors.ClientError, "NOT_FOUND"),
        (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
        (500, errors.ServerError, "INTERNAL"),
        (503, errors.ServerError, "UNAVAILABLE"),
    ],
)
@each_way
def test_an_error_keeps_its_status(models, site, upstream, take, status, error, name):
    site.fake.play([Fault(status=status, message="because of this")])
    with pytest.raises(error, match="because of this") as caught:
        take(models, upstream)
    assert (caught.value.code, caught.value.status) == (status, name)


@pytest.mark.parametrize("fault", [{"error_after": 5}, {"cut_after": 5}])
def test_a_stream_that_breaks_raises(models, site, upstream, fault):
    text = Answer(text="one two three four five six", pieces=9, delay_s=0.02)
    site.fake.play([Fault(**fault, answer=text)])
    seen = []
    with pytest.raises(errors.APIError):
        for chunk in streamed(models, upstream):
            seen += [candidate.finish_reason for candidate in chunk.candidates or ()]
    assert seen and set(seen) == {None}


def test_an_unknown_model_names_what_is_near(models, site):
    with pytest.raises(errors.ClientError, match="gemini") as caught:
        models.generate_content(model="gemin:m", contents="hi")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_what_a_provider_cannot_say_is_named(models, site, upstream):
    search = types.Tool(google_search=types.GoogleSearch())
    if upstream == "gemini":
        assert ask(models, upstream, tools=[search]).text
        return
    with pytest.raises(errors.ClientError, match="tools"):
        ask(models, upstream, tools=[search])
    assert site.fake.requests == []


def test_embeddings(models, site, upstream):
    def embed():
        return models.embed_content(model=f"{upstream}:e", contents=["a", "b"])

    if upstream == "anthropic":
        with pytest.raises(errors.ClientError, match="embeddings"):
            embed()
        return
    found = embed().embeddings
    assert [len(each.values) for each in found] == [8, 8]
    assert found[0].values != found[1].values


def test_tokens_are_counted(models, site, upstream):
    assert models.count_tokens(model=f"{upstream}:m", contents="one two three").total_tokens > 3


def test_models(models, site):
    names = [model.name for model in models.list()]
    assert {"models/openai:fake-1", "models/gemini:fake-1"} <= set(names)
    assert models.get(model="gemini:fake-1").name == "models/gemini:fake-1"


async def test_the_async_client(site, upstream):
    options = types.HttpOptions(base_url=site.url)
    async with genai.Client(api_key="any", vertexai=False, http_options=options).aio as client:
        response = await client.models.generate_content(model=f"{upstream}:m", contents="hi")
        text = ""
        async for chunk in await client.models.generate_content_stream(
            model=f"{upstream}:m", contents="hi"
        ):
            text += chunk.text or ""
    assert text == response.text
