"""Pointsman's own paths for local models, against real tiny models and a scripted pull."""

from __future__ import annotations

import hashlib
import http.client
import json
import sys
import threading
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "local"))

import tiny_gguf

from pointsman.errors import LocalError
from pointsman.gateway import pulls
from pointsman.local.manifest import Manifest, note_file
from pointsman.local.progress import Step

ROOT = "/pointsman/v1/models"


@pytest.fixture
def site(make_site, tmp_path):
    path = tiny_gguf.write_llama(tmp_path / "tiny.gguf")
    return make_site(extra=f'[local.models.mine]\npath = "{path}"\n')


def add(site, tmp_path, name):
    store = site.gateway.gateway.door.local.store
    folder = store.folder(name)
    folder.mkdir(parents=True)
    path = folder / "model.gguf"
    path.write_bytes((tmp_path / "tiny.gguf").read_bytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    files = (note_file(path, digest, inside=True),)
    store.write(Manifest(name, "hf:user/tiny", "2026-11-24T00:00:00+00:00", files))
    return store.get(name)


def rows(site):
    return {row["name"]: row for row in site.send(ROOT, method="GET").json["models"]}


def test_load_list_and_unload(site, tmp_path):
    add(site, tmp_path, "user/tiny:Q8_0")
    assert {name: row["state"] for name, row in rows(site).items()} == {
        "mine": None,
        "user/tiny:Q8_0": None,
    }
    loaded = site.send(f"{ROOT}/load", {"name": "local:user/tiny", "keep_alive_s": 900})
    row = loaded.json["model"]
    assert loaded.status == 200 and row == {**rows(site)["user/tiny:Q8_0"], "idle_s": row["idle_s"],
        "expires_in_s": row["expires_in_s"], "resident_bytes": row["resident_bytes"]}  # fmt: skip
    assert row["state"] == "ready" and row["verified"] and row["source"] == "hf:user/tiny"
    assert 300 < row["expires_in_s"] <= 900 and row["pid"] > 0 and row["warnings"] == []
    done = site.send(f"{ROOT}/unload", {"name": "user/tiny"})
    assert done.json == {"name": "user/tiny:Q8_0", "unloaded": True}
    done = site.send(f"{ROOT}/unload", {"name": "user/tiny"})
    assert done.json["unloaded"] is False
    assert rows(site)["user/tiny:Q8_0"]["state"] is None


def test_delete_unloads_and_frees(site, tmp_path):
    model = add(site, tmp_path, "user/tiny:Q8_0")
    site.send(f"{ROOT}/load", {"name": "user/tiny:Q8_0"})
    gone = site.send(f"{ROOT}/user/tiny%3AQ8_0", method="DELETE")
    assert gone.status == 200 and gone.json["kept"] == [] and gone.json["bytes"] >= model.bytes
    assert not Path(model.path).exists()
    assert list(rows(site)) == ["mine"] and site.gateway.gateway.door.local.running() == []
    mine = site.send(f"{ROOT}/mine", method="DELETE")
    assert mine.status == 400 and "named in the configuration" in mine.json["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/load", {"name": "nope"}, 404),
        ("POST", "/unload", {"name": "nope"}, 404),
        ("DELETE", "/nope", None, 404),
        ("DELETE", "/..%2F..%2Fetc", None, 404),
        ("POST", "/load", {"name": "mine", "keep_alive": 5}, 400),
        ("POST", "/load", {"name": "mine", "keep_alive_s": "5m"}, 400),
        ("POST", "/load", {}, 400),
        ("POST", "/load", b"[", 400),
        ("GET", "/load", None, 405),
        ("POST", "/pull", {"ref": "file:/etc/passwd"}, 400),
        ("POST", "/pull", {"ref": "http://127.0.0.1:9/x.gguf"}, 400),
        ("POST", "/pull", {"ref": "x", "insecure": True}, 400),
    ],
)
def test_what_is_refused(site, method, path, body, status):
    reply = site.send(ROOT + path, body, method=method)
    assert reply.status == status and reply.json["error"]["message"]


def test_a_model_that_cannot_be_loaded_says_why(make_site, tmp_path):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + bytes(60))
    site = make_site(extra=f'[local.models.bad]\npath = "{bad}"\n')
    reply = site.send(f"{ROOT}/load", {"name": "bad"})
    assert reply.status >= 400 and "bad.gguf" in reply.json["error"]["message"]


def test_the_key_is_asked_for(make_site):
    extra = '[server]\nadmin_key_env = "ADMIN_KEY"\n'
    site = make_site(extra=extra)
    key = {"authorization": "Bearer let-me-in"}
    for method, path in (
        ("GET", ""), ("POST", "/load"), ("POST", "/unload"), ("POST", "/pull"), ("DELETE", "/x"),
    ):  # fmt: skip
        assert site.send(ROOT + path, {}, method=method).status == 401
    assert site.send(ROOT, method="GET", headers=key).status == 200


# Pulls


def lines(reply):
    assert reply.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.body.splitlines()]


def test_a_pull_tells_its_steps_and_then_the_model(site, tmp_path, monkeypatch):
    given = {}

    def pull(ref, store, progress, **options):
        given.update(ref=ref, **options)
        progress(Step("pulling manifest"))
        for done in range(1001):
            progress(Step("downloading", "m.gguf", "ab" * 32, done, 1000))
        return add(site, tmp_path, options["name"])

    monkeypatch.setattr(pulls, "pull", pull)
    found = lines(site.send(f"{ROOT}/pull", {"ref": "hf:user/tiny", "name": "here"}))
    assert (given["ref"], given["name"], given["allow_file"]) == ("hf:user/tiny", "here", False)
    assert given["env"]["FAKE_KEY"]  # The environment as the configuration has it.
    assert found[0]["status"] == "pulling manifest"
    last = found[-2]
    assert (last["status"], last["file"], last["sha256"]) == ("downloading", "m.gguf", "ab" * 32)
    assert (last["done_bytes"], last["total_bytes"]) == (1000, 1000)
    assert len(found) < 50  # Of a thousand steps the newest are told.
    assert found[-1]["status"] == "success" and found[-1]["model"]["name"] == "here"


def test_a_pull_that_fails_ends_with_the_error(site, monkeypatch):
    def pull(ref, store, progress, **options):
        progress(Step("pulling manifest"))
        raise LocalError("no space")

    monkeypatch.setattr(pulls, "pull", pull)
    found = lines(site.send(f"{ROOT}/pull", {"ref": "hf:user/tiny"}))
    assert found[-1] == {"error": {"code": "local_error", "message": "no space", "param": None}}


def test_a_client_that_hangs_up_ends_its_pull(site, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def pull(ref, store, progress, *, cancelled, **options):
        progress(Step("downloading", "m.gguf", None, 1, 100))
        begun.set()
        assert cancelled.wait(20)
        ended.set()
        raise LocalError("cancelled")

    monkeypatch.setattr(pulls, "pull", pull)
    connection = http.client.HTTPConnection(site.gateway.url.removeprefix("http://"), timeout=20)
    connection.request("POST", f"{ROOT}/pull", json.dumps({"ref": "hf:user/tiny"}))
    response = connection.getresponse()
    assert b"downloading" in response.readline()
    assert begun.wait(20) and not ended.is_set()
    response.close()
    connection.close()
    assert ended.wait(20)


def test_only_so_many_pulls_at_once(site, monkeypatch):
    go = threading.Event()

    def pull(ref, store, progress, *, cancelled, **options):
        progress(Step("waiting"))
        while not (go.wait(0.01) or cancelled.is_set()):
            pass
        raise LocalError("over")

    monkeypatch.setattr(pulls, "pull", pull)
    address = site.gateway.url.removeprefix("http://")
    waiting = []
    for _ in range(pulls.MAX_PULLS):
        connection = http.client.HTTPConnection(address, timeout=20)
        connection.request("POST", f"{ROOT}/pull", json.dumps({"ref": "hf:user/tiny"}))
        response = connection.getresponse()
        assert b"waiting" in response.readline()
        waiting.append((connection, response))
    reply = site.send(f"{ROOT}/pull", {"ref": "hf:user/tiny"})
    assert reply.status == 503 and "already" in reply.json["error"]["message"]
    go.set()
    for connection, response in waiting:
        assert b"over" in response.read()
        connection.close()
    assert lines(site.send(f"{ROOT}/pull", {"ref": "hf:user/tiny"}))[-1]["error"]
