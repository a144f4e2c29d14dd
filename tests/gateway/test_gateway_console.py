"""The console's files, and who gets them; the list of routes that it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import pointsman
from pointsman.gateway.routes.console import POLICY

FOLDER = Path(pointsman.__file__).parent / "console"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
ASSETS = sorted(path.name for path in FOLDER.iterdir() if path.name != "index.html")
MAX_BYTES = 60_000
KEYED = '[server]\nadmin_key_env = "ADMIN_KEY"\n'
ROUTES = """
[routes.r]
candidates = ["o:cheap", "a:dear", "local:gone"]
fallback = ["g:other"]
policy = "cascade"
dial = 0.3
[routes.r.ab]
name = "half"
share = 0.5
dial = 0.9
[routes.budget]
candidates = ["o:cheap", "a:dear"]
spend_usd_per_day = 4.0
[routes.broken]
candidates = ["local:gone"]
"""


def get(site: Any, path: str, accept: str = "*/*", **headers: str) -> Any:
    sent = {"accept": accept, **{name.replace("_", "-"): each for name, each in headers.items()}}
    return site.send(path, headers=sent, method="GET")


def test_a_browser_gets_the_console_at_the_root(make_site):
    reply = get(make_site(), "/", BROWSER)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.body == (FOLDER / "index.html").read_bytes()
    assert "accept" in reply.headers["vary"]


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"accept": "*/*"}, b"Ollama is running"),
        ({"accept": "text/plain"}, b"Ollama is running"),
        ({"accept": "text/html-sandboxed"}, b"Ollama is running"),
        ({"accept": BROWSER, "user-agent": "ollama-python/0.6"}, b"Ollama is running"),
        ({"accept": "application/json"}, b'"name":"pointsman"'),
        ({}, b'"name":"pointsman"'),
    ],
)
def test_others_get_what_they_got_before(make_site, headers, says):
    reply = make_site().send("/", headers=headers, method="GET")
    assert says in reply.body and "content-security-policy" not in reply.headers


def test_each_file_comes_with_the_policy_and_its_type(make_site):
    site = make_site()
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for path in ("/", *(f"/console/{name}" for name in ASSETS)):
        reply = get(site, path, BROWSER)
        assert reply.status == 200, path
        policy = reply.headers["content-security-policy"].encode()
        assert policy == POLICY
        for part in (
            b"default-src 'none'",
            b"script-src 'self'",
            b"style-src 'self'",
            b"connect-src 'self'",
            b"img-src 'self' data:",
            b"frame-ancestors 'none'",
        ):
            assert part in policy.split(b"; ")
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        if path != "/":
            kind = kinds[Path(path).suffix]
            assert reply.headers["content-type"].partition(";")[0] == kind
            assert reply.body == (FOLDER / path.rpartition("/")[2]).read_bytes()


@pytest.mark.parametrize("path", ["/", "/console/app.js"])
def test_a_browser_that_has_a_file_is_told_so(make_site, path):
    site = make_site()
    etag = get(site, path, BROWSER).headers["etag"]
    for given in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        reply = get(site, path, BROWSER, if_none_match=given)
        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["etag"] == etag and "content-type" not in reply.headers
    assert get(site, path, BROWSER, if_none_match='"other"').status == 200
    head = site.send(path, headers={"accept": BROWSER}, method="HEAD")
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", etag)


@pytest.mark.parametrize(
    "path",
    [
        "/console/none.js",
        "/console/index.html",
        "/console/../app.js",
        "/console/%2e%2e/config.py",
        "/console/__init__.py",
        "/console/",
        "/console",
    ],
)
def test_nothing_else_is_given(make_site, path):
    assert get(make_site(), path, BROWSER).status == 404


def test_the_files_need_no_key_and_what_they_ask_for_does(make_site):
    site = make_site(extra=KEYED)
    assert get(site, "/", BROWSER).status == 200
    assert get(site, "/console/app.js").status == 200
    for path in ("/pointsman/v1/routes", "/pointsman/v1/trust", "/metrics"):
        assert get(site, path).status == 401
    assert get(site, "/pointsman/v1/routes", authorization="Bearer let-me-in").status == 200


@pytest.mark.parametrize("verb", ["quarantine", "release", "verify"])
def test_another_pages_button_does_nothing(make_site, verb):
    headers = {"origin": "https://evil.example", "content-type": "text/plain"}
    reply = make_site().send(f"/pointsman/v1/trust/{verb}", {"name": "tiny"}, headers)
    assert reply.status == 403 and reply.headers["x-pointsman-error"] == "origin_refused"


def test_the_files_are_small_and_ask_nobody_else():
    texts = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}
    assert sum(len(text.encode()) for text in texts.values()) < MAX_BYTES
    for name, text in texts.items():
        addresses = re.findall(r"\w+://[^\"' )]+", text)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, name
    page = texts["index.html"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    code = "".join(text for name, text in texts.items() if name.endswith(".js"))
    for sink in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", ".style"):
        assert sink not in code
    assert "localStorage" not in code and "document.cookie" not in code


def test_the_list_of_routes(make_site):
    found = {
        row["name"]: row
        for row in get(make_site(extra=ROUTES), "/pointsman/v1/routes").json["routes"]
    }
    assert list(found) == ["auto", "r", "budget", "broken"]
    row = found["r"]
    assert row["configured"] and row["error"] is None and not row["shadow"]
    assert (row["policy"], row["dial"], row["ab"]) == ("cascade", 0.3, "half")
    assert (row["candidates"], row["fallback"]) == (["o:cheap", "a:dear"], ["g:other"])
    assert row["gone"] == ["local:gone"]
    assert found["budget"]["spend_usd_per_day"] == 4.0
    assert 0.0 <= found["budget"]["dial"] <= 1.0
    assert "local:gone" in found["broken"]["error"] and found["broken"]["candidates"] == []
    assert not found["auto"]["configured"]
