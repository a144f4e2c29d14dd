"""A local model behind the gateway and the client, on llama.cpp itself."""

from __future__ import annotations

import os
import signal
import time

import anthropic
import openai
import pytest
from google import genai

import pointsman
from pointsman.config import parse_config
from pointsman.gateway.server import running


@pytest.fixture(scope="module")
def site(llama_file, bert_file, tmp_path_factory):
    config = parse_config(
        f'[local.models.tiny]\npath = "{llama_file}"\n'
        f'[local.models.vectors]\npath = "{bert_file}"\n'
        '[local.models.gone]\npath = "/nowhere/gone.gguf"\n'
    )
    config.server.port = 0
    config.home = str(tmp_path_factory.mktemp("home"))
    with running(config) as gateway:
        yield gateway


def client_of(site):
    return openai.OpenAI(base_url=f"{site.url}/v1", api_key="x", max_retries=0)


def ask(client, **fields):
    body = {"model": "local:tiny", "messages": [{"role": "user", "content": "hello"}]}
    # What a model of noise draws may be its end.
    on = {"ignore_eos": True, **fields.pop("extra_body", {})}
    return client.chat.completions.create(**{**body, "max_tokens": 8, "extra_body": on, **fields})


def test_chat_stream_usage_and_grammar(site):
    with client_of(site) as client:
        whole = ask(client, extra_body={"grammar": 'root ::= "yes" | "no"', "ignore_eos": False})
        assert whole.choices[0].message.content in ("yes", "no")
        assert whole.usage.prompt_tokens > 0
        chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
        assert chunks[-1].usage.completion_tokens == 8
        assert chunks[-2].choices[0].finish_reason == "length"


def test_a_json_schema_is_kept_to(site):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with client_of(site) as client:
        text = (
            ask(client, response_format=form, max_tokens=200, extra_body={"ignore_eos": False})
            .choices[0]
            .message.content
        )
    assert text.lstrip().startswith("{")


def test_the_other_dialects_reach_it_too(site):
    claude = anthropic.Anthropic(base_url=site.url, api_key="x", max_retries=0)
    message = claude.messages.create(
        model="local:tiny",
        max_tokens=5,
        extra_body={"top_k": 1},
        messages=[{"role": "user", "content": "hi"}],
    )
    assert message.stop_reason == "max_tokens" and message.usage.output_tokens == 5
    gemini = genai.Client(api_key="x", http_options={"base_url": site.url})
    answer = gemini.models.generate_content(
        model="local:tiny", contents="hi", config={"max_output_tokens": 5, "top_k": 1}
    )
    assert answer.usage_metadata.candidates_token_count == 5
    claude.close()
    gemini.close()


def test_embeddings(site):
    with client_of(site) as client:
        found = client.embeddings.create(model="local:vectors", input=["a", "b"])
    assert [len(row.embedding) for row in found.data] == [32, 32]


def test_a_file_that_is_gone_is_named(site):
    with client_of(site) as client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="local:gone", messages=[{"role": "user", "content": "x"}]
        )
    assert caught.value.status_code == 503
    assert "gone.gguf" in str(caught.value)


def test_a_process_killed_in_mid_stream_ends_the_stream_and_not_the_gateway(site):
    with client_of(site) as client:
        stream = ask(client, stream=True, max_tokens=1500, extra_body={"ignore_eos": True})
        next(iter(stream))
        pid = next(r.pid for r in site.gateway.door.local.running() if r.name == "tiny")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(openai.APIError) as caught:
            for _ in stream:
                pass
        assert "SIGKILL" in str(caught.value)
        again = ask(client)
        assert again.usage.completion_tokens == 8
    others = [r.pid for r in site.gateway.door.local.running() if r.name == "tiny"]
    assert others and others != [pid]


def test_the_client_runs_it_without_a_server_and_stops_it(llama_file, tmp_path):
    config = parse_config(f'[local.models.tiny]\npath = "{llama_file}"\n')
    config.home = str(tmp_path)
    with pointsman.Client(config) as client:
        answer = client.chat("local:tiny", "hello", max_tokens=4)
        assert (answer.ref, answer.cost_usd) == ("local:tiny", 0.0)
        pid = client._async._door.local.running()[0].pid
    for _ in range(200):
        if not os.path.exists(f"/proc/{pid}"):
            break
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{pid}")
