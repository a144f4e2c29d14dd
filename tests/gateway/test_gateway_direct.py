"""Streams that go from socket to socket: the same bytes as by ASGI, and a slow client is waited for."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gateway_site import chat_body

from pointsman.config import parse_config
from pointsman.gateway.direct import EXTENSION
from pointsman.gateway.exchange import Exchange
from pointsman.gateway.server import Running, running

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
BIG = EVENT % (b"x" * 32_000)
COUNT = 1000


class Upstream(threading.Thread):
    """Answers one request with a large stream; `sent` counts the bytes that went out."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sent = 0

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection, self.listener:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            connection.recv(65536)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            connection.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
            try:
                for event in [BIG] * COUNT + [END]:
                    connection.sendall(b"%x\r\n%b\r\n" % (len(event), event))
                    self.sent += len(event)
                connection.sendall(b"0\r\n\r\n")
                connection.recv(1)
            except OSError:
                self.sent = -1


@contextmanager
def gateway(port: int, home: str) -> Iterator[Running]:
    text = f'[providers.o]\nbase_url = "http://127.0.0.1:{port}/v1"\nauth = "none"\nretries = 0\n'
    config = parse_config(text + "[providers.o.timeouts]\nidle_s = 0.5\n")
    config.server.port, config.home = 0, home
    with running(config) as site:
        yield site


def ask(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.connect((host, int(port)))
    body = json.dumps(chat_body("o:m", stream=True, stream_options={"include_usage": True}))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body.encode())
    return client


def settled(upstream: Upstream) -> int:
    before = -1
    while (sent := upstream.sent) != before or sent == 0:
        before = sent
        time.sleep(0.3)
    return sent


def test_a_slow_client_makes_the_upstream_wait_in_bounded_memory(tmp_path) -> None:
    upstream = Upstream()
    upstream.start()
    with (
        gateway(upstream.listener.getsockname()[1], str(tmp_path)) as site,
        ask(site.url) as client,
    ):
        # What lies in between: four sockets' buffers of the system, and less than 1 MiB of ours.
        assert 0 < settled(upstream) < COUNT * len(BIG) // 3
        time.sleep(0.6)  # Longer than an upstream may be silent: the client is, not the upstream.
        got = bytearray()
        while not got.endswith(b"0\r\n\r\n"):
            piece = client.recv(2**20)
            assert piece, "it was cut"
            got += piece
        assert got.count(b"x" * 32_000) == COUNT and b"data: [DONE]\n\n" in got
        assert b'"error"' not in got


def test_a_slow_client_that_leaves_cancels_the_upstream(tmp_path) -> None:
    upstream = Upstream()
    upstream.start()
    with gateway(upstream.listener.getsockname()[1], str(tmp_path)) as site:
        with ask(site.url):
            settled(upstream)
        upstream.join(5)
        assert upstream.sent == -1


@pytest.mark.parametrize("dialect", ["o", "a", "g"])
def test_the_bytes_are_the_same_as_by_asgi(make_site, monkeypatch, dialect) -> None:
    paths = {
        "o": ("/v1/chat/completions", chat_body("o:m", stream=True)),
        "a": ("/v1/messages", chat_body("a:m", stream=True, max_tokens=50)),
        "g": (
            "/v1beta/models/g:m:streamGenerateContent?alt=sse",
            {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]},
        ),
    }
    path, body = paths[dialect]
    common = Exchange.direct
    site = make_site()
    monkeypatch.setattr(Exchange, "direct", lambda self: None)
    wanted = site.send(path, body)
    monkeypatch.setattr(Exchange, "direct", common)

    async def never(self, data):
        raise AssertionError("a piece went by ASGI")

    monkeypatch.setattr(Exchange, "write", never)
    reply = site.send(path, body)
    assert reply.status == wanted.status == 200
    assert _plain(reply.body) == _plain(wanted.body) and len(reply.events) > 3


def _plain(body: bytes) -> list[str]:
    """The kinds of the lines: the fake names each answer and its time anew."""
    return [line.partition(b":")[0].decode() for line in body.split(b"\n")]


async def test_a_server_without_the_extension_is_served(make_site) -> None:
    site = make_site()
    sent: list[dict] = []
    body = json.dumps(chat_body("o:m", stream=True)).encode()

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [],
        "query_string": b"",
        "extensions": {EXTENSION: None},
    }
    app = type(site.gateway.gateway)(site.gateway.gateway.config)
    await app(scope, receive, send)
    await app.door.aclose()
    joined = b"".join(each.get("body", b"") for each in sent)
    assert joined.endswith(b"data: [DONE]\n\n") and sent[-1].get("more_body") is not True


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_at_once(sign, tmp_path) -> None:
    command = [sys.executable, "-m", "pointsman", "serve", "--port", "0", "--json"]
    (tmp_path / "pointsman.toml").write_text("", "utf-8")
    process = subprocess.Popen(
        [*command, "--config", str(tmp_path / "pointsman.toml")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and b"listening" in process.stdout.readline()
    process.send_signal(sign)
    assert process.wait(20) in (0, -sign, 130, 143)
    process.stdout.close()
