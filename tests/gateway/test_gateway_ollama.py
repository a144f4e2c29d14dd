"""Ollama's paths as bytes: lines, heads, statuses, and who may ask."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from gateway_site import Reply, Site

from pointsman.errors import LocalError
from pointsman.gateway import app, pulls
from pointsman.gateway.routes.ollama_create import ref_of
from pointsman.gateway.routes.ollama_models import API_VERSION
from pointsman.local.progress import Step
from pointsman.testing import Answer, Fault

HELLO = [{"role": "user", "content": "hello"}]
SHA = "ab" * 32


def lines(reply: Reply) -> list[Any]:
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert reply.body.endswith(b"\n")
    return [json.loads(line) for line in reply.body.splitlines()]


def head(site: Site, path: str, headers: dict[str, str] | None = None) -> Reply:
    return site.send(path, headers=headers, method="HEAD")


# The root


@pytest.mark.parametrize("accept", ["*/*", "text/plain"])
def test_the_root_says_what_ollamas_clients_look_for(make_site, accept):
    reply = make_site().send("/", headers={"accept": accept}, method="GET")
    assert reply.body == b"Ollama is running"
    assert reply.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("headers", [{}, {"accept": "application/json"}])
def test_who_asks_for_json_gets_what_this_is(make_site, headers):
    assert make_site().send("/", headers=headers, method="GET").json["name"] == "pointsman"


def test_ollamas_own_client_gets_the_words_in_any_case(make_site):
    headers = {"accept": "application/json", "user-agent": "ollama/0.12 (arm64 darwin)"}
    site = make_site()
    assert site.send("/", headers=headers, method="GET").body == b"Ollama is running"
    for path in ("/", "/api/tags", "/api/version"):
        reply = head(site, path, headers)
        assert (reply.status, reply.body) == (200, b"")


def test_the_version_is_one_that_clients_take(make_site):
    reply = make_site().send("/api/version", method="GET")
    assert reply.json == {"version": API_VERSION}
    assert tuple(map(int, API_VERSION.split("."))) >= (0, 6, 4)


# Answers


def test_a_stream_is_lines_and_the_default(make_site):
    site = make_site([Answer(text="one two", pieces=2, input_tokens=5, output_tokens=2)])
    *pieces, last = lines(site.send("/api/chat", {"model": "o:m", "messages": HELLO}))
    assert [piece["message"]["content"] for piece in pieces] == ["one ", "two"]
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "stop", 2)
    assert last["message"] == {"role": "assistant", "content": ""}
    *pieces, last = lines(site.send("/api/generate", {"model": "o:m", "prompt": "hello"}))
    assert [piece["response"] for piece in pieces] == ["one ", "two"]
    assert (last["response"], last["done"]) == ("", True)


def test_the_head_says_who_served_it_and_what_was_not_followed(make_site):
    options = {"num_ctx": 4096, "num_gpu": 1, "temperature": 0.5}
    body = {"model": "o:m", "messages": HELLO, "stream": False, "options": options}
    reply = make_site().send("/api/chat", {**body, "keep_alive": "5m", "truncate": True})
    assert reply.headers["x-pointsman-model"] == "o:m"
    assert reply.headers["x-pointsman-ignored"].split(", ") == [
        "options.num_gpu",
        "truncate",
        "options.num_ctx",
        "keep_alive",
    ]


@pytest.mark.parametrize("provider", ["a", "g"])
def test_every_upstream_dialect_answers(make_site, provider):
    site = make_site([Answer(text="one two", reasoning="hm", pieces=1)])
    body = {"model": f"{provider}:m", "messages": HELLO, "options": {"num_predict": 5}}
    found = lines(site.send("/api/chat", body))
    assert "".join(each["message"]["content"] for each in found) == "one two"
    assert "".join(each["message"].get("thinking", "") for each in found) == "hm"
    whole = site.send("/api/chat", {**body, "stream": False}).json
    assert whole["message"] == {"role": "assistant", "content": "one two", "thinking": "hm"}


def test_a_stream_that_is_cut_ends_with_an_error_and_is_not_done(make_site):
    site = make_site([Fault(cut_after=4)])
    *pieces, last = lines(site.send("/api/chat", {"model": "o:m", "messages": HELLO}))
    assert pieces and not any(piece["done"] for piece in pieces)
    assert list(last) == ["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "what"),
    [
        ("/api/chat", b"{", 400, "JSON"),
        ("/api/chat", {}, 400, "model is required"),
        ("/api/chat", {"model": ""}, 400, "model is required"),
        ("/api/chat", {"model": "nothing", "messages": HELLO}, 404, "try pulling it first"),
        ("/api/chat", {"model": "o:m", "messages": HELLO, "options": {"x": 1}}, 400, "option 'x'"),
        ("/api/chat", {"model": "o:m", "messages": HELLO, "stream": "no"}, 400, "'stream'"),
        ("/api/chat", {"model": "o:m", "messages": HELLO, "keep_alive": "x"}, 400, "keep_alive"),
        ("/api/generate", {"model": "o:m", "prompt": "x", "template": "t"}, 400, "template"),
        ("/api/embed", {"model": "o:m", "input": 3}, 400, "'input'"),
        ("/api/show", {"model": "nothing"}, 404, "not found"),
        ("/api/copy", {"source": "nothing", "destination": "x"}, 404, "not found"),
        ("/api/copy", {"destination": "x"}, 400, "source"),
        ("/api/push", {"model": "x"}, 501, "not here"),
        ("/api/me", {}, 501, "not here"),
        ("/api/signout", {}, 501, "not here"),
        ("/api/blobs/sha256:xyz", b"", 400, "digest"),
        ("/api/nothing", {}, 404, "no such path"),
        ("/api/tags", {}, 405, "use GET or HEAD"),
    ],
)
def test_an_error_is_a_status_and_one_text(make_site, path, body, status, what):
    reply = make_site().send(path, body)
    assert reply.status == status
    assert list(reply.json) == ["error"] and what in reply.json["error"]


def test_the_older_name_of_a_field_is_taken(make_site):
    site = make_site()
    assert site.send("/api/show", {"name": "o:m"}).json["remote_model"] == "m"


def test_copilot_is_told_the_name_that_it_asked_for(make_site):
    headers = {"user-agent": "GitHubCopilotChat/0.30"}
    shown = make_site().send("/api/show", {"model": "o:m"}, headers).json
    assert shown["model_info"]["general.basename"] == "o:m"


def test_the_list_needs_no_provider(make_site):
    site = make_site(extra='[models.fast]\nref = "o:m"\n[routes.best]\ncandidates = ["o:m"]\n')
    models = {row["model"]: row for row in site.send("/api/tags", method="GET").json["models"]}
    assert models["fast"]["remote_model"] == "m" and {"best"} <= set(models)
    assert models["fast"]["remote_host"] == site.fake.url
    assert site.fake.requests == []
    assert site.send("/api/ps", method="GET").json == {"models": []}


def test_all_of_it_asks_for_the_key(make_site):
    site = make_site(extra='[server]\nadmin_key_env = "ADMIN_KEY"\n')
    for path in ("/api/tags", "/api/version", "/api/ps"):
        assert site.send(path, method="GET").status == 401
    for path in ("/api/chat", "/api/delete", "/api/pull", f"/api/blobs/sha256:{SHA}"):
        reply = site.send(path, {}, method="DELETE" if path == "/api/delete" else "POST")
        assert (reply.status, list(reply.json)) == (401, ["error"])
    headers = {"authorization": "Bearer let-me-in"}
    assert site.send("/api/tags", headers=headers, method="GET").status == 200


# A text between two, from an engine that has it


class Engine(ThreadingHTTPServer):
    """A llama-server that runs elsewhere: says what it was asked as a stream, or whole."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EngineHandler)
        self.asked: list[tuple[str, Any]] = []


class EngineHandler(BaseHTTPRequestHandler):
    server: Engine

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, body))
        last = {"stop": True, "stop_type": "eos", "tokens_evaluated": 4, "tokens_predicted": 2}
        if body.get("stream"):
            events = [{"content": "x):", "stop": False}, {"content": "", **last}]
            data = b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in events)
        else:
            data = json.dumps({"content": "x):", **last}).encode()
        self.send_response(200)
        kind = "text/event-stream" if body.get("stream") else "application/json"
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_suffix_is_an_infill(make_site):
    with Engine() as engine:
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{engine.server_port}"
        site = make_site(extra=f'[local.models.far]\nurl = "{url}"\n')
        body = {"model": "far", "prompt": "def f(", "suffix": "return x", "options": {"top_k": 3}}
        *pieces, last = lines(site.send("/api/generate", body))
        assert "".join(piece["response"] for piece in pieces) == "x):"
        assert (last["done_reason"], last["eval_count"]) == ("stop", 2)
        whole = site.send("/api/generate", {**body, "stream": False}).json
        assert (whole["response"], whole["prompt_eval_count"]) == ("x):", 4)
        engine.shutdown()
    path, asked = engine.asked[-1]
    assert path == "/infill"
    assert asked == {
        "input_prefix": "def f(",
        "input_suffix": "return x",
        "prompt": "",
        "top_k": 3,
    }


# Pull


@pytest.mark.parametrize(
    ("name", "ref", "called"),
    [
        ("smollm2", "smollm2", None),
        ("smollm2:latest", "smollm2", None),
        ("qwen3:8b", "ollama:qwen3:8b", None),
        ("user/model", "ollama:user/model", None),
        ("hf.co/user/repo:Q4_K_M", "hf.co/user/repo:Q4_K_M", "hf.co/user/repo:Q4_K_M"),
        ("hf.co/user/repo:latest", "hf.co/user/repo", "hf.co/user/repo"),
        ("hf:user/repo", "hf:user/repo", None),
        ("https://example.org/a.gguf", "https://example.org/a.gguf", None),
        ("reg.example.org/a/b:1", "ollama:reg.example.org/a/b:1", "reg.example.org/a/b:1"),
    ],
)
def test_what_a_name_is_to_pull(name, ref, called):
    assert ref_of(name) == (ref, called)


def pulling(monkeypatch: pytest.MonkeyPatch, *steps: Any, model: Any = None) -> list[Any]:
    """Have a pull tell these steps; an error among them is raised. Gives what was asked for."""
    asked: list[Any] = []

    def pull(ref, store, progress, *, name, allow_file, env, cancelled):
        asked.append((ref, name, allow_file))
        for step in steps:
            if isinstance(step, Exception):
                raise step
            progress(step)
        return model or store.list

    monkeypatch.setattr(pulls, "pull", pull)
    # What these pulls give is no model, so there is nothing to check in it.
    monkeypatch.setattr(app, "check_pulled", lambda model, store, config: None)
    return asked


STEPS = (
    Step("pulling manifest"),
    Step("downloading", "a.gguf", SHA, 5, 10),
    Step("downloading", "b.json", None, 3, None),
    Step("verifying", "a.gguf", SHA),
    Step("writing manifest"),
)


class Pulled:
    name = "smollm2"


def test_a_pull_tells_its_steps_as_ollama_does(make_site, monkeypatch):
    asked = pulling(monkeypatch, *STEPS, model=Pulled())
    site = make_site()
    found = lines(site.send("/api/pull", {"model": "smollm2"}))
    assert found == [
        {"status": "pulling manifest"},
        {"status": "pulling abababababab", "digest": f"sha256:{SHA}", "total": 10, "completed": 5},
        {"status": "pulling b.json", "digest": "b.json", "completed": 3},
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]
    assert site.send("/api/pull", {"name": "smollm2", "stream": False}).json == {
        "status": "success"
    }
    assert asked == [("smollm2", None, False)] * 2


def test_a_pull_that_fails_says_so_before_or_in_its_stream(make_site, monkeypatch):
    site = make_site()
    pulling(monkeypatch, LocalError("the disk is full"))
    reply = site.send("/api/pull", {"model": "smollm2"})
    assert (reply.status, reply.json) == (503, {"error": "the disk is full"})
    pulling(monkeypatch, STEPS[0], LocalError("the disk is full"))
    found = lines(site.send("/api/pull", {"model": "smollm2"}))
    assert found[-1] == {"error": "the disk is full"}


def test_a_client_that_hangs_up_ends_its_pull(make_site, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def pull(ref, store, progress, *, name, allow_file, env, cancelled):
        progress(STEPS[0])
        begun.set()
        if cancelled.wait(10):
            ended.set()
        raise LocalError("stopped")

    monkeypatch.setattr(pulls, "pull", pull)
    host, port = make_site().gateway.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("POST", "/api/pull", json.dumps({"model": "smollm2"}))
    assert begun.wait(10)
    connection.sock.close()
    connection.close()
    assert ended.wait(10)


# Blobs


def test_a_file_comes_in_pieces_and_larger_than_a_body_may_be(make_site):
    site = make_site(extra="[server]\nmax_body_bytes = 4096\n")
    data = bytes(range(256)) * 16 * 1024
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    path = f"/api/blobs/{digest}"
    assert head(site, path).status == 404
    host, port = site.gateway.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    pieces = (data[at : at + 100_000] for at in range(0, len(data), 100_000))
    connection.request(
        "POST", path, pieces, encode_chunked=True, headers={"transfer-encoding": "chunked"}
    )
    assert connection.getresponse().status == 201
    connection.close()
    assert head(site, path).status == 200
    assert site.send(path, b"").status == 200
    assert site.send("/api/chat", b"x" * 5000).status == 413


def test_a_file_with_another_hash_leaves_nothing(make_site):
    site = make_site()
    path = f"/api/blobs/sha256:{SHA}"
    reply = site.send(path, b"something else")
    assert reply.status == 400 and "nothing was kept" in reply.json["error"]
    assert head(site, path).status == 404
