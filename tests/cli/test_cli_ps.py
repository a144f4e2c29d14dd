"""`pointsman ps` and `rm`, with a gateway that runs and without one."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading

import pytest
from cli_site import Site

from pointsman.gateway.server import running
from pointsman.local.host import store_of
from pointsman.local.manifest import Manifest, note_file

PROCESS = ("state", "leases", "idle_s", "expires_in_s", "context_tokens", "resident_bytes", "pid")


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def add(site, name, *, outside=None):
    """Put a model into the store, its file in the model's folder or at `outside`."""
    store = store_of(site.config())
    folder = store.folder(name)
    folder.mkdir(parents=True)
    path = outside or folder / "model.gguf"
    if outside is None:
        path.write_bytes(site.model().read_bytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = note_file(path, digest, inside=outside is None)
    store.write(Manifest(name, "file:x", "2026-11-24T00:00:00+00:00", (file,)))
    return path


def ps(site):
    done = site.call("ps", "--json")
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


def at(site, url, *more):
    site.write(f"[server]\nport = {url.rpartition(':')[2]}\n", *more)


def test_without_a_gateway_only_the_files_are_known(site):
    site.write("[server]\nport = 0\n")
    path = add(site, "user/tiny:Q8_0")
    row = ps(site)["user/tiny:Q8_0"]
    assert (row["path"], row["bytes"]) == (str(path), path.stat().st_size)
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() and row["verified"]
    assert [row[name] for name in PROCESS] == [None] * len(PROCESS)
    assert "user/tiny:Q8_0" in site.call("ps").stdout


def test_what_runs_in_the_gateway_and_what_goes_with_it(site):
    site.write("[server]\nport = 0\n")
    kept = site.model("kept.gguf", seed=5)
    for name in ("a", "b"):
        add(site, name)
    add(site, "linked", outside=kept)
    with running(site.config()) as gateway:
        at(site, gateway.url)
        assert site.call("run", "a", "hi", "--max-tokens", "2").returncode == 0
        rows = ps(site)
        a = rows["a"]
        assert a["state"] == "ready" and a["leases"] == 0 and a["pid"] > 0
        assert 0 < a["expires_in_s"] <= 300 and a["resident_bytes"] > 1e6
        assert a["context_tokens"] == 2048 and a["predicted_bytes"] > 0
        assert rows["b"]["state"] is None
        assert "idle" in site.call("ps").stdout
        done = site.call("rm", "a", "local:linked")
        assert done.returncode == 0, done.stderr
        assert "a is gone; 1 MiB freed" in done.stdout and f"not ours: {kept}" in done.stdout
        assert kept.exists()
        assert gateway.gateway.door.local.running() == []
        assert list(ps(site)) == ["b"]


def test_rm_touches_nothing_if_one_of_the_names_is_wrong(site):
    site.write("[server]\nport = 0\n", f'[local.models.mine]\npath = "{site.model()}"\n')
    add(site, "a")
    done = site.call("rm", "a", "nope")
    assert done.returncode != 0 and "nope" in done.stderr
    assert set(ps(site)) == {"a", "mine"}
    done = site.call("rm", "mine", "a", "--json")
    assert done.returncode == 1 and "named in the configuration" in done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["kept"]) == ("a", []) and row["bytes"] > 1e6
    assert set(ps(site)) == {"mine"}


def test_a_wrong_key_is_said_and_another_server_is_left_alone(site):
    key = 'admin_key_env = "PK"\n'
    site.env = {"PK": "right"}
    site.write(f"[server]\nport = 0\n{key}")
    add(site, "a")
    with running(site.config()) as gateway:
        at(site, gateway.url, key)
        site.env = {"PK": "wrong"}
        done = site.call("ps", "--json")
        assert "asks for a key" in done.stderr
        assert json.loads(done.stdout)[0]["state"] is None
    seen = []

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers["authorization"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at(site, f"http://127.0.0.1:{server.server_port}", key)
        assert ps(site)["a"]["state"] is None
        server.shutdown()
    assert seen == [("/healthz", None)]  # The key is not shown to whom it does not concern.
