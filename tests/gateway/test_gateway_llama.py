"""Requests that are only passed on: completions, responses, ranks, and what is llama.cpp's own."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
from gateway_site import Reply, Site, site_config

from pointsman.gateway.server import running
from pointsman.testing import FakeProvider

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
TEXT = {"id": "c", "object": "text_completion", "model": "m", "choices": [], "usage": USAGE}


def sse(*events: Any) -> bytes:
    return b"".join(
        b"data: %b\n\n" % (each.encode() if isinstance(each, str) else json.dumps(each).encode())
        for each in events
    )


def piece(text: str, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
    return {"id": "c", "object": "text_completion", "model": "m", "choices": [choice]}


class Upstream(ThreadingHTTPServer):
    """Answers every POST and GET with `answer`, and keeps what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = (200, "application/json", b"{}")
        self.came: list[tuple[str, str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def says(self, body: Any, status: int = 200) -> None:
        stream = isinstance(body, bytes)
        kind = "text/event-stream" if stream else "application/json"
        self.answer = (status, kind, body if stream else json.dumps(body).encode())


class Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.came.append((self.command, self.path, body))
        status, kind, answer = self.server.answer
        self.send_response(status)
        self.send_header("content-type", kind)
        self.end_headers()  # The end of the connection is the end of the answer.
        self.wfile.write(answer)

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def providers(upstream: Upstream) -> str:
    return (
        f'[providers.u]\nbase_url = "{upstream.url}/v1"\nauth = "none"\nretries = 0\n'
        f'[providers.cpp]\nbase_url = "{upstream.url}/v1"\nauth = "none"\nretries = 0\n'
        "[providers.cpp.quirks]\nllama_cpp = true\n"
        '[models.priced]\nref = "u:m"\nprice = { input = 1.0, output = 10.0 }\n'
        '[routes.either]\npolicy = "order"\ncandidates = ["a:m", "u:m"]\n'
    )


@pytest.fixture(scope="module")
def site(upstream, tmp_path_factory) -> Iterator[Site]:
    home = str(tmp_path_factory.mktemp("home"))
    with ExitStack() as stack:
        fake = stack.enter_context(FakeProvider())
        config = site_config(fake, providers(upstream), home)
        yield Site(stack.enter_context(running(config)), fake)


def error_of(reply: Reply) -> tuple[int, str, str | None]:
    error = reply.json["error"]
    return reply.status, error["message"], error["param"]


def output_tokens(site: Site) -> int:
    metrics = site.send("/metrics", method="GET").body.decode()
    found = re.search(r'output_tokens_total\{provider="u",model="m"\} (\d+)', metrics)
    return int(found[1]) if found else 0


def test_a_completion_passes_as_it_is_and_is_metered(site, upstream):
    upstream.says(TEXT)
    body = b'{ "prompt":"x",  "model" : "priced", "logprobs": 2, "nested": {"model": "no"} }'
    reply = site.send("/v1/completions", body)
    assert reply.json == TEXT
    assert upstream.came[-1][1:] == ("/v1/completions", body.replace(b"priced", b"m"))
    assert reply.headers["x-pointsman-cost-usd"] == "0.00002300"
    assert reply.headers["x-pointsman-model"] == "priced"


def test_a_stream_is_asked_for_its_usage_and_does_not_show_it(site, upstream):
    upstream.says(sse(piece("a"), piece("b", "stop"), TEXT, "[DONE]"))
    before = output_tokens(site)
    reply = site.send("/v1/completions", {"model": "priced", "prompt": "x", "stream": True})
    assert output_tokens(site) == before + 2
    assert json.loads(upstream.came[-1][2])["stream_options"] == {"include_usage": True}
    assert reply.events == [piece("a"), piece("b", "stop"), "[DONE]"]
    own = {"model": "u:m", "prompt": "x", "stream": True, "stream_options": {"include_usage": True}}
    assert site.send("/v1/completions", own).events[-2] == TEXT


def test_the_official_client_reads_completions(site, upstream):
    with openai.OpenAI(base_url=f"{site.gateway.url}/v1", api_key="x", max_retries=0) as client:
        upstream.says({**TEXT, "choices": piece("hi", "stop")["choices"], "created": 1})
        whole = client.completions.create(model="u:m", prompt="x")
        assert whole.choices[0].text == "hi"
        upstream.says(sse(piece("a"), piece("b", "stop"), "[DONE]"))
        stream = client.completions.create(model="u:m", prompt="x", stream=True)
        assert [chunk.choices[0].text for chunk in stream] == ["a", "b"]
        upstream.says(sse(piece("a")))
        stream = client.completions.create(model="u:m", prompt="x", stream=True)
        with pytest.raises(openai.APIError, match="ended its stream before its end"):
            list(stream)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses"])
@pytest.mark.parametrize("model", ["a:m", "g:m"])
def test_another_dialect_is_told_what_to_use(site, path, model):
    reply = site.send(path, {"model": model, "prompt": "x", "input": "x"})
    status, message, param = error_of(reply)
    assert status == 400 and "/v1/chat/completions" in message
    assert param == ("prompt" if path.endswith("completions") else "input")
    assert not site.fake.requests


def test_a_route_falls_over_to_who_takes_it(site, upstream):
    upstream.says(TEXT)
    reply = site.send("/v1/completions", {"model": "either", "prompt": "x"})
    assert (reply.status, reply.headers["x-pointsman-model"]) == (200, "u:m")


def test_a_route_weighs_the_prompt(make_site, upstream):
    site = make_site(None, providers(upstream) + '[routes.weighed]\ncandidates = ["priced"]\n')
    upstream.says(TEXT)
    weighed = {"model": "weighed", "prompt": ["what is", "a cat"], "logprobs": 3}
    reply = site.send("/v1/completions", weighed)
    assert reply.status == 200 and reply.headers["x-pointsman-route"].startswith("route=weighed")
    assert json.loads(upstream.came[-1][2]) == {**weighed, "model": "m"}


def response_events(text: str) -> bytes:
    response: dict[str, Any] = {"id": "r", "object": "response", "error": None, "usage": None}
    done = {
        **response,
        "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}],
        "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
    }
    events = [
        {"type": "response.created", "response": response},
        {"type": "response.output_text.delta", "delta": text},
        {"type": "response.completed", "response": done},
    ]
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
        for event in events
    )


def test_responses_pass_whole_and_streamed_however_large_the_last_event(site, upstream):
    answer = {"id": "r", "output": [], "usage": {"input_tokens": 3, "output_tokens": 2}}
    upstream.says(answer)
    reply = site.send("/v1/responses", {"model": "priced", "input": "x"})
    assert reply.json == answer and upstream.came[-1][1] == "/v1/responses"
    assert reply.headers["x-pointsman-cost-usd"] == "0.00002300"
    # The model's own words cannot pass for the end of the stream.
    raw = response_events('"type":"response.completed" ' + "x" * 20_000)
    upstream.says(raw)
    body = {"model": "priced", "input": "x", "stream": True}
    before = output_tokens(site)
    assert site.send("/v1/responses", body).body == raw
    assert output_tokens(site) == before + 2
    upstream.says(raw[: raw.rindex(b"event: ")])
    cut = site.send("/v1/responses", body).events[-1]
    assert (cut["type"], cut["code"]) == ("error", "stream_cut")
    client = openai.OpenAI(base_url=f"{site.gateway.url}/v1", api_key="x", max_retries=0)
    with client, pytest.raises(openai.APIError, match="ended its stream"):
        list(client.responses.create(model="u:m", input="x", stream=True))


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
def test_a_rank_passes(site, upstream, path):
    ranks = {"results": [{"index": 0, "relevance_score": 0.5}], "usage": {"prompt_tokens": 9}}
    upstream.says(ranks)
    reply = site.send(path, {"model": "u:m", "query": "q", "documents": ["d"]})
    assert reply.json == ranks and upstream.came[-1][1] == "/v1/rerank"
    status, message, param = error_of(site.send(path, {"model": "a:m", "query": "q"}))
    assert (status, param) == (400, "documents") and "local models" in message


OWN = ["/completion", "/infill", "/tokenize", "/detokenize", "/apply-template"]


@pytest.mark.parametrize("path", OWN)
def test_what_is_llama_cpps_own_goes_to_the_servers_root(site, upstream, path):
    upstream.says({"content": "x"})
    reply = site.send(path, {"model": "cpp:m", "content": "x"})
    assert reply.json == {"content": "x"} and upstream.came[-1][1] == path
    status, message, _ = error_of(site.send(path, {"model": "u:m", "content": "x"}))
    assert status == 400 and "quirks.llama_cpp" in message
    assert error_of(site.send(path, {"content": "x"}))[2] == "model"


def test_a_streamed_infill_has_an_end_of_its_own(site, upstream):
    whole = sse({"content": "a", "stop": False}, {"content": "", "stop": True})
    upstream.says(whole)
    body = {"model": "cpp:m", "input_prefix": "a", "stream": True}
    assert site.send("/infill", body).body == whole
    upstream.says(sse({"content": '"stop":true', "stop": False}))
    assert "before its end" in site.send("/infill", body).events[-1]["error"]["message"]


def test_properties_are_of_the_model_in_the_query(site, upstream):
    upstream.says({"total_slots": 4})
    reply = site.send("/props?model=cpp:m", method="GET")
    assert reply.json == {"total_slots": 4}
    assert upstream.came[-1][:2] == ("GET", "/props")
    assert error_of(site.send("/props", method="GET"))[2] == "model"
    assert site.send("/props?model=u:m", method="GET").status == 400


def test_an_error_of_the_upstream_keeps_its_status_and_counts(site, upstream):
    upstream.says(
        {
            "error": {
                "code": 400,
                "message": "request (600 tokens) exceeds the available context size (512 tokens)",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 600,
                "n_ctx": 512,
            }
        },
        400,
    )
    for path in ("/v1/completions", "/infill"):
        status, message, _ = error_of(site.send(path, {"model": "cpp:m", "prompt": "x"}))
        assert status == 400 and "600" in message and "512" in message
