"""What the official clients make of bad input, of a provider that is down and of one too busy."""

from __future__ import annotations

import asyncio
import json
import socket

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from pointsman.config import parse_config
from pointsman.gateway.server import running
from pointsman.testing import Fault

MIB = 1024 * 1024


class ByOpenAI:
    """One question asked with OpenAI's client, and its error's status and words."""

    Error = openai.APIStatusError

    def __init__(self, url):
        self.client = openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0)

    def ask(self, model, text="hi", **fields):
        messages = [{"role": "user", "content": text}]
        answer = self.client.chat.completions.create(model=model, messages=messages, **fields)
        return answer.choices[0].message.content

    def close(self):
        self.client.close()


class ByAnthropic:
    Error = anthropic.APIStatusError

    def __init__(self, url):
        self.client = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)

    def ask(self, model, text="hi", **fields):
        messages = [{"role": "user", "content": text}]
        # This client has dropped the sampling parameters that the provider still reads.
        answer = self.client.messages.create(
            model=model, messages=messages, max_tokens=400, extra_body=fields
        )
        return answer.content[0].text

    def close(self):
        self.client.close()


class ByGoogle:
    Error = errors.APIError

    def __init__(self, url):
        options = types.HttpOptions(base_url=url, timeout=20_000)
        self.client = genai.Client(api_key="any", vertexai=False, http_options=options)

    def ask(self, model, text="hi", **fields):
        config = types.GenerateContentConfig(**fields)
        answer = self.client.models.generate_content(model=model, contents=text, config=config)
        return answer.text

    def close(self):
        self.client.close()


CLIENTS = [ByOpenAI, ByAnthropic, ByGoogle]


def status_of(error):
    return getattr(error, "status_code", None) or error.code


@pytest.fixture(params=CLIENTS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture
def asker(kind, site):
    made = kind(site.url)
    yield made
    made.close()


def test_a_body_over_the_limit(asker, site, upstream):
    with pytest.raises(asker.Error) as caught:
        asker.ask(f"{upstream}:m", "x" * (33 * MIB))
    assert status_of(caught.value) == 413
    assert "max_body_bytes" in str(caught.value)
    assert site.fake.requests == []
    assert asker.ask(f"{upstream}:m")


def test_a_large_body_within_it(asker, site, upstream):
    assert asker.ask(f"{upstream}:m", "größe " * MIB)
    assert json.dumps(site.sent.body, ensure_ascii=False).count("größe ") == MIB


def test_a_provider_that_says_too_large(asker, site, upstream):
    site.fake.play([Fault(status=413, message="a million tokens at most")])
    with pytest.raises(asker.Error, match="a million tokens at most") as caught:
        asker.ask(f"{upstream}:m")
    assert status_of(caught.value) == 413


@pytest.mark.parametrize("temperature", [-3.0, 99.0])
def test_a_value_out_of_range(asker, site, upstream, temperature):
    """Whoever finds it first, the gateway or the provider, names the parameter."""
    site.fake.play([Fault(status=400, message="temperature is out of range")])
    with pytest.raises(asker.Error, match="temperature") as caught:
        asker.ask(f"{upstream}:m", temperature=temperature)
    assert status_of(caught.value) == 400


def test_a_model_without_a_provider(asker, site):
    with pytest.raises(asker.Error, match="nothing-like-it") as caught:
        asker.ask("nothing-like-it:m")
    assert status_of(caught.value) == 404
    assert site.fake.requests == []


@pytest.fixture(scope="module")
def broken_url(tmp_path_factory):
    """A gateway whose one provider listens nowhere, and whose other one has no key."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = parse_config(f"""
[providers.down]
base_url = "http://127.0.0.1:{port}/v1"
auth = "none"
retries = 0
[providers.keyless]
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "NO_SUCH_KEY"
""")
    config.server.port = 0
    config.home = str(tmp_path_factory.mktemp("home"))
    config.secrets = {}
    with running(config) as gateway:
        yield gateway.url


def test_a_provider_that_is_down(kind, broken_url):
    asker = kind(broken_url)
    with pytest.raises(asker.Error, match="down") as caught:
        asker.ask("down:m")
    assert status_of(caught.value) in (502, 503)
    asker.close()


def test_a_key_that_is_missing_is_named(kind, broken_url):
    asker = kind(broken_url)
    with pytest.raises(asker.Error, match="NO_SUCH_KEY") as caught:
        asker.ask("keyless:m")
    assert 400 <= status_of(caught.value) < 600
    asker.close()


async def test_many_at_once_each_get_their_own_answer(site, upstream):
    async with openai.AsyncOpenAI(base_url=site.url + "/v1", api_key="any") as client:

        async def ask(number):
            messages = [{"role": "user", "content": "word " * number}]
            chunks = await client.chat.completions.create(
                model=f"{upstream}:m", messages=messages, stream=True
            )
            text = ""
            async for chunk in chunks:
                text += chunk.choices[0].delta.content or ""
            return text

        texts = await asyncio.gather(*(ask(number) for number in range(1, 41)))
    assert [f"has {number} words" in text for number, text in enumerate(texts, 1)] == [True] * 40
