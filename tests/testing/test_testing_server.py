"""The fake provider's server: what it remembers, how it is scripted, and plain HTTP."""

from __future__ import annotations

import ast
import asyncio
import http.client
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pointsman.testing
from pointsman.testing import Answer, FakeProvider, Fault
from pointsman.testing.assistant import FAULTS

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def connect(fake):
    return http.client.HTTPConnection(fake.url.removeprefix("http://"), timeout=10)


def send(line, body=CHAT, path="/v1/chat/completions", **headers):
    line.request("POST", path, json.dumps(body), headers)
    response = line.getresponse()
    return response.status, response.read()


def text_of(reply):
    return json.loads(reply[1])["choices"][0]["message"]["content"]


def waited_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_what_came_is_remembered(fake_with):
    fake = fake_with(Answer(text="x"))
    connection = connect(fake)
    send(connection, {**CHAT, "stream": True}, **{"X-Own": "1"})
    assert waited_for(lambda: fake.requests[0].finished_s)
    request = fake.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert (request.dialect, request.model, request.stream) == ("openai", "m", True)
    assert request.headers["x-own"] == "1"
    assert request.body == json.loads(request.raw) == {**CHAT, "stream": True}
    assert not request.cancelled
    assert request.received_s <= request.finished_s
    connection.close()


def test_a_connection_serves_one_request_after_another(fake_with):
    fake = fake_with(Answer(text="a"), Answer(text="b"))
    connection = connect(fake)
    first = send(connection)
    port = connection.sock.getsockname()[1]
    assert [text_of(first), text_of(send(connection))] == ["a", "b"]
    assert connection.sock.getsockname()[1] == port
    assert send(connection, connection="close")[0] == 200
    connection.close()


@pytest.mark.parametrize(("loop", "texts"), [(False, "abbb"), (True, "abab")])
def test_a_script_at_its_end(fake_with, loop, texts):
    connection = connect(fake_with(Answer(text="a"), Answer(text="b"), loop=loop))
    assert "".join(text_of(send(connection)) for _ in texts) == texts
    connection.close()


def test_a_script_may_be_a_function_and_may_be_changed(fake_with):
    fake = fake_with(lambda request: Answer(text=request.model))
    connection = connect(fake)
    assert text_of(send(connection, {**CHAT, "model": "who"})) == "who"
    fake.play([Answer(text="other")])
    assert text_of(send(connection)) == "other"
    fake.play(None)
    assert "no model ran" in text_of(send(connection))
    connection.close()


def test_a_scripts_own_exception_reaches_the_test():
    def script(request):
        raise AssertionError(f"did not expect {request.model}")

    with pytest.raises(AssertionError, match="did not expect m"), FakeProvider(script) as fake:
        connection = connect(fake)
        with pytest.raises(http.client.RemoteDisconnected):
            send(connection)
        connection.close()


@pytest.mark.parametrize(
    "reply",
    [Fault(stall_s=60), Fault(stall_after=2), Answer(text="x" * 99, pieces=99, delay_s=0.05)],
)
def test_a_client_that_leaves_is_seen(fake_with, reply):
    fake = fake_with(reply)
    connection = connect(fake)
    connection.request("POST", "/v1/chat/completions", json.dumps({**CHAT, "stream": True}))
    assert waited_for(lambda: fake.requests)
    assert fake.requests[0].finished_s is None
    connection.close()
    assert waited_for(lambda: fake.requests[0].cancelled)
    assert fake.requests[0].finished_s is not None


@pytest.mark.parametrize("fault", [Fault(cut_after=2), Fault(close=True)])
def test_a_cut_of_its_own_is_no_leaving(fake_with, fault):
    fake = fake_with(fault)
    connection = connect(fake)
    with pytest.raises(http.client.HTTPException):
        send(connection, {**CHAT, "stream": True})
    connection.close()
    assert waited_for(lambda: fake.requests[0].finished_s)
    assert not fake.requests[0].cancelled


def test_a_stop_ends_the_answers_under_way(fake_with):
    with FakeProvider([Fault(stall_s=60)]) as fake:
        connection = connect(fake)
        connection.request("POST", "/v1/chat/completions", json.dumps(CHAT))
        assert waited_for(lambda: fake.requests)
    assert fake.requests[0].finished_s is not None and not fake.requests[0].cancelled
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        connection.connect()


async def test_it_runs_on_the_callers_loop():
    async with FakeProvider([Answer(text="x")]) as fake:
        host, _, port = fake.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(CHAT).encode()
        # A body in chunks, for which the client first waits to be told to go on.
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert fake.requests[0].body == CHAT
        writer.close()
        await writer.wait_closed()


def test_two_requests_at_once_are_answered_in_order(fake_with):
    fake = fake_with(Answer(text="a", delay_s=0.05), Answer(text="b"))
    body = json.dumps(CHAT).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(body)
    host, _, port = fake.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(head + b"\r\n" + body + head + b"connection: close\r\n\r\n" + body)
        with client.makefile("rb") as answers:
            data = answers.read()
    assert data.index(b'"content": "a"') < data.index(b'"content": "b"')


@pytest.mark.parametrize(
    ("path", "headers", "marks"),
    [
        ("/v1/nowhere", {}, ["error", "type"]),
        ("/v1/nowhere", {"anthropic-version": "2023-06-01"}, ["request_id"]),
        ("/v1beta/models/m:nothing", {}, ["status"]),
    ],
)
def test_a_wrong_path_is_said_in_the_dialect(fake_with, path, headers, marks):
    connection = connect(fake_with())
    status, body = send(connection, path=path, **headers)
    assert status == 404
    for mark in marks:
        assert f'"{mark}"' in body.decode()
    connection.close()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"messages": 3, "tools": [1]}'])
@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/messages", "/v1beta/models/m:generateContent"]
)
def test_the_assistant_takes_any_body(fake_with, path, body):
    connection = connect(fake_with())
    connection.request("POST", path, body)
    response = connection.getresponse()
    assert response.status == 200 and b"no model ran" in response.read()
    connection.close()


def test_what_is_no_http_is_refused(fake_with):
    host, _, port = fake_with().url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert client.recv(99).startswith(b"HTTP/1.1 400 ")


def test_a_port_that_is_taken_is_an_error(fake_with):
    port = int(fake_with().url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"), FakeProvider(port=port):
        pass


def test_the_command_line(fake_with):
    command = [sys.executable, "-m", "pointsman.testing"]
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "fault-cut" in helped.stdout
    taken = fake_with().url.rpartition(":")[2]
    failed = subprocess.run([*command, "--port", taken], capture_output=True, text=True)
    assert failed.returncode == 2 and taken in failed.stderr
    with subprocess.Popen([*command], stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        host = line.split()[3].removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        assert send(connection)[0] == 200
        connection.close()
        process.terminate()


def test_it_shares_no_code_with_what_it_is_to_test():
    folder = Path(pointsman.testing.__file__).parent
    imported = {
        name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in getattr(node, "names", ())]
        )
        if name.startswith("pointsman")
    }
    assert {name for name in imported if not name.startswith("pointsman.testing")} == set()
    assert len(imported) > 5


def test_the_page_names_every_fault():
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text("utf-8")
    assert [name for name in FAULTS if f"`{name}`" not in page] == []
    fields = Fault.__struct_fields__
    assert [f for f in fields if f"`{f}`" not in page and f"{f}=" not in page] == []
