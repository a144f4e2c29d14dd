"""The main paths once more on a real model, pulled from the registry, and a swap under load."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from pointsman.config import parse_config
from pointsman.gateway.server import Running, running
from pointsman.local.gguf import read_head
from pointsman.local.host import store_of
from pointsman.local.planning import EngineSettings, plan_of
from pointsman.local.pull import pull
from pointsman.local.schedule import Memory
from pointsman.local.store import ModelStore

REPO = Path(__file__).parent.parent.parent
SAY = {"role": "user", "content": "Say hello in one short sentence."}


@pytest.fixture(scope="module")
def home() -> Path:
    """A data directory that outlives the run: 93 MB are fetched once for a checkout."""
    return REPO / ".cache" / "test-home"


@pytest.fixture(scope="module")
def site(home: Path, llama_file: Path) -> Iterator[Running]:
    """A gateway with memory for the larger of two models, not for both."""
    config = parse_config(
        "[local]\nthreads = 1\n"
        '[local.models.small]\nref = "smollm2"\ncontext = 2048\n'
        f'[local.models.other]\npath = "{llama_file}"\ncontext = 2048\n'
    )
    config.server.port = 0
    config.home = str(home)
    store = store_of(config)
    pull("smollm2", store)
    needs = [need_bytes(store, name) for name in ("small", "other")]
    config.local.memory_bytes = max(needs) + min(needs) // 2
    with running(config) as gateway:
        yield gateway


def need_bytes(store: ModelStore, name: str) -> int:
    model = store.get(name)
    plan = plan_of(model, read_head(Path(model.path)), EngineSettings(), Memory(2**40))
    return plan.footprint.total_bytes


@pytest.fixture
def client(site: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key="x", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, **fields: Any) -> Any:
    body = {"model": "local:small", "messages": [SAY], "max_tokens": 24, "temperature": 0}
    return client.chat.completions.create(**{**body, **fields})


def test_it_answers_whole_and_streamed_alike(client: openai.OpenAI) -> None:
    whole = ask(client)
    assert whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_a_schema_and_a_grammar_are_kept_to(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green", "blue"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    question = [{"role": "user", "content": "What is the colour of grass?"}]
    whole = ask(client, messages=question, response_format=form, max_tokens=40)
    assert json.loads(whole.choices[0].message.content)["colour"] in ("red", "green", "blue")
    chosen = ask(client, extra_body={"grammar": 'root ::= "yes" | "no"'})
    assert chosen.choices[0].message.content in ("yes", "no")


def test_log_probabilities_are_given(client: openai.OpenAI) -> None:
    whole = ask(client, logprobs=True, top_logprobs=2, max_tokens=3)
    tokens = whole.choices[0].logprobs.content
    assert len(tokens) == 3
    assert all(each.logprob <= 0 and len(each.top_logprobs) == 2 for each in tokens)


def test_a_prompt_too_long_is_refused_with_both_counts(client: openai.OpenAI) -> None:
    long = [{"role": "user", "content": "word " * 3000}]
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, messages=long)
    assert "2048" in str(caught.value) and "30" in str(caught.value)


async def test_two_hundred_alternating_requests_with_memory_for_one(site: Running) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{site.url}/v1", api_key="x", max_retries=0, timeout=120
    ) as client:

        async def one(number: int) -> str:
            name = ("small", "other")[number % 2]
            stream = await client.chat.completions.create(
                model=f"local:{name}",
                messages=[{"role": "user", "content": f"Count from {number}."}],
                max_tokens=3,
                stream=True,
                extra_body={"ignore_eos": True},
            )
            finish = [c.choices[0].finish_reason async for c in stream if c.choices]
            assert finish[-1] == "length", "cut before its end"
            return name

        done = await asyncio.gather(*(one(number) for number in range(200)))
    assert (done.count("small"), done.count("other")) == (100, 100)
    ready = [each.name for each in site.gateway.door.local.running() if each.state == "ready"]
    assert len(ready) == 1, "there was never memory for both"


def test_a_process_killed_in_mid_stream_is_told_and_the_next_request_answered(
    site: Running, client: openai.OpenAI
) -> None:
    stream = ask(client, stream=True, max_tokens=1500, extra_body={"ignore_eos": True})
    next(iter(stream))
    local = site.gateway.door.local
    pid = next(each.pid for each in local.running() if each.name == "small")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(openai.APIError, match="SIGKILL"):
        for _ in stream:
            pass
    assert ask(client).choices[0].message.content
