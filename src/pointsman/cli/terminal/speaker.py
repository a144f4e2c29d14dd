"""Whom a conversation is held with: a model behind the running gateway, or one in this process."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import Request, Response, Timeouts
from pointsman.cli.gateway_link import GatewayLink
from pointsman.cli.terminal.conversation import Conversation
from pointsman.cli.terminal.parameters import split_options
from pointsman.client import Answer, Client, Stream
from pointsman.config import Config, ProviderConfig, TimeoutsConfig
from pointsman.dialects.openai.llama_cpp import write_thinking
from pointsman.errors import PointsmanError
from pointsman.options import ChatOptions
from pointsman.resolve import Resolver
from pointsman.types import Thinking

__all__ = ["Speaker", "read_thinking"]

GATEWAY = "gateway"


def read_thinking(word: str) -> Thinking:
    """Give what a word for thinking means: `on`, `off`, or an effort."""
    if word in ("on", "off"):
        return Thinking(enabled=word == "on")
    return Thinking(effort=word)


class Speaker:
    """Asks one ref, and knows who served it and what it cost. Close it: it may run a model.

    With `link` it goes through that gateway, where the model stays when this process ends.
    """

    def __init__(
        self, config: Config, ref: str, resolver: Resolver, link: GatewayLink | None
    ) -> None:
        self.ref = ref
        self.url = link.url if link else None
        self._resolver = resolver
        self._heard: _Heard | None = None
        if link is None:
            self._client = Client(config)
        else:
            self._heard = _Heard()
            self._client = Client(_through(link, config), transport=self._heard)

    def open(self, conversation: Conversation) -> Stream:
        """Give the stream of the answer to what was said last.

        Raises:
            PointsmanError: as `Client.chat`.
        """
        options = self.options(conversation)
        ref = self.ref if self._heard is None else f"{GATEWAY}:{self.ref}"
        return self._client.chat(ref, conversation.request(), stream=True, **options)

    def options(self, conversation: Conversation) -> ChatOptions:
        """Give the settings of a conversation as the client takes them.

        What OpenAI's form has no word for goes to the gateway by its own name; it knows whether
        the model can be told.
        """
        known, extra = split_options(conversation.options)
        thinking = read_thinking(conversation.thinking) if conversation.thinking else None
        if self._heard is not None:
            extra |= {name: known.pop(name) for name in ("top_k", "min_p") if name in known}
            if thinking is not None and self.ref.startswith("local:"):
                write_thinking(thinking, extra)
                thinking = None
        options: dict[str, Any] = dict(known)
        if extra:
            options["extra"] = extra
        if thinking is not None:
            options["thinking"] = thinking
        return options  # type: ignore[return-value]  # the names are ChatOptions' own

    def answer(self, stream: Stream) -> Answer:
        """Give an answer as far as it was read, with the ref that served it and its cost."""
        answer = stream.answer()
        if self._heard is None:
            return answer
        headers = self._heard.headers
        served = headers.get("x-pointsman-model", self.ref)
        ignored = (*answer.ignored, *headers.get("x-pointsman-ignored", "").split(", "))
        return msgspec.structs.replace(
            answer,
            ref=served,
            route=headers.get("x-pointsman-route", answer.route),
            cost_usd=self._cost_usd(served, answer),
            ignored=tuple(dict.fromkeys(name for name in ignored if name)),
        )

    def _cost_usd(self, served: str, answer: Answer) -> float | None:
        if answer.usage is None:
            return None
        if served.startswith("local:"):
            return 0.0
        try:
            return self._resolver.candidate(served).card.cost_usd(answer.usage)
        except PointsmanError:
            return None  # The gateway has a provider that this configuration lacks.

    def close(self) -> None:
        """Stop a model of this process, and close every connection."""
        self._client.close()

    def __enter__(self) -> Self:
        """Nothing happens; leaving closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


def _through(link: GatewayLink, config: Config) -> Config:
    """Give a configuration whose one provider is the gateway."""
    key = config.server.admin_key_env
    return Config(
        providers={
            GATEWAY: ProviderConfig(
                base_url=f"{link.url}/v1",
                auth="bearer" if key else "none",
                api_key_env=key,
                # The gateway tries again itself.
                retries=0,
                timeouts=TimeoutsConfig(first_byte_s=3600.0, idle_s=3600.0),
            )
        },
        secrets=config.secrets,
        home=config.home,
    )


class _Heard:
    """Passes requests on, and keeps the headers of the last answer."""

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = {}
        self._inner = H1Transport()

    async def send(self, request: Request, timeouts: Timeouts) -> Response:
        response = await self._inner.send(request, timeouts)
        self.headers = response.headers
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()
