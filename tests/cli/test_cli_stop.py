"""`pointsman stop`: a model is unloaded from the gateway, or it is said why not."""

from __future__ import annotations

import json

import pytest
from cli_site import Site

from pointsman.gateway.server import running


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_stop_unloads_what_runs_and_says_what_does_not(site):
    models = f'[local.models.tiny]\npath = "{site.model()}"\n'
    site.write("[server]\nport = 0\n", models)
    none = site.call("stop", "tiny")
    assert none.returncode == 1 and "no gateway answers" in none.stderr
    with running(site.config()) as gateway:
        site.write(f"[server]\nport = {gateway.url.rpartition(':')[2]}\n", models)
        idle = site.call("stop", "tiny")
        assert idle.returncode == 1 and "'tiny' does not run" in idle.stderr
        assert site.call("run", "tiny", "hi", "--max-tokens", "2").returncode == 0
        assert [each.name for each in gateway.gateway.door.local.running()] == ["tiny"]
        done = site.call("stop", "local:tiny", "--json")
        assert (done.returncode, json.loads(done.stdout)) == (
            0,
            {"name": "local:tiny", "unloaded": True},
        )
        assert gateway.gateway.door.local.running() == []
        unknown = site.call("stop", "nope")
        assert unknown.returncode == 1 and "no local model 'nope'" in unknown.stderr
