"""Fall-back before the first byte, honesty after it, and errors that a caller can read."""

from __future__ import annotations

import http.client
import json
import logging
import time

import pytest
from gateway_site import KEY, chat_body

from pointsman.testing import Answer, Fault

ROUTE = '[routes.r]\ncandidates = ["o:first", "a:second"]\npolicy = "order"\n'
PATHS = {
    "openai": ("/v1/chat/completions", "o:m"),
    "anthropic": ("/v1/messages", "a:m"),
    "gemini": ("/v1beta/models/g:m:streamGenerateContent?alt=sse", "g:m"),
}


def body_for(dialect, model, stream):
    if dialect == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    return chat_body(model, stream=stream, max_tokens=9)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=429, retry_after="600"),
        Fault(status=401),
        Fault(close=True),
        Fault(endless_head=True),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_next_candidate_answers_before_the_first_byte(make_site, fault, stream):
    site = make_site([fault, Answer(text="second")], ROUTE)
    reply = site.chat("r", stream=stream)
    assert reply.status == 200
    assert reply.headers["x-pointsman-model"] == "a:second"
    assert reply.headers["x-pointsman-attempts"] == "2"
    assert b"second" in reply.body


def test_a_stream_that_begins_with_an_error_falls_over(make_site):
    site = make_site([Fault(error_after=0), Answer(text="second")], ROUTE)
    reply = site.chat("r", stream=True)
    assert reply.headers["x-pointsman-model"] == "a:second"


def test_a_bad_request_does_not_fall_over(make_site):
    site = make_site([Fault(status=400, message="no such thing"), Answer(text="x")], ROUTE)
    reply = site.chat("r")
    assert reply.status == 400
    assert len(site.fake.requests) == 1


def test_what_a_candidate_cannot_say_goes_to_the_next(make_site):
    route = '[routes.r]\ncandidates = ["a:first", "o:second"]\npolicy = "order"\n'
    site = make_site([Answer(text="x")], route)
    reply = site.chat("r", logit_bias={"1": 2})
    assert reply.headers["x-pointsman-model"] == "o:second"
    alone = site.chat("a:first", logit_bias={"1": 2})
    assert alone.status == 400
    assert alone.json["error"]["param"] == "logit_bias"


def test_all_failing_names_each_and_keeps_the_last_status(make_site):
    site = make_site([Fault(status=503), Fault(status=429, retry_after="30")], ROUTE)
    reply = site.chat("r")
    assert reply.status == 429
    assert reply.headers["retry-after"] == "30"
    message = reply.json["error"]["message"]
    assert "o:first" in message and "a:second" in message


def test_a_retry_waits_as_long_as_it_is_told(make_site):
    extra = '[providers.again]\nbase_url = "URL"\nauth = "none"\nretries = 1\n'
    other = make_site([Fault(status=429, retry_after="0.3"), Answer(text="x")])
    site = make_site(None, extra.replace("URL", other.fake.url + "/v1"))
    started = time.monotonic()
    assert site.chat("again:m").status == 200
    assert time.monotonic() - started >= 0.3
    assert len(other.fake.requests) == 2


def test_a_wait_that_is_too_long_is_the_callers(make_site):
    extra = '[providers.again]\nbase_url = "URL"\nauth = "none"\nretries = 2\n'
    other = make_site([Fault(status=429, retry_after="600")])
    site = make_site(None, extra.replace("URL", other.fake.url + "/v1"))
    reply = site.chat("again:m")
    assert (reply.status, reply.headers["retry-after"]) == (429, "600")
    assert len(other.fake.requests) == 1


CUTS = [
    (dialect, upstream, fault)
    for dialect in PATHS
    for upstream in ("o:m", "a:m", "g:m")
    for fault in (Fault(cut_after=4), Fault(garbage_after=4), Fault(error_after=4))
    # A pass-through relays what it does not read.
    if not (fault.garbage_after and upstream[0] == dialect[0])
]


@pytest.mark.parametrize(("dialect", "upstream", "fault"), CUTS)
def test_a_cut_stream_never_looks_complete(make_site, dialect, upstream, fault):
    site = make_site([fault])
    path, _ = PATHS[dialect]
    path = path.replace("g:m", upstream)
    reply = site.send(path, body_for(dialect, upstream, True))
    assert b"[DONE]" not in reply.body
    assert b"message_stop" not in reply.body
    assert b'"finishReason":"' not in reply.body
    if reply.status != 200:
        # The fault came together with the first events, so nothing had been passed on yet.
        assert "error" in reply.json
        return
    assert "error" in reply.events[-1]
    # What came before the fault was passed on.
    assert b"one" in reply.body


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/chat/completions", b"{", 400, "invalid_request"),
        ("/v1/chat/completions", b'{"model": 5}', 400, "invalid_request"),
        ("/v1/chat/completions", b'{"messages": []}', 400, "invalid_request"),
        ("/v1/chat/completions", chat_body("gpt-nope"), 404, "model_not_found"),
        ("/v1/chat/completions", chat_body("a:m", messages="x"), 400, "invalid_request"),
        ("/v1/chat/completions", chat_body("a:m", temperature="hot"), 400, "invalid_request"),
        ("/v1/chat/completions", chat_body("auto:7"), 400, "invalid_request"),
        ("/v1/chat/completions", chat_body("openai:gpt-x"), 401, "provider_key_missing"),
        ("/v1/nothing", b"{}", 404, "path_not_found"),
        ("/v1/messages", b"[]", 400, "invalid_request"),
        ("/v1/messages", chat_body("o:m"), 400, "invalid_request"),
        ("/v1beta/models/o:m:generateContent", b"nope", 400, "invalid_request"),
        ("/v1beta/models/o:m:generateContent", b'{"contents": 5}', 400, "invalid_request"),
        ("/v1beta/models/o:m:fly", b"{}", 400, "invalid_request"),
    ],
)
def test_bad_input_is_named_in_the_callers_dialect(make_site, path, body, status, code):
    site = make_site()
    reply = site.send(path, body)
    assert reply.status == status
    assert reply.headers["x-pointsman-error"] == code
    error = reply.json["error"]
    if path.startswith("/v1beta"):
        assert error["code"] == status and error["status"]
    elif path.startswith("/v1/messages"):
        assert reply.json["type"] == "error" and error["type"] == "invalid_request_error"
    else:
        assert error["code"] == code
    assert error["message"]
    assert site.chat("o:m").status == 200  # The process is unharmed.


def test_a_body_over_the_limit_is_refused_by_length_and_by_count(make_site):
    site = make_site(None, "[server]\nmax_body_bytes = 1000\n")
    assert site.send("/v1/chat/completions", b"x" * 1001).status == 413
    host, _, port = site.gateway.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("POST", "/v1/messages", iter([b"x" * 600, b"y" * 600]), encode_chunked=True,
                       headers={"transfer-encoding": "chunked"})  # fmt: skip
    reply = connection.getresponse()
    assert reply.status == 413
    assert json.loads(reply.read())["error"]["type"] == "request_too_large"
    connection.close()


def test_an_answer_over_the_limit_is_refused(make_site):
    site = make_site([Fault(huge_bytes=3_000_000)], "[server]\nmax_answer_bytes = 1000000\n")
    reply = site.chat("o:m")
    assert reply.status == 502
    assert reply.json["error"]["code"] == "provider_bad_answer"


def test_a_method_that_a_path_lacks_is_said(make_site):
    reply = make_site().send("/v1/chat/completions", method="GET")
    assert reply.status == 405 and "POST" in reply.json["error"]["message"]


def test_nobody_there_is_an_error_that_names_the_provider(make_site, unused_tcp_port):
    extra = f'[providers.gone]\nbase_url = "http://127.0.0.1:{unused_tcp_port}/v1"\nauth = "none"\nretries = 0\n'
    reply = make_site(None, extra).chat("gone:m")
    assert reply.status == 502
    assert "gone" in reply.json["error"]["message"]


def test_a_provider_that_is_silent_times_out(make_site):
    extra = '[providers.slow]\nbase_url = "URL"\nauth = "none"\nretries = 0\n'
    extra += "[providers.slow.timeouts]\nfirst_byte_s = 0.2\nidle_s = 0.2\n"
    other = make_site([Fault(stall_s=5), Fault(stall_after=3)])
    site = make_site(None, extra.replace("URL", other.fake.url + "/v1"))
    assert site.chat("slow:m").status == 504
    reply = site.chat("slow:m", stream=True)
    assert reply.events[-1]["error"]["code"] == "provider_timeout"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_cancels_the_upstream(make_site, stream):
    fault = Fault(stall_after=2) if stream else Fault(stall_s=30)
    site = make_site([fault])
    host, _, port = site.gateway.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("POST", "/v1/chat/completions", json.dumps(chat_body("o:m", stream=stream)))
    if stream:
        connection.getresponse().read(10)
    else:
        time.sleep(0.2)
    connection.sock.close() if connection.sock else None
    connection.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not site.fake.requests[0].cancelled:
        time.sleep(0.02)
    assert site.fake.requests[0].cancelled


def test_no_key_is_in_an_error_or_a_log(make_site, caplog):
    caplog.set_level(logging.DEBUG)
    site = make_site([Fault(status=401, message=f"Incorrect API key provided: {KEY}")])
    reply = site.chat("o:m")
    assert reply.status == 401
    assert KEY not in reply.body.decode()
    assert KEY not in caplog.text
    assert KEY not in repr(site.gateway.gateway.door.dispatcher.binding("o"))


def test_a_redirect_is_not_followed_with_the_key(make_site):
    site = make_site([Fault(status=302, body=b"")])
    reply = site.chat("o:m")
    assert reply.status == 502 and "redirect" in reply.json["error"]["message"]
