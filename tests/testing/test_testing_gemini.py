"""The fake provider through Google's own client."""

from __future__ import annotations

import base64
import http.client
import json

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from pointsman.testing import NOTICE, Answer, Call, Fault
from pointsman.testing import gemini_wire as wire
from pointsman.testing.tokens import Facts

ADD = types.FunctionDeclaration(
    name="add",
    parameters=types.Schema(
        type=types.Type.OBJECT,
        properties={
            "a": types.Schema(type=types.Type.INTEGER),
            "b": types.Schema(type=types.Type.INTEGER),
        },
        required=["a", "b"],
    ),
)
OTHER = types.FunctionDeclaration(name="other", parameters_json_schema={"type": "object"})
ANSWERS = [
    Answer(text="one two three", input_tokens=9, output_tokens=5, cached_tokens=2),
    Answer(text="Größe 你好 🎉", pieces=3, logprobs=True),
    Answer(calls=(Call("f", {"a": [1, {"b": "é"}]}), Call("g"))),
    Answer(text="so", reasoning="let me think", signature="sig", reasoning_tokens=3),
    Answer(calls=(Call("f", {"a": 1}, id="c1", signature="signed"),)),
    Answer(refusal="I will not."),
    Answer(text="cut", finish="MAX_TOKENS"),
    Answer(),
]


@pytest.fixture
def client_of():
    opened = []

    def make(fake, timeout_ms=10_000):
        options = types.HttpOptions(base_url=fake.url, timeout=timeout_ms)
        client = genai.Client(api_key="k", vertexai=False, http_options=options)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


def content_of(responses):
    """The text, thoughts, calls with their signatures, and finish reason of one or more responses."""
    text = thoughts = ""
    calls, finish, signatures = [], [], []
    for response in responses:
        for candidate in response.candidates:
            finish += [candidate.finish_reason.value] if candidate.finish_reason else []
            for part in (candidate.content and candidate.content.parts) or ():
                if part.thought:
                    thoughts += part.text
                else:
                    text += part.text or ""
                if part.function_call:
                    call = part.function_call
                    calls.append((call.id, call.name, call.args))
                if part.thought_signature:
                    signatures.append(part.thought_signature)
    return text, thoughts, calls, finish, signatures


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_stream_is_the_whole_answer(fake_with, client_of, answer):
    models = client_of(fake_with(answer)).models
    whole = models.generate_content(model="m", contents="Say hello")
    streamed = list(models.generate_content_stream(model="m", contents="Say hello"))
    assert content_of([whole]) == content_of(streamed)
    assert whole.usage_metadata == streamed[-1].usage_metadata


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_payload_is_of_the_clients_types(answer):
    facts = Facts(model="m", choices=2)
    # These types forbid what they do not know.
    types.GenerateContentResponse.model_validate(wire.whole(answer, facts))
    events = [
        json.loads(event.strip().removeprefix(b"data: ")) for event in wire.stream(answer, facts)
    ]
    for event in events:
        types.GenerateContentResponse.model_validate(event)
    assert json.loads(b"".join(wire.array_stream(answer, facts))) == events


def test_usage_is_what_the_script_says(fake_with, client_of):
    answer = Answer(
        text="x", input_tokens=100, output_tokens=20, cached_tokens=40, reasoning_tokens=8
    )
    usage = (
        client_of(fake_with(answer))
        .models.generate_content(model="m", contents="hi")
        .usage_metadata
    )
    assert (usage.prompt_token_count, usage.candidates_token_count) == (100, 12)
    assert (usage.thoughts_token_count, usage.cached_content_token_count) == (8, 40)
    assert usage.total_token_count == 120


def test_signatures_are_the_base64_of_the_scripts(fake_with, client_of):
    answer = Answer(text="so", signature="s1", calls=(Call("f", signature="s2"),))
    response = client_of(fake_with(answer)).models.generate_content(model="m", contents="hi")
    assert content_of([response])[-1] == [b"s1", b"s2"]
    sent = wire.whole(answer, Facts(model="m"))["candidates"][0]["content"]["parts"]
    assert base64.b64decode(sent[0]["thoughtSignature"]) == b"s1"


def test_the_assistant_thinks_when_asked_to(fake_with, client_of):
    response = client_of(fake_with()).models.generate_content(
        model="m",
        contents="Say hello",
        config=types.GenerateContentConfig(
            thinking_config=types.ThinkingConfig(include_thoughts=True)
        ),
    )
    text, thoughts, *_ = content_of([response])
    assert text == f"{NOTICE} Your prompt has 2 words." and thoughts


def config(**fields):
    quiet = types.AutomaticFunctionCallingConfig(disable=True)
    return types.GenerateContentConfig(automatic_function_calling=quiet, **fields)


def test_the_assistant_calls_the_first_tool_and_closes_with_its_result(fake_with, client_of):
    models = client_of(fake_with()).models
    with_tool = config(tools=[types.Tool(function_declarations=[ADD])])
    asked = types.Content(role="user", parts=[types.Part(text="Add 3 and 4.")])
    response = models.generate_content(model="m", contents=[asked], config=with_tool)
    part = response.candidates[0].content.parts[0]
    assert (part.function_call.name, part.function_call.args) == ("add", {"a": 3, "b": 4})
    assert part.thought_signature
    result = types.Part.from_function_response(name="add", response={"result": 7})
    turns = [asked, response.candidates[0].content, types.Content(role="user", parts=[result])]
    closing = models.generate_content(model="m", contents=turns, config=with_tool)
    assert closing.text == f'{NOTICE} The tool said: {{"result": 7}}'


@pytest.mark.parametrize(
    ("mode", "names", "called"),
    [
        ("NONE", None, None),
        ("AUTO", None, "add"),
        ("ANY", None, "add"),
        ("ANY", ["other"], "other"),
    ],
)
def test_the_assistant_heeds_the_calling_mode(fake_with, client_of, mode, names, called):
    response = client_of(fake_with()).models.generate_content(
        model="m",
        contents="hi",
        config=config(
            tools=[types.Tool(function_declarations=[ADD, OTHER])],
            tool_config=types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(
                    mode=mode, allowed_function_names=names
                )
            ),
        ),
    )
    calls = response.function_calls
    assert (calls[0].name if calls else None) == called


class Person(BaseModel):
    name: str
    age: int


@pytest.mark.parametrize(
    "fields",
    [{"response_schema": Person}, {"response_json_schema": Person.model_json_schema()}],
)
def test_structured_output_parses(fake_with, client_of, fields):
    response = client_of(fake_with()).models.generate_content(
        model="m",
        contents="'Ada' is 36",
        config=config(response_mime_type="application/json", **fields),
    )
    assert json.loads(response.text) == {"name": "Ada", "age": 36}


def test_stop_and_limit_end_the_text(fake_with, client_of):
    models = client_of(fake_with()).models
    stopped = models.generate_content(
        model="m", contents="hi", config=config(stop_sequences=["stand"])
    )
    assert content_of([stopped])[0] == "This is a scripted "
    limited = models.generate_content(model="m", contents="hi", config=config(max_output_tokens=2))
    assert content_of([limited])[0] == NOTICE[:8]
    assert content_of([limited])[3] == ["MAX_TOKENS"]


def test_logprobs_and_candidates_come_when_asked_for(fake_with, client_of):
    response = client_of(fake_with()).models.generate_content(
        model="m", contents="hi", config=config(response_logprobs=True, candidate_count=2)
    )
    assert [candidate.index or 0 for candidate in response.candidates] == [0, 1]
    tokens = response.candidates[0].logprobs_result.chosen_candidates
    assert "".join(token.token for token in tokens) == response.text


def test_embeddings_counts_and_models(fake_with, client_of):
    models = client_of(fake_with()).models
    found = models.embed_content(
        model="e", contents=["a", "b"], config=types.EmbedContentConfig(output_dimensionality=5)
    )
    assert [len(each.values) for each in found.embeddings] == [5, 5]
    assert found.embeddings[0].values != found.embeddings[1].values
    assert models.count_tokens(model="m", contents="one two three").total_tokens > 3
    assert "models/fake-1" in [model.name for model in models.list()]
    assert models.get(model="fake-1").input_token_limit == 8192


@pytest.mark.parametrize(
    ("status", "error", "name"),
    [
        (400, errors.ClientError, "INVALID_ARGUMENT"),
        (403, errors.ClientError, "PERMISSION_DENIED"),
        (404, errors.ClientError, "NOT_FOUND"),
        (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
        (500, errors.ServerError, "INTERNAL"),
        (503, errors.ServerError, "UNAVAILABLE"),
    ],
)
def test_a_status_is_the_clients_error(fake_with, client_of, status, error, name):
    models = client_of(fake_with(Fault(status=status, message="because"))).models
    for ask in (models.generate_content, lambda **all: list(models.generate_content_stream(**all))):
        with pytest.raises(error, match="because") as caught:
            ask(model="m", contents="hi")
        assert (caught.value.code, caught.value.status) == (status, name)


@pytest.mark.parametrize("after", [0, 2])
def test_an_error_inside_an_array_ends_the_array(fake_with, after):
    fake = fake_with(Fault(error_after=after, message="mid-way"))
    connection = http.client.HTTPConnection(fake.url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/v1beta/models/m:streamGenerateContent", "{}")
    rows = json.loads(connection.getresponse().read())
    assert len(rows) == after + 1
    assert rows[-1]["error"] == {"code": 503, "message": "mid-way", "status": "UNAVAILABLE"}
    connection.close()


def test_faults_inside_a_stream(fake_with, client_of):
    def events_before(fault):
        stream = client_of(fake_with(fault)).models.generate_content_stream(
            model="m", contents="hi"
        )
        seen = []
        with pytest.raises(Exception, match=r".") as caught:
            for event in stream:
                seen.append(event)
        return len(seen), caught.value

    count, error = events_before(Fault(error_after=2, status=503, message="mid-way"))
    assert count == 2 and isinstance(error, errors.APIError) and "mid-way" in str(error)
    assert events_before(Fault(garbage_after=2))[0] == 2
    assert events_before(Fault(cut_after=2))[0] == 2
