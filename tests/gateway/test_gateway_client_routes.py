"""The client's routes: the same policies, conversations and tags as the gateway's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from route_reader import Reader, by_likelihood

from pointsman import AsyncClient
from pointsman.config import parse_config
from pointsman.errors import ProviderError, RequestError
from pointsman.testing import Answer, FakeProvider, Fault
from pointsman.types import Finished, TextDelta

SURE = Answer(text="The answer is 42.", logprob=-0.01, pieces=6)
UNSURE = Answer(text="Hmm, it may be 41, 40 or 39.", logprob=-4.0, pieces=6)
STRONG = Answer(text="It is 7.")


class World:
    """What each model answers, by its name."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Fault] = {"cheap": SURE, "dear": STRONG}

    def reply(self, request):
        found = self.answers[request.model]
        if isinstance(found, Fault):
            return found
        return msgspec.structs.replace(found, logprobs=bool(request.body.get("logprobs")))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def fake(world) -> Iterator[FakeProvider]:
    with FakeProvider(world.reply) as found:
        yield found


@pytest.fixture
async def client(fake, monkeypatch):
    monkeypatch.setattr("pointsman.routing.default_classifier", lambda: Reader("sum", -0.5))
    monkeypatch.setattr("pointsman.routing.default_verifier", by_likelihood)
    config = parse_config(f"""
[providers.o]
base_url = "{fake.url}/v1"
auth = "none"
retries = 0
[models.cheap]
ref = "o:cheap"
price = {{ input = 0.1, output = 0.4 }}
[models.dear]
ref = "o:dear"
price = {{ input = 5.0, output = 20.0 }}
[routes.r]
candidates = ["cheap", "dear"]
policy = "cascade"
dial = 0.6
holdback_tokens = 3
[[routes.r.rules]]
when = {{ tag = ["urgent"] }}
candidates = ["dear"]
""")
    async with AsyncClient(config) as found:
        yield found


def asked(fake) -> list[str]:
    return [request.model for request in fake.requests]


async def test_a_cheap_answer_that_will_do_is_given(client, fake):
    answer = await client.chat("r", "The sum?")
    assert (answer.text, answer.ref, answer.attempts) == (SURE.text, "cheap", 1)
    assert answer.completion.choices[0].logprobs is None
    assert answer.request_id
    assert "policy=cascade" in answer.route
    kept = await client.chat("r", "The sum?", logprobs=True)
    assert kept.completion.choices[0].logprobs


async def test_a_poor_one_goes_on_and_is_paid_for(client, fake, world):
    world.answers["cheap"] = UNSURE
    answer = await client.chat("r", "The sum?")
    assert (answer.text, answer.attempts, asked(fake)) == (STRONG.text, 2, ["cheap", "dear"])
    alone = await client.chat("dear", "The sum?")
    assert answer.cost_usd > alone.cost_usd > 0
    assert alone.request_id == ""


async def test_streams_are_held_and_passed_on(client, fake, world):
    for cheap, text in ((SURE, SURE.text), (UNSURE, STRONG.text)):
        world.answers["cheap"] = cheap
        async with await client.chat("r", "The sum?", stream=True) as stream:
            chunks = [chunk async for chunk in stream]
        said = [chunk for chunk in chunks if isinstance(chunk, TextDelta)]
        assert "".join(chunk.text for chunk in said) == text
        assert all(chunk.logprobs is None for chunk in said)
        assert isinstance(chunks[-2], Finished) or isinstance(chunks[-1], Finished)
        assert stream.answer().text == text


async def test_a_stream_that_breaks_later_raises(client, fake, world):
    world.answers["cheap"] = Fault(cut_after=5, answer=msgspec.structs.replace(SURE, logprobs=True))
    stream = await client.chat("r", "The sum?", stream=True)
    with pytest.raises(ProviderError):
        [chunk async for chunk in stream]
    assert asked(fake) == ["cheap"]


async def test_a_tag_is_for_the_rules_and_no_part_of_the_request(client, fake):
    answer = await client.chat("r", "The sum?", tag="urgent", conversation="c1")
    assert answer.ref == "dear"
    assert "rule=1" in answer.route
    assert not {"tag", "conversation"} & set(fake.requests[-1].body)
    with pytest.raises(RequestError, match="no such option 'tags'"):
        await client.chat("r", "The sum?", tags="urgent")


async def test_an_answer_that_nobody_reads_to_its_end_frees_the_route(client, fake):
    stream = await client.chat("r", "The sum?", stream=True)
    await stream.aclose()
    assert (await client.chat("r", "The sum?")).text == SURE.text


async def test_what_is_cancelled_while_it_is_judged_is_closed(client, fake, world):
    world.answers["cheap"] = Fault(stall_after=2, answer=SURE)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.chat("r", "The sum?", stream=True), 0.3)
    for _ in range(100):
        if fake.requests[0].cancelled:
            break
        await asyncio.sleep(0.02)
    assert fake.requests[0].cancelled
