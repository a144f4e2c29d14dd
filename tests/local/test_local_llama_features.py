"""What llama.cpp can do, through the gateway, on llama.cpp itself."""

from __future__ import annotations

import base64
import json
import struct
import urllib.request
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import openai
import pytest
import tiny_gguf

import pointsman
from pointsman.config import Config, parse_config
from pointsman.errors import ConfigError
from pointsman.gateway.server import Running, running

pytest.importorskip("xllamacpp")

# As the template of the model writes a call.
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'


def models(folder) -> str:
    plain = tiny_gguf.write_llama(folder / "plain.gguf", infill=True)
    other = tiny_gguf.write_llama(folder / "other.gguf", seed=3)
    wide = tiny_gguf.write_llama(folder / "wide.gguf", heads=3)
    caller = tiny_gguf.write_llama(folder / "caller.gguf", script=CALL)
    vectors = tiny_gguf.write_bert(folder / "vectors.gguf")
    ranker = tiny_gguf.write_bert(folder / "ranker.gguf", reranker=True)
    lora = tiny_gguf.write_lora(folder / "lora.gguf")
    projector = tiny_gguf.write_projector(folder / "projector.gguf")
    rows = {
        "plain": f'path = "{plain}"',
        "caller": f'path = "{caller}"',
        "adapted": f'path = "{plain}"\nadapters = ["{lora}"]',
        "halved": f'path = "{plain}"\nflags = {{ lora-scaled = "{lora}:0.0" }}',
        "wide": f'path = "{wide}"',
        "quantized": f'path = "{wide}"\nflags = {{ cache-type-k = "q8_0", cache-type-v = "q8_0",'
        " flash-attn = true }",
        "narrow": f'path = "{plain}"\nflags = {{ cache-type-k = "q8_0" }}',
        "drafted": f'path = "{plain}"\nflags = {{ model-draft = "{plain}", draft-max = 4 }}',
        "misled": f'path = "{plain}"\nflags = {{ spec-draft-model = "{other}" }}',
        "seeing": f'path = "{plain}"\nprojector = "{projector}"',
        "cool": f'path = "{plain}"\nflags = {{ temp = 0, repeat-penalty = 1.5, no-mmap = true,'
        ' chat-template = "{{ messages[0].content }}!{{ who }}",'
        ' chat-template-kwargs = \'{"who": "me"}\' }',
        "vectors": f'path = "{vectors}"',
        "ranker": f'path = "{ranker}"',
    }
    tables = (f"[local.models.{name}]\ncontext = 512\n{row}\n" for name, row in rows.items())
    return "[local]\nthreads = 1\nslots = 2\n" + "".join(tables)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Config:
    config = parse_config(models(tmp_path_factory.mktemp("gguf")))
    config.server.port = 0
    config.home = str(tmp_path_factory.mktemp("home"))
    return config


@pytest.fixture(scope="module")
def gateway(config) -> Iterator[Running]:
    with running(config) as up:
        yield up


@pytest.fixture(scope="module")
def client(gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0) as client:
        yield client


def send(gateway: Running, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{gateway.url}{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            text = response.read().decode()
            return response.status, json.loads(text) if text[:1] in "{[" else text
    except HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]["message"]


def chat(client: openai.OpenAI, model: str, text: Any = "hello", **fields: Any) -> Any:
    body = {"max_tokens": 12, "temperature": 0, **fields}
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=f"local:{model}", messages=messages, **body)


def said(client: openai.OpenAI, model: str, **fields: Any) -> str:
    return chat(client, model, **fields).choices[0].message.content


def test_grammar_schema_and_sampling_of_a_request(client):
    grammar = {"grammar": 'root ::= "yes" | "no"', "top_k": 5, "min_p": 0.1, "cache_prompt": False}
    answer = chat(client, "plain", extra_body=grammar)
    assert answer.choices[0].message.content in ("yes", "no")
    assert answer.timings["predicted_n"] == answer.usage.completion_tokens
    schema = {"enum": ["red", "green"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert json.loads(said(client, "plain", response_format=form)) in ("red", "green")
    assert json.loads(said(client, "plain", extra_body={"json_schema": schema})) in ("red", "green")


def test_logprobs(client):
    found = chat(client, "plain", logprobs=True, top_logprobs=3, max_tokens=4).choices[0].logprobs
    assert [len(each.top_logprobs) for each in found.content] == [3] * 4
    # The likeliest token is the one that is taken.
    assert all(each.logprob == each.top_logprobs[0].logprob <= 0 for each in found.content)
    ask = {"model": "local:plain", "prompt": "hello there", "max_tokens": 4, "temperature": 0}
    text = client.completions.create(**ask, logprobs=2)
    assert len(text.choices[0].logprobs.content) == 4


def test_a_tool_call_is_read_by_the_models_template(client):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    choice = chat(client, "caller", tools=tools, max_tokens=50).choices[0]
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "weather",
        {"city": "Oslo"},
    )
    assert choice.finish_reason == "tool_calls"
    chunks = list(chat(client, "caller", tools=tools, max_tokens=50, stream=True))
    deltas = [d for c in chunks if c.choices for d in c.choices[0].delta.tool_calls or []]
    assert deltas[0].function.name == "weather"
    assert json.loads("".join(d.function.arguments or "" for d in deltas)) == {"city": "Oslo"}
    # Without tools it is text like any other.
    assert said(client, "caller", max_tokens=50) == CALL


def test_completions_whole_and_streamed_say_the_same(client):
    ask = {"model": "local:plain", "prompt": "hello there", "max_tokens": 12, "temperature": 0}
    whole = client.completions.create(**ask)
    assert (whole.usage.completion_tokens, whole.choices[0].finish_reason) == (12, "length")
    chunks = list(client.completions.create(**ask, stream=True))
    assert "".join(c.choices[0].text for c in chunks) == whole.choices[0].text
    options = {"include_usage": True}
    last = list(client.completions.create(**ask, stream=True, stream_options=options))[-1]
    assert last.usage.completion_tokens == 12


def test_responses_whole_and_streamed(client):
    ask = {"model": "local:plain", "input": "hello", "max_output_tokens": 6, "temperature": 0}
    whole = client.responses.create(**ask)
    assert whole.usage.output_tokens == 6
    events = list(client.responses.create(**ask, stream=True))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == whole.output_text


def test_an_adapter_changes_the_answer_and_a_request_may_weaken_it(client):
    plain = said(client, "plain")
    assert said(client, "adapted") != plain
    assert said(client, "halved") == plain
    assert said(client, "adapted", extra_body={"lora": [{"id": 0, "scale": 0.0}]}) == plain


def test_a_quantized_cache(client):
    assert len(said(client, "quantized", logprobs=True, seed=1)) > 0
    sure = chat(client, "wide", logprobs=True, max_tokens=8).choices[0].logprobs.content
    near = chat(client, "quantized", logprobs=True, max_tokens=8).choices[0].logprobs.content
    # Rounded, so not the same; rounded to 8 bits, so nearly.
    assert sure[0].logprob != near[0].logprob
    assert abs(sure[0].logprob - near[0].logprob) < 0.1
    with pytest.raises(openai.APIStatusError, match="q8_0 with block size 32 does not divide"):
        chat(client, "narrow")


def test_a_draft_model_changes_the_speed_alone(client):
    plain = said(client, "plain", max_tokens=24)
    drafted = chat(client, "drafted", max_tokens=24)
    assert drafted.choices[0].message.content == plain
    # It drafts for itself, so that all is accepted; another model's guesses are all refused.
    assert drafted.timings["draft_n_accepted"] == drafted.timings["draft_n"] > 0
    misled = chat(client, "misled", max_tokens=24)
    assert misled.choices[0].message.content == plain
    assert misled.timings["draft_n"] > misled.timings["draft_n_accepted"]


def test_an_image_becomes_tokens_of_the_prompt(client):
    parts = [{"type": "text", "text": "hello"}]
    url = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    parts.append({"type": "image_url", "image_url": {"url": url}})
    blind, seeing = chat(client, "seeing"), chat(client, "seeing", parts)
    assert seeing.usage.prompt_tokens >= blind.usage.prompt_tokens + 4
    assert seeing.usage.completion_tokens > 0
    with pytest.raises(openai.APIStatusError, match="image input is not supported"):
        chat(client, "plain", parts)


def test_no_address_is_fetched_for_a_caller(client, gateway, unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}/x.png"
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(openai.BadRequestError, match="not its address"):
        chat(client, "seeing", parts)
    named = [{"type": "image", "source": {"type": "url", "url": url}}]
    for path, content in (("/apply-template", parts), ("/v1/messages", named)):
        messages = [{"role": "user", "content": content}]
        body = {"model": "local:seeing", "messages": messages, "max_tokens": 1}
        status, message = send(gateway, path, body)
        assert status == 400 and "address" in message
    image = {"role": "user", "content": [{"type": "input_image", "image_url": url}]}
    status, _ = send(gateway, "/v1/responses", {"model": "local:seeing", "input": [image]})
    assert status == 400


def picture() -> bytes:
    """A PNG of 8 by 8 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    rows = b"".join(b"\0" + bytes(range(y, y + 24)) for y in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_defaults_and_the_template_of_the_configuration(client, gateway):
    status, props = send(gateway, "/props?model=local:cool")
    settings = props["default_generation_settings"]["params"]
    assert (status, settings["temperature"], settings["repeat_penalty"]) == (200, 0.0, 1.5)
    messages = [{"role": "user", "content": "x"}]
    _, applied = send(gateway, "/apply-template", {"model": "local:cool", "messages": messages})
    assert applied == {"prompt": "x!me"}
    cool = [said(client, "cool", temperature=None) for _ in range(2)]
    assert cool[0] == cool[1]


def test_a_wrong_option_is_found_before_anything_runs(tmp_path):
    wrong = parse_config('[local.models.m]\npath = "m.gguf"\nflags = { cache-typ-k = "q8_0" }\n')
    wrong.home = str(tmp_path)
    with pytest.raises(ConfigError, match=r"local\.models\.m\.flags.*mean 'cache-type-k'"):
        pointsman.Client(wrong)


def test_ranks(gateway):
    body = {"model": "local:ranker", "query": "a b", "documents": ["a b", "z z z", "q"], "top_n": 2}
    for path in ("/v1/rerank", "/rerank"):
        status, answer = send(gateway, path, body)
        scores = [row["relevance_score"] for row in answer["results"]]
        assert status == 200 and len(scores) == 2 and scores == sorted(scores, reverse=True)
        assert answer["usage"]["prompt_tokens"] > 0
    status, message = send(gateway, "/rerank", {**body, "model": "local:vectors"})
    assert status == 400 and "rerank" in message


def test_infill_whole_and_streamed(gateway):
    body = {"model": "local:plain", "input_prefix": "def f(", "input_suffix": "): pass"}
    status, answer = send(gateway, "/infill", {**body, "n_predict": 4, "temperature": 0})
    assert status == 200 and answer["stop"] is True and answer["tokens_predicted"] == 4
    _, stream = send(gateway, "/infill", {**body, "n_predict": 4, "temperature": 0, "stream": True})
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    assert "".join(each["content"] for each in events) == answer["content"]
    assert events[-1]["stop"] is True


def test_tokens_there_and_back(gateway):
    _, found = send(gateway, "/tokenize", {"model": "local:plain", "content": "hi there"})
    assert len(found["tokens"]) == 7  # " t" is one.
    _, text = send(gateway, "/detokenize", {"model": "local:plain", "tokens": found["tokens"]})
    assert text == {"content": "hi there"}


@pytest.mark.parametrize(
    ("path", "model", "fields"),
    [
        ("/v1/chat/completions", "plain", {"messages": [{"role": "user", "content": "x" * 600}]}),
        ("/v1/completions", "plain", {"prompt": "x" * 600}),
        ("/v1/completions", "plain", {"prompt": "x" * 600, "stream": True}),
        ("/v1/responses", "plain", {"input": "x" * 600}),
        ("/completion", "plain", {"prompt": "x" * 600}),
        ("/v1/embeddings", "vectors", {"input": "a " * 600}),
        ("/v1/rerank", "ranker", {"query": "a", "documents": ["a " * 600]}),
    ],
)
def test_what_is_too_long_is_told_both_counts(gateway, path, model, fields):
    status, message = send(gateway, path, {"model": f"local:{model}", **fields})
    assert status == 400
    numbers = [
        int(word) for word in message.replace("(", " ").replace(")", " ").split() if word.isdigit()
    ]
    assert len(numbers) >= 2 and numbers[0] > numbers[-1] >= 128, message


def test_the_python_client_says_the_same(config):
    with pointsman.Client(config) as client:
        grammar = {"grammar": 'root ::= "yes"', "repeat_penalty": 1.1}
        answer = client.chat("local:plain", "hello", top_k=3, min_p=0.1, extra=grammar)
        assert answer.text == "yes"
