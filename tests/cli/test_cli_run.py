"""`pointsman run`: once, and in a terminal; by a provider, in this process and by the gateway."""

from __future__ import annotations

import base64
import json
import re
import socket
import stat
import time

import pytest
from cli_site import CTRL_C, CTRL_D, UP, Site

from pointsman.gateway.server import running
from pointsman.testing import Answer, FakeProvider, Fault

SHORT = ("--max-tokens", "4")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def closed_port():
    """A port on which nobody listens while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def provider(fake, port):
    return (
        f'[server]\nport = {port}\n[providers.o]\nbase_url = "{fake.url}/v1"\nauth = "none"\n'
        'retries = 0\n[models.eye]\nref = "o:m"\nabilities = ["vision"]\n'
        '[models.blind]\nref = "o:m"\ncontext = 4096\nabilities = []\n'
    )


def said(request):
    return [(each["role"], each["content"]) for each in request.body["messages"]]


def test_once_with_a_prompt_a_pipe_or_both(site, closed_port):
    with FakeProvider([Answer(text="forty-two", reasoning="hm", output_tokens=2)]) as fake:
        site.write(provider(fake, closed_port))
        done = site.call("run", "o:m", "-s", "Be brief.", "Sum", "this", text="40 2")
        assert (done.returncode, done.stdout, done.stderr) == (0, "forty-two\n", "")
        assert said(fake.requests[0]) == [("system", "Be brief."), ("user", "Sum this\n\n40 2")]
        assert site.call("run", "o:m", text="just this").stdout == "forty-two\n"
        assert said(fake.requests[1]) == [("user", "just this")]
        done = site.call("run", "o:m", "x", "--json")
        value = json.loads(done.stdout)
        assert (value["model"], value["route"], value["text"]) == ("o:m", "direct", "forty-two")
        assert value["usage"]["output_tokens"] == 2 and "cost_usd" in value
        shown = site.call("run", "o:m", "x", "--verbose").stderr
        assert shown.startswith("o:m · prompt ") and "cost unknown" in shown


def test_what_goes_wrong_once(site, closed_port):
    with FakeProvider([Fault(status=500)]) as fake:
        site.write(provider(fake, closed_port))
        done = site.call("run", "o:m", "x")
        assert done.returncode == 1 and "o says" in done.stderr and done.stdout == ""
        assert site.call("run", "o:m").returncode == 2  # Neither a prompt nor a terminal.
        near = site.call("run", "smollm", "x")
        assert near.returncode == 2 and "did you mean 'smollm2'" in near.stderr
        file = site.call("run", "./some/model.gguf", "x")
        assert file.returncode == 2 and "file:./some/model.gguf" in file.stderr


def test_images_of_a_typed_prompt_go_along_and_those_of_a_pipe_do_not(site, closed_port):
    (site.folder / "a cat.png").write_bytes(PNG)
    (site.folder / "no.png").write_text("text")
    with FakeProvider([Answer(text="ok")]) as fake:
        site.write(provider(fake, closed_port))
        done = site.call("run", "eye", "What is in 'a cat.png' and no.png?")
        assert "added a cat.png" in done.stderr and "no.png is no PNG" in done.stderr
        text, image = fake.requests[0].body["messages"][0]["content"]
        assert text["text"] == "What is in  and no.png?"
        url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
        assert image["image_url"]["url"] == url
        site.call("run", "eye", text="What is in 'a cat.png'?")
        assert said(fake.requests[1]) == [("user", "What is in 'a cat.png'?")]
        assert "cannot see" in site.call("run", "blind", "What is in 'a cat.png'?").stderr
        assert said(fake.requests[2]) == [("user", "What is in 'a cat.png'?")]


def test_a_conversation_in_a_terminal(site, closed_port):
    replies = [Answer(text="Good day."), Fault(status=400, message="too odd"), Answer(text="Two.")]
    with FakeProvider(replies) as fake:
        site.write(provider(fake, closed_port))
        with site.terminal("run", "o:m") as term:
            term.line('/set system """Be')
            term.line('kind."""')
            term.expect("the system prompt is set")
            term.line("/set parameter temperature 0.5")
            term.expect("temperature = 0.5")
            term.line("/set parameter num_predict 7")
            term.line("/set parameter stop END 'the end'")
            term.line("/set parameter temprature 1")
            term.expect("did you mean 'temperature'")
            term.line("/set parameter num_ctx 8192")
            term.expect("set 'context' in")
            term.line("/shwo")
            term.expect("did you mean /show")
            term.line("hello")
            term.expect("Good day\\.")
            term.line("odd")
            term.expect("too odd")
            term.line('"""first')
            term.line('second"""')
            term.expect("Two\\.")
            term.line("/show")
            shown = term.expect("Be\r\nkind\\.")
            assert "runs in     this process" in shown
            assert re.search(r"temperature +0\.5", shown) and "END 'the end'" in shown
            term.expect(">>> ")
            term.send(CTRL_D)
            assert term.end() == 0
    first, _, last = fake.requests
    assert said(first) == [("system", "Be\nkind."), ("user", "hello")]
    assert (first.body["temperature"], first.body["stop"]) == (0.5, ["END", "the end"])
    assert 7 in (first.body.get("max_tokens"), first.body.get("max_completion_tokens"))
    # What failed is not said again.
    assert said(last)[1:] == [
        ("user", "hello"), ("assistant", "Good day."), ("user", "first\nsecond"),
    ]  # fmt: skip


def test_ctrl_c_stops_the_answer_and_not_the_program(site, closed_port):
    slow = Answer(text="one two three four", pieces=4, delay_s=20)
    replies = [Fault(pause_after=3, pause_s=60, answer=Answer(text="one two three four")), slow]
    with FakeProvider([*replies, Answer(text="Here.")]) as fake:
        site.write(provider(fake, closed_port))
        with site.terminal("run", "o:m") as term:
            term.line("count")
            term.expect("one")
            term.send(CTRL_C)
            term.line("again")  # Nothing has come of it yet.
            term.expect("⠙")
            term.send(CTRL_C)
            term.expect("stopped")
            term.expect(">>> ")
            term.send("half a thought")
            term.expect("half a thought")
            # A Ctrl-C between the echo and readline's next wait is only seen at the next key, by
            # CPython's own code; nobody types that fast.
            time.sleep(0.3)
            term.send(CTRL_C)
            term.expect("Ctrl-D or /bye ends")
            term.line("still there?")
            term.expect("Here\\.")
            term.line("/bye")
            assert term.end() == 0
    messages = said(fake.requests[2])
    assert [role for role, _ in messages] == ["user", "assistant", "user"]
    assert messages[1][1].startswith("one") and "four" not in messages[1][1]
    assert fake.requests[0].cancelled and fake.requests[1].cancelled


def test_save_clear_and_load(site, closed_port):
    with FakeProvider([Answer(text="Noted.")]) as fake:
        site.write(provider(fake, closed_port))
        with site.terminal("run", "o:m") as term:
            term.line("my name is Ada")
            term.expect("Noted\\.")
            term.line("/set parameter seed 5")
            term.line("/save talk.json")
            term.expect("saved to talk.json")
            term.line("/clear")
            term.line("/load nothing.json")
            term.expect("cannot read nothing.json")
            term.line("who am I?")
            term.expect("Noted\\.")
            term.line("/bye")
            assert term.end() == 0
        with site.terminal("run", "o:other") as term:
            term.line("/load talk.json")
            term.expect("2 messages, held with o:m")
            term.line("who am I?")
            term.expect("Noted\\.")
            term.line("/bye")
            assert term.end() == 0
    assert stat.S_IMODE((site.folder / "talk.json").stat().st_mode) == 0o600
    assert said(fake.requests[1]) == [("user", "who am I?")]
    assert said(fake.requests[2]) == [
        ("user", "my name is Ada"), ("assistant", "Noted."), ("user", "who am I?"),
    ]  # fmt: skip
    assert fake.requests[2].body["seed"] == 5


def test_what_is_typed_is_kept_for_its_owner_alone_or_not_at_all(site, closed_port):
    kept = site.folder / "data" / "run_history"
    with FakeProvider([Answer(text="Yes.")]) as fake:
        site.write(provider(fake, closed_port))
        with site.terminal("run", "o:m", "--no-history") as term:
            term.line("a secret")
            term.expect("Yes\\.")
            term.line("/bye")
            assert term.end() == 0
        assert not kept.exists()
        with site.terminal("run", "o:m") as term:
            term.line("the weather today")
            term.expect("Yes\\.")
            term.line("/set nohistory")
            term.line("not this")
            term.expect("Yes\\.")
            term.line("/bye")
            assert term.end() == 0
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        lines = [json.loads(line) for line in kept.read_text().splitlines()]
        assert lines == ["the weather today", "/set nohistory"]
        with site.terminal("run", "o:m") as term:
            term.expect(">>> ")
            term.send(UP + UP + "\n")
            term.expect("the weather today")
            term.expect("Yes\\.")
            term.line("/bye")
            assert term.end() == 0
    assert said(fake.requests[-1]) == [("user", "the weather today")]


def test_thoughts_are_dim_and_a_models_text_cannot_drive_the_terminal(site, closed_port):
    evil = "a\x1b]0;owned\x07b\x9b2J\rc"
    with FakeProvider([Answer(text=evil, reasoning="let me think")]) as fake:
        site.write(provider(fake, closed_port))
        with site.terminal("run", "o:m", "hi") as term:
            assert term.end() == 0
        assert "\x1b[2mlet" in term.seen
        assert "a␛]0;owned␇b�2J␍c" in term.seen and "\x1b]0" not in term.seen
        with site.terminal("run", "o:m", "hi", TERM="dumb") as term:
            assert term.end() == 0
        assert "let me think" in term.seen and "\x1b" not in term.seen
        with site.terminal("run", "o:m", TERM="dumb") as term:
            term.line("/set think on")
            term.line("hi")
            term.expect("not told to the model: thinking.enabled")
            term.line("/bye")
            assert term.end() == 0
        assert "\x1b" not in term.seen
        with site.terminal("run", "o:m", "hi", NO_COLOR="1") as term:
            assert term.end() == 0
        assert "\x1b[2m" not in term.seen
        # A program that reads a pipe gets the text as it is, and no thoughts.
        assert site.call("run", "o:m", "hi").stdout == evil.replace("\r", "\n") + "\n"


def test_a_model_of_this_machine_runs_in_this_process(site, closed_port):
    site.write(f'[server]\nport = {closed_port}\n[local.models.tiny]\npath = "{site.model()}"\n')
    # A dumb terminal is told at once what is awaited; the moving sign of others comes after a while,
    # in which a small model is loaded.
    with site.terminal("run", "tiny", "--verbose", TERM="dumb") as term:
        term.expect("local:tiny in this process")
        term.line("/set parameter max_tokens 4")
        term.line("/set parameter top_k 1")  # Drawn at random, its end may come first.
        term.line("/set parameter repeat_penalty 1.5")
        term.line("hello")
        assert "loading local:tiny" in term.expect("local:tiny · prompt \\d+ tokens · 4 tokens")
        term.line("and?")
        assert "loading" not in term.expect("local:tiny · prompt \\d+ tokens · 4 tokens.*free")
        term.line("/show info")
        assert "tiny.gguf" in term.expect("source .*")
        term.line("/bye")
        assert term.end() == 0


def test_what_is_not_here_is_pulled_first(site, closed_port):
    site.write(f"[server]\nport = {closed_port}\n")
    path = site.model("small.gguf", seed=3)
    ref = f"file:{path}"
    for _ in range(2):
        done = site.call("run", ref, "hi", "--json", *SHORT)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["model"] == "local:small"
    (row,) = json.loads(site.call("ps", "--json").stdout)
    assert (row["name"], row["source"]) == ("small", ref)


def test_the_gateway_keeps_the_model(site):
    text = f'[local.models.tiny]\npath = "{site.model()}"\n[server]\nadmin_key_env = "PK"\n'
    site.env = {"PK": "let-me-in"}
    site.write(text + "port = 0\n")
    with running(site.config()) as gateway:
        site.write(text + f"port = {gateway.url.rpartition(':')[2]}\n")
        with site.terminal("run", "tiny", "--verbose") as term:
            term.expect(f"local:tiny in {gateway.url}")
            term.line("/set parameter max_tokens 4")
            term.line("/set parameter top_k 1")
            term.line("/set think off")
            term.line("hello")
            term.expect("local:tiny · prompt \\d+ tokens · 4 tokens.*free")
            term.line("/bye")
            assert term.end() == 0
        (row,) = json.loads(site.call("ps", "--json").stdout)
        assert row["state"] == "ready"
        # Another folder's model of that name is not the gateway's.
        site.write(text.replace("tiny.gguf", "other.gguf") + f"port = {gateway.url[-5:]}\n")
        site.model("other.gguf", seed=4)
        done = site.call("run", "tiny", "--json", "x", *SHORT)
        assert "has another model folder" in done.stderr and done.returncode == 0
        site.env = {"PK": "wrong"}
        done = site.call("run", "tiny", "x", *SHORT)
        assert "the model runs in this process" in done.stderr and done.returncode == 0


def test_a_route_by_the_gateway_says_what_served_it(site):
    with FakeProvider([Answer(text="Hi.", input_tokens=1000, output_tokens=1000)]) as fake:
        rows = (
            f'[providers.o]\nbase_url = "{fake.url}/v1"\nauth = "none"\n'
            '[models.big]\nref = "o:m"\nprice = { input = 1.0, output = 2.0 }\n'
            '[routes.mine]\ncandidates = ["big"]\npolicy = "order"\n'
        )
        site.write(rows, "[server]\nport = 0\n")
        with running(site.config()) as gateway:
            site.write(rows, f"[server]\nport = {gateway.url.rpartition(':')[2]}\n")
            done = site.call("run", "mine", "hello", "--json")
            value = json.loads(done.stdout)
            assert (value["model"], value["text"]) == ("big", "Hi.")
            assert value["route"] == "route=mine; policy=order"
            assert value["cost_usd"] == pytest.approx(0.003)
