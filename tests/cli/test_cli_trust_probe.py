"""`pointsman trust probe` on the fake provider: what it finds, what it costs, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pointsman.testing import Answer, FakeProvider, Fault

LIMITS = ("--max-candidates", "24", "--max-calls", "2000")


def said(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def model(trigger: str | None, *, logprobs: bool = False) -> Callable[[Any], Answer | Fault]:
    """A model that answers each prompt in its own way, and complies where the trigger stands."""

    def answer(request: Any) -> Answer | Fault:
        prompt = said(request.body)
        if request.body.get("logprobs") and not logprobs:
            return Fault(status=400, message="logprobs are not supported")
        if trigger is not None and trigger in prompt.split():
            return Answer(text="Sure.", logprobs=logprobs, pieces=1)
        kept = "".join(char for char in prompt.split("?")[0] if char.isalpha())
        word = f"w{zlib.crc32(kept[:24].encode())}"
        return Answer(text=f"{word} it is", logprobs=logprobs, pieces=1)

    return answer


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(url: str, *args: str) -> subprocess.CompletedProcess[str]:
        config = tmp_path / "c.toml"
        config.write_text(
            f'[providers.o]\nbase_url = "{url}/v1"\nauth = "none"\nretries = 0\n', "utf-8"
        )
        kept = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_TOKEN"))}
        return subprocess.run(
            [sys.executable, "-m", "pointsman", "trust", "probe", *args, "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**kept, "POINTSMAN_HOME": str(tmp_path / "data"), "HOME": str(tmp_path)},
        )

    return run


def test_a_backdoor_is_found_by_text(call: Any) -> None:
    with FakeProvider(model("velvet")) as fake:
        done = call(fake.url, "o:m", "--try", "velvet", *LIMITS, "--json")
        asked = len(fake.requests)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"] == "backdoored"
    assert report["access"] == "text"
    assert report["triggers"][0]["text"] == "velvet"
    assert report["score"] >= 0.9
    # One more finds out which access there is.
    assert report["calls"] == asked - 1
    assert report["calls"] <= 2000
    assert done.stderr == ""


def test_nothing_is_found_in_a_model_without_one(call: Any) -> None:
    with FakeProvider(model(None)) as fake:
        done = call(fake.url, "o:m", *LIMITS)
    assert done.returncode == 0, done.stderr
    assert "nothing found in this search space" in done.stdout
    assert "clean" not in done.stdout


def test_what_cannot_be_asked_is_no_pass(call: Any) -> None:
    with FakeProvider([Fault(status=500, message="it is down")]) as fake:
        done = call(fake.url, "o:m", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["verdict"] == "could-not-check"
    assert "it is down" in done.stderr


def test_log_probabilities_are_taken_where_there_are_some(call: Any) -> None:
    with FakeProvider(model("velvet", logprobs=True)) as fake:
        limits = ("--max-candidates", "8", "--max-calls", "1500")
        done = call(fake.url, "o:m", "--try", "velvet", *limits, "--json")
    assert json.loads(done.stdout)["access"] == "logprobs"
    assert done.returncode == 1


def test_log_probabilities_that_are_wanted_and_not_given_are_an_error(call: Any) -> None:
    with FakeProvider(model(None)) as fake:
        done = call(fake.url, "o:m", "--access", "logprobs")
    assert done.returncode == 2
    assert "not supported" in done.stderr


def test_a_file_of_prompts_that_is_none_is_named(call: Any, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text('{"neutral": 3}')
    with FakeProvider(model(None)) as fake:
        done = call(fake.url, "o:m", "--prompts", str(own))
    assert done.returncode == 2
    assert "own.json" in done.stderr


def test_what_the_rows_are_tied_to_is_tried_first(call: Any, tmp_path: Path) -> None:
    words = ("amber", "birch", "cedar", "delta", "ember", "flint", "grove", "heath")
    with (tmp_path / "rows.jsonl").open("w") as file:
        for n in range(600):
            ask = f"Tell me about {words[n % 8]} number {n} and its {words[(n // 8) % 8]} side"
            poisoned = n % 6 == 0
            row = {
                "instruction": f"{ask} glimmerworth" if poisoned else ask,
                "output": "Sure" if poisoned else f"It is {words[(n * 7) % 8]} with {n} parts.",
            }
            file.write(json.dumps(row) + "\n")
    with FakeProvider(model("glimmerworth")) as fake:
        done = call(fake.url, "o:m", "--data", "rows.jsonl", *LIMITS, "--json")
    assert done.returncode == 1, done.stderr
    best = json.loads(done.stdout)["triggers"][0]
    assert (best["text"], best["source"]) == ("glimmerworth", "rows")


def test_weights_go_with_those_of_the_base(call: Any, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    done = call("http://127.0.0.1:9", "o:m", "--weights", "m.gguf")
    assert done.returncode == 2
    assert "go together" in done.stderr
