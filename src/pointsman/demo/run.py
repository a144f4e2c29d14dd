"""Runs the demo: the gateway, a small local model, real prompts, and the official client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from pointsman.config import Config, ModelConfig, PriceConfig, ProviderConfig, RouteConfig
from pointsman.demo.prompts import Prompt
from pointsman.demo.report import Row
from pointsman.errors import MissingExtra
from pointsman.gateway.server import Running, running
from pointsman.providers.binding import configured_names
from pointsman.providers.prices import default_models, price_row
from pointsman.testing import FakeProvider
from pointsman.types import ModelCard, Usage

__all__ = ["LOCAL_MODEL", "Strong", "ask_all", "demo_gateway", "strong_side"]

LOCAL_MODEL = "smollm2"
SCRIPTED = "scripted"
# The stand-in costs nothing; it is priced as a real strong model, so that the table shows what the
# same traffic would cost.
PRICED_AS = ("openai", "gpt-6.1-sol")
MAX_TOKENS = 96
DIAL = 0.5


class Strong(Struct, frozen=True):
    """The strong side: its ref, and in words what it is and how it is priced."""

    ref: str
    note: str
    scripted: bool


def strong_side(config: Config) -> Strong:
    """Choose the strong side: the first provider whose key is there, else the scripted one."""
    for provider in configured_names(config):
        models = default_models(provider)
        if models:
            ref = f"{provider}:{models[-1]}"
            note = f"The strong side is {ref}, with your key; the cost above is real."
            return Strong(ref, note, scripted=False)
    ref = f"{PRICED_AS[0]}:{PRICED_AS[1]}"
    note = (
        "The strong side was a scripted stand-in, since no provider's key is set: it answers in its"
        f" place, no model ran, and nothing was paid. It is priced as {ref}."
    )
    return Strong("strong", note, scripted=True)


@contextmanager
def demo_gateway(config: Config, strong: Strong) -> Iterator[Running]:
    """Run a gateway with the route `auto` over the local model and the strong side.

    Raises:
        ConfigError: as `running`.
    """
    config.server.host, config.server.port = "127.0.0.1", 0
    config.server.admin_key_env = None
    config.routes = {
        "auto": RouteConfig(candidates=[f"local:{LOCAL_MODEL}", strong.ref], dial=DIAL)
    }
    if not strong.scripted:
        with running(config) as gateway:
            yield gateway
        return
    with FakeProvider() as fake:
        config.providers[SCRIPTED] = ProviderConfig(base_url=f"{fake.url}/v1", auth="none")
        config.models[strong.ref] = ModelConfig(ref=f"{SCRIPTED}:stand-in", price=_price())
        with running(config) as gateway:
            yield gateway


def _price() -> PriceConfig | None:
    row = price_row(*PRICED_AS)
    return None if row is None else PriceConfig(input=row.input, output=row.output)


def ask_all(
    url: str,
    prompts: Sequence[Prompt],
    card_of: Callable[[str], ModelCard],
    show: Callable[[Row], None],
) -> list[Row]:
    """Send every prompt through `auto` with the official OpenAI client, every other one streamed.

    A stream's cost is not known when its headers are sent: it is worked out from the usage at its
    end and the card of the model that served it.

    Raises:
        MissingExtra: the client is not installed.
    """
    try:
        import openai
    except ImportError as error:
        raise MissingExtra("the demo's client ('openai')", "demo") from error
    rows: list[Row] = []
    with openai.OpenAI(base_url=f"{url}/v1", api_key="not-needed", max_retries=0) as client:
        for number, prompt in enumerate(prompts, 1):
            started = time.perf_counter()
            streamed = number % 2 == 0
            try:
                answer = _ask(client, prompt.prompt, streamed)
            except openai.OpenAIError as error:
                answer = _Answer(headers={}, error=str(error)[:200])
            seconds = time.perf_counter() - started
            row = _row(number, prompt, streamed, answer, seconds, card_of)
            rows.append(row)
            show(row)
    return rows


class _Answer(Struct):
    headers: Any
    text: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None


def _ask(client: Any, prompt: str, streamed: bool) -> _Answer:
    options: dict[str, Any] = {
        "model": "auto",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": MAX_TOKENS,
    }
    if not streamed:
        raw = client.chat.completions.with_raw_response.create(**options)
        whole = raw.parse()
        usage = whole.usage
        text = whole.choices[0].message.content or ""
    else:
        options |= {"stream": True, "stream_options": {"include_usage": True}}
        raw = client.chat.completions.with_raw_response.create(**options)
        pieces: list[str] = []
        usage = None
        for chunk in raw.parse():
            usage = chunk.usage or usage
            pieces += [choice.delta.content or "" for choice in chunk.choices]
        text = "".join(pieces)
    answer = _Answer(headers=raw.headers, text=text)
    if usage is not None:
        answer.input_tokens, answer.output_tokens = usage.prompt_tokens, usage.completion_tokens
    return answer


def _row(
    number: int,
    prompt: Prompt,
    streamed: bool,
    answer: _Answer,
    seconds: float,
    card_of: Callable[[str], ModelCard],
) -> Row:
    headers = answer.headers
    header, overhead = headers.get("x-pointsman-cost-usd"), headers.get("x-pointsman-overhead-ms")
    model = headers.get("x-pointsman-model", "-")
    cost = None if header is None else float(header)
    if cost is None and answer.error is None:
        cost = card_of(model).cost_usd(Usage(answer.input_tokens, answer.output_tokens))
    return Row(
        number=number,
        prompt=prompt.prompt,
        benchmark=prompt.benchmark,
        difficulty=prompt.difficulty,
        model=model,
        why=_why(headers.get("x-pointsman-route", "")),
        streamed=streamed,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        cost_usd=cost,
        seconds=seconds,
        overhead_ms=None if overhead is None else float(overhead),
        text=answer.text,
        error=answer.error,
    )


def _why(header: str) -> str:
    """Give the reason and the probability out of the route's header."""
    fields = dict(
        part.split("=", 1) for part in header.split("; ") if "=" in part and part.count('"') != 1
    )
    reason = header.partition('why="')[2].partition('"')[0]
    return f"p={fields['p']} {reason}" if "p" in fields else reason
