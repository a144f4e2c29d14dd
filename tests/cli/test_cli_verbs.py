"""The command line as a user has it: a process of its own, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from pointsman.testing import Answer, FakeProvider, Fault


@pytest.fixture
def run(tmp_path):
    """Gives a function (arguments, stdin) → completed process, in an empty home and folder."""

    def call(*args, text="", env=None, timeout=30):
        return subprocess.run(
            [sys.executable, "-m", "pointsman", *args],
            input=text, capture_output=True, text=True, timeout=timeout, cwd=tmp_path,
            env=environment(tmp_path, env),
        )  # fmt: skip

    return call


def environment(home, extra=None):
    kept = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_TOKEN"))}
    return {**kept, "POINTSMAN_HOME": str(home / "data"), "HOME": str(home), **(extra or {})}


def config_at(folder, url):
    path = folder / "c.toml"
    path.write_text(f'[providers.o]\nbase_url = "{url}/v1"\nauth = "none"\nretries = 0\n')
    return str(path)


def test_version(run):
    done = run("version", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["version"]


def test_help_lists_every_verb_and_a_wrong_one_gets_the_nearest(run):
    listed = run("--help").stdout
    for verb in (
        "serve",
        "ask",
        "providers",
        "models",
        "pull",
        "doctor",
        "version",
        "demo",
        "route",
    ):
        assert f"  {verb} " in listed
    done = run("sevre")
    assert done.returncode == 2
    assert "serve" in done.stderr


def test_ask_prints_the_answer_and_appends_stdin(run, tmp_path):
    with FakeProvider([Answer(text="forty-two", input_tokens=3, output_tokens=2)]) as fake:
        config = config_at(tmp_path, fake.url)
        done = run(
            "ask", "-m", "o:m", "-s", "Be brief.", "Sum this", "--config", config, text="40 2"
        )
        assert (done.returncode, done.stdout) == (0, "forty-two\n")
        messages = fake.requests[0].body["messages"]
        assert messages[0] == {"role": "system", "content": "Be brief."}
        assert messages[1]["content"] == "Sum this\n\n40 2"
        done = run("ask", "-m", "o:m", "x", "--config", config, "--json")
    value = json.loads(done.stdout)
    assert value["model"] == "o:m" and value["text"] == "forty-two" and value["route"] == "direct"
    assert value["usage"]["output_tokens"] == 2
    assert "cost_usd" in value


def test_a_failed_request_is_1_and_bad_usage_is_2(run, tmp_path):
    with FakeProvider([Fault(status=500)]) as fake:
        config = config_at(tmp_path, fake.url)
        done = run("ask", "-m", "o:m", "x", "--config", config)
        assert done.returncode == 1 and "o says" in done.stderr
        assert "Traceback" not in done.stderr
        done = run("ask", "-m", "o:m", "x", "--config", config, "--json")
        assert json.loads(done.stdout)["error"]["code"] == "provider_error"
    assert run("ask").returncode == 2
    assert run("ask", "-m", "nope", "x").returncode == 2
    bad = tmp_path / "bad.toml"
    bad.write_text("[servr]\n")
    done = run("ask", "x", "--config", str(bad))
    assert done.returncode == 2 and "did you mean 'server'" in done.stderr


def test_providers_and_models(run, tmp_path):
    with FakeProvider() as fake:
        config = config_at(tmp_path, fake.url)
        rows = json.loads(run("providers", "--json", "--config", config).stdout)
        assert len(rows) > 45
        mine = next(row for row in rows if row["name"] == "o")
        assert mine["configured"] and mine["base_url"].startswith(fake.url)
        openai = next(row for row in rows if row["name"] == "openai")
        assert not openai["configured"] and openai["needs"] == "OPENAI_API_KEY"
        assert "o " in run("providers", "--config", config).stdout
        listed = json.loads(run("models", "o", "--json", "--config", config).stdout)
        assert [row["ref"] for row in listed] == ["o:fake-1", "o:fake-embedding"]


def test_local_models_that_are_not_there(run):
    assert json.loads(run("ps", "--json").stdout) == []
    assert "pointsman pull smollm2" in run("ps").stdout
    done = run("pull", "smollm")
    assert done.returncode == 1 and "did you mean 'smollm2'" in done.stderr
    assert run("rm", "nothing").returncode == 2


def test_doctor_names_what_is_wrong(run, tmp_path):
    done = run("doctor", "--offline", "--json")
    assert done.returncode == 0
    assert {"version", "configuration", "providers"} <= {c["name"] for c in json.loads(done.stdout)}
    with FakeProvider() as fake:
        good = run("doctor", "--config", config_at(tmp_path, fake.url))
        assert good.returncode == 0 and "provider o: 2 models" in good.stdout
    gone = run("doctor", "--config", config_at(tmp_path, "http://127.0.0.1:9"))
    assert gone.returncode == 1 and "FAIL  provider o" in gone.stdout


def test_serve_says_where_it_listens_answers_and_stops(tmp_path):
    with FakeProvider([Answer(text="hi")]) as fake:
        config = config_at(tmp_path, fake.url)
        process = subprocess.Popen(
            [sys.executable, "-m", "pointsman", "serve", "--port", "0", "--json", "--config", config],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            env=environment(tmp_path),
        )  # fmt: skip
        try:
            event = json.loads(process.stdout.readline())
            assert event["event"] == "listening"
            body = json.dumps({"model": "o:m", "messages": [{"role": "user", "content": "x"}]})
            request = urllib.request.Request(
                event["url"] + "/v1/chat/completions", body.encode(), method="POST"
            )
            with urllib.request.urlopen(request, timeout=10) as reply:
                assert json.loads(reply.read())["choices"][0]["message"]["content"] == "hi"
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=15)
    assert process.returncode in (0, -signal.SIGTERM)
    assert out == ""
    assert err == ""


def test_serve_refuses_an_address_that_is_taken_or_open(run, tmp_path):
    with FakeProvider() as fake:
        port = fake.url.rpartition(":")[2]
        done = run("serve", "--port", port)
        assert done.returncode == 2 and "--port" in done.stderr
    done = run("serve", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2 and "admin_key_env" in done.stderr
