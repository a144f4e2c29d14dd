"""Ollama's answers: chats, and prompts with and without a template.

A chat goes the way of all chats, so that an Ollama client reaches any ref.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from pointsman._http.transport import Request
from pointsman.dialects._shared import optional, want_boolean, want_object, want_string
from pointsman.dialects.base import AnswerReader
from pointsman.dialects.ollama import Ollama
from pointsman.dialects.ollama.answer import Form, Stopwatch, rfc3339
from pointsman.dialects.ollama.durations import read_keep_alive
from pointsman.dialects.ollama.options import Options, read_options
from pointsman.dialects.ollama.request import ignored_in, read_stream
from pointsman.dialects.ollama.stream import LINES_TYPE
from pointsman.dialects.openai.text import TextForm, write_text
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.gateway.exchange import Exchange
from pointsman.gateway.relay import Asked
from pointsman.gateway.routes.ollama_models import capabilities_of
from pointsman.gateway.routes.ollama_target import (
    Target,
    find_target,
    head_of,
    load,
    name_in,
)
from pointsman.gateway.wire import decode_body
from pointsman.providers.binding import Binding
from pointsman.resolve import Candidate
from pointsman.types import Chat

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["chat", "generate"]

_JSON = msgspec.json.Encoder()
_READER = TextForm()


class _Text:
    """A prompt as it is, or one with what comes after it, to a local model."""

    reader: AnswerReader = _READER

    def __init__(self, prompt: str, suffix: str | None) -> None:
        self._prompt = prompt
        self._suffix = suffix

    def with_clean(self, clean: Callable[[str], str]) -> _Text:
        suffix = None if self._suffix is None else clean(self._suffix)
        return _Text(clean(self._prompt), suffix)

    def request(self, chat: Chat, candidate: Candidate, binding: Binding) -> Request:
        if not candidate.local:
            name = "raw" if self._suffix is None else "suffix"
            raise UnsupportedParameter(name, binding.name, "only a model run here takes it")
        target = binding.target(candidate.model)
        body = _JSON.encode(write_text(chat, target, self._prompt, self._suffix))
        if self._suffix is None:
            return binding.post("/completions", body)
        path = binding.base_path.removesuffix("/v1") + "/infill"
        return Request("POST", binding.origin, path, binding.headers, body)


async def chat(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /api/chat`; without messages the model is loaded, or with `keep_alive` 0 unloaded."""
    watch = Stopwatch(time.time_ns)
    raw = await exchange.body(gateway.max_body_bytes)
    started_s = gateway.begin(exchange)
    body = decode_body(raw)
    name = body["model"] = name_in(body)
    body.pop("name", None)
    target = find_target(gateway, name)
    options = read_options(optional(body, "options", want_object))
    if not body.get("messages"):
        await _load_only(gateway, exchange, body, target, options, watch, "chat")
        return
    await _answer(gateway, exchange, raw, body, target, options, watch, started_s, "chat", None)


async def generate(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /api/generate`; without a prompt the model is loaded, or with `keep_alive` 0 unloaded."""
    watch = Stopwatch(time.time_ns)
    raw = await exchange.body(gateway.max_body_bytes)
    started_s = gateway.begin(exchange)
    body = decode_body(raw)
    name = body["model"] = name_in(body)
    body.pop("name", None)
    target = find_target(gateway, name)
    options = read_options(optional(body, "options", want_object))
    prompt = optional(body, "prompt", want_string) or ""
    if not prompt and not body.get("images"):
        await _load_only(gateway, exchange, body, target, options, watch, "generate")
        return
    text = await _text_of(gateway, body, target, prompt)
    await _answer(gateway, exchange, raw, body, target, options, watch, started_s, "generate", text)


async def _answer(
    gateway: Gateway,
    exchange: Exchange,
    raw: bytes,
    body: dict[str, Any],
    target: Target,
    options: Options,
    watch: Stopwatch,
    started_s: float,
    form: Form,
    text: _Text | None,
) -> None:
    dialect = Ollama(form, watch, local=target.local is not None)
    ignored = ignored_in(body, options)
    asked = Asked(
        dialect,
        raw,
        target.ref,
        stream=read_stream(body),
        path=lambda _model: "",  # No provider speaks it, so that nothing is passed on as it is.
        stream_type=LINES_TYPE,
        own_form=text,
        ignored=(*ignored, *_not_followed(body, options, target)),
    )
    # What is wrong with it is said before a model is loaded for it.
    asked.replace_chat(dialect.read_chat(body))
    if target.local is not None:
        before_s = time.perf_counter()
        await load(gateway, target.local, body, options.num_ctx, watch)
        await _need_thinking(gateway, target.local, body)
        started_s += time.perf_counter() - before_s  # Loading is no overhead of ours.
    else:
        read_keep_alive(body.get("keep_alive"))
    await gateway.relay.answer(exchange, asked, started_s)


def _not_followed(body: dict[str, Any], options: Options, target: Target) -> list[str]:
    """Name what says how a model is run: a larger context is refused, and a smaller one is in it."""
    names = ["options.num_ctx"] if options.num_ctx is not None else []
    if target.local is None and body.get("keep_alive") is not None:
        names.append("keep_alive")
    return names


async def _text_of(
    gateway: Gateway, body: dict[str, Any], target: Target, prompt: str
) -> _Text | None:
    """Give the form of a prompt that no template is applied to; None for one that is a chat."""
    raw = optional(body, "raw", want_boolean) or False
    suffix = optional(body, "suffix", want_string) or None
    if not raw and suffix is None:
        if target.local is None:
            return None
        model = gateway.door.local.store.get(target.local)
        head = await head_of(model)
        if head is None or head.has_chat_template or model.template is not None:
            return None
    for name in ("system", "images", "think"):
        if body.get(name):
            why = "a prompt goes to the model as it is, with 'raw', a 'suffix' or no chat template"
            raise RequestError(f"'{name}' has no place here: {why}", param=name)
    return _Text(prompt, suffix)


async def _need_thinking(gateway: Gateway, name: str, body: dict[str, Any]) -> None:
    """Refuse to think with a model that cannot, as Ollama does.

    Raises:
        RequestError: it was asked for, and the template knows of none.
    """
    if not body.get("think"):
        return
    model = gateway.door.local.store.get(name)
    if model.url is None and "thinking" not in await capabilities_of(model):
        raise RequestError(f'"{body.get("model")}" does not support thinking', param="think")


async def _load_only(
    gateway: Gateway,
    exchange: Exchange,
    body: dict[str, Any],
    target: Target,
    options: Options,
    watch: Stopwatch,
    form: Form,
) -> None:
    keep_s = read_keep_alive(body.get("keep_alive"))
    reason = "unload" if keep_s == 0 else "load"
    if target.local is not None and reason == "unload":
        await gateway.door.local.unload(target.local)
    elif target.local is not None:
        await load(gateway, target.local, body, options.num_ctx, watch)
    answer: dict[str, Any] = {"model": body.get("model"), "created_at": rfc3339(watch.now_ns())}
    if form == "chat":
        answer["message"] = {"role": "assistant", "content": ""}
    else:
        answer["response"] = ""
    await exchange.respond_json(200, answer | {"done": True, "done_reason": reason} | watch.total())
