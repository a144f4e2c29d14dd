"""Web pages: those of this machine and those listed may use the gateway, others may change nothing."""

from __future__ import annotations

import pytest

from pointsman.gateway.origins import Origins

HELLO = {"model": "o:m", "messages": [{"role": "user", "content": "hello"}]}
LISTED = '[server]\nallowed_origins = ["https://chat.example.org", "app://*"]\n'
OWN = [
    "http://localhost",
    "http://localhost:3000",
    "https://127.0.0.1:8443",
    "http://127.9.9.9",
    "http://[::1]:5173",
    "http://tauri.localhost",
]
OTHERS = [
    "https://evil.example",
    "https://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://localhost@evil.example",
    "https://chat.example.org.evil.example",
    "http://chat.example.org",
    "http://192.168.0.7:3000",
    "chrome-extension://localhost",
    "file://",
    "null",
    "",
]


@pytest.mark.parametrize("origin", OWN)
def test_pages_of_this_machine_are_let_in(origin):
    assert Origins([]).allow(origin)


@pytest.mark.parametrize("origin", OTHERS)
def test_others_are_not(origin):
    assert not Origins(["https://chat.example.org"]).allow(origin)
    assert Origins(["*"]).allow(origin)


def test_what_is_listed_is_let_in():
    origins = Origins(["https://Chat.example.org/", "app://*", "null"])
    for origin in ("https://chat.example.org", "app://obsidian.md", "null"):
        assert origins.allow(origin)
    assert not origins.allow("apps://obsidian.md")


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/api/delete", "DELETE"),
        ("/api/pull", "POST"),
        ("/api/chat", "POST"),
        ("/v1/chat/completions", "POST"),
        ("/v1/messages", "POST"),
    ],
)
def test_a_strange_page_changes_nothing_on_any_path(make_site, path, method):
    site = make_site()
    reply = site.send(path, HELLO, {"origin": "https://evil.example"}, method)
    assert reply.status == 403
    assert "server.allowed_origins" in str(reply.json)
    assert "access-control-allow-origin" not in reply.headers
    assert site.fake.requests == []


def test_a_strange_page_cannot_read_what_it_asks_for(make_site):
    reply = make_site().send("/api/tags", headers={"origin": "https://evil.example"}, method="GET")
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://chat.example.org", "app://x"])
def test_a_page_that_is_let_in_reads_the_answer(make_site, origin):
    site = make_site(extra=LISTED)
    for path, stream in (("/api/chat", True), ("/v1/chat/completions", True), ("/api/chat", False)):
        reply = site.send(path, {**HELLO, "stream": stream}, {"origin": origin})
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == origin
        assert reply.headers["vary"] == "origin"
    reply = site.send("/api/show", {"model": "nothing"}, {"origin": origin})
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (404, origin)


def test_a_browser_may_ask_first(make_site):
    site = make_site(extra='[server]\nadmin_key_env = "ADMIN_KEY"\n')
    asks = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
        "access-control-request-private-network": "true",
    }
    reply = site.send("/api/chat", None, {"origin": "http://localhost:3000", **asks}, "OPTIONS")
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert reply.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "DELETE" in reply.headers["access-control-allow-methods"]
    assert reply.headers["access-control-allow-private-network"] == "true"
    reply = site.send("/api/chat", None, {"origin": "https://evil.example", **asks}, "OPTIONS")
    assert reply.status == 403
    assert "access-control-allow-origin" not in reply.headers


def test_who_is_no_page_is_not_asked(make_site):
    reply = make_site().send("/v1/chat/completions", HELLO)
    assert reply.status == 200 and "access-control-allow-origin" not in reply.headers
