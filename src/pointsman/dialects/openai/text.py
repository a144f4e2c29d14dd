"""A text in place of a chat: llama.cpp's `/v1/completions`, and `/infill` between two texts.

No template is applied: the prompt reaches the model as it is.

Source: tools/server/README.md of llama.cpp, b11434 (`/v1/completions`, `/infill`), and what an
xllamacpp 2026.10 server answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman._sse import Event
from pointsman.dialects.base import Target
from pointsman.dialects.openai.answer import bad, mint_id, read_finish
from pointsman.dialects.openai.error import read_error_body
from pointsman.dialects.openai.llama_cpp import PARAMETERS, read_timings
from pointsman.dialects.openai.logprobs import read_logprobs
from pointsman.dialects.openai.usage import read_usage
from pointsman.errors import StreamCut, UnsupportedParameter
from pointsman.types import (
    Chat,
    Choice,
    Chunk,
    Completion,
    Finished,
    Started,
    Text,
    TextDelta,
    TokenLogprob,
    Usage,
    UsageReported,
)

__all__ = ["TextForm", "write_text"]

_decode = msgspec.json.Decoder().decode


def write_text(chat: Chat, target: Target, prompt: str, suffix: str | None) -> dict[str, Any]:
    """Write the body for a prompt, with the sampling of `chat`; `suffix` makes it an infill.

    Raises:
        UnsupportedParameter: a parameter of `chat` that a text has no place for.
    """
    if suffix is None:
        body: dict[str, Any] = {"model": target.model, "prompt": prompt}
    else:
        body = {"input_prefix": prompt, "input_suffix": suffix, "prompt": ""}
    if chat.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    if chat.logprobs:
        body["n_probs" if suffix is not None else "logprobs"] = max(1, chat.top_logprobs or 0)
    form = chat.response_format
    if form is not None and form.kind != "text":
        body["json_schema"] = form.schema if form.kind == "json_schema" else {"type": "object"}
    for name, value in (
        ("n_predict", chat.max_tokens),
        ("temperature", chat.temperature),
        ("top_p", chat.top_p),
        ("top_k", chat.top_k),
        ("min_p", chat.min_p),
        ("frequency_penalty", chat.frequency_penalty),
        ("presence_penalty", chat.presence_penalty),
        ("seed", chat.seed),
        ("stop", list(chat.stop) or None),
    ):
        if value is not None:
            body[name] = value
    for name, value in chat.extra.items():
        if name not in PARAMETERS:
            raise UnsupportedParameter(name, target.provider)
        body[name] = value
    return body


class TextForm:
    """Reads both answers: their text becomes that of one choice."""

    def read_completion(self, body: Mapping[str, Any], target: Target) -> Completion:
        """Read a whole answer.

        Raises:
            BadAnswer: it is neither form.
            ProviderError: it is an error with a good status.
        """
        if body.get("error"):
            raise read_error_body(body["error"], target)
        piece = _piece(body, target)
        identity, model = body.get("id"), body.get("model")
        return Completion(
            id=identity if isinstance(identity, str) and identity else mint_id(),
            model=model if isinstance(model, str) and model else target.model,
            choices=(
                Choice(
                    (Text(piece.text),) if piece.text else (),
                    read_finish(piece.native, target, called=False),
                    native_finish=piece.native,
                    logprobs=piece.logprobs,
                ),
            ),
            usage=piece.usage,
            timings=read_timings(body),
        )

    def stream_reader(self, target: Target) -> TextReader:
        """Give a reader for one stream."""
        return TextReader(target)


class TextReader:
    """A `StreamReader` for one stream of either form."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._started = False
        self._finished = False

    def read(self, event: Event) -> list[Chunk]:
        """Give the chunks of an event.

        Raises:
            ProviderError: it is an in-band error.
            BadAnswer: it is neither form.
        """
        if event.data == "[DONE]":
            return []
        try:
            body = _decode(event.data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise bad(self._target, f"an event is no JSON: {error}") from error
        if not isinstance(body, dict):
            raise bad(self._target, "an event is no object")
        if body.get("error") or event.event == "error":
            raise read_error_body(body.get("error") or body, self._target)
        piece = _piece(body, self._target)
        out: list[Chunk] = []
        if not self._started:
            self._started = True
            identity = body.get("id")
            out.append(
                Started(identity if isinstance(identity, str) else mint_id(), self._target.model)
            )
        if piece.text or piece.logprobs:
            out.append(TextDelta(piece.text, logprobs=piece.logprobs))
        if piece.native is not None and not self._finished:
            self._finished = True
            reason = read_finish(piece.native, self._target, called=False)
            out.append(Finished(reason, native=piece.native))
        if piece.usage is not None:
            out.append(UsageReported(piece.usage))
        return out

    def finish(self) -> list[Chunk]:
        """Give nothing more.

        Raises:
            StreamCut: the end was not seen.
        """
        if not self._finished:
            raise StreamCut(
                f"{self._target.provider} ended its stream for {self._target.model}"
                " before the answer's end",
                provider=self._target.provider,
                model=self._target.model,
            )
        return []


class _Piece(msgspec.Struct, frozen=True):
    text: str
    native: str | None
    logprobs: tuple[TokenLogprob, ...] | None
    usage: Usage | None


def _piece(body: Mapping[str, Any], target: Target) -> _Piece:
    choices = body.get("choices")
    if isinstance(choices, list):
        first = choices[0] if choices else {}
        if not isinstance(first, Mapping):
            raise bad(target, "its choice is no object")
        text, native = first.get("text"), first.get("finish_reason")
        return _Piece(
            text if isinstance(text, str) else "",
            native if isinstance(native, str) and native else None,
            read_logprobs(first.get("logprobs")),
            read_usage(body),
        )
    text = body.get("content")
    if not isinstance(text, str):
        raise bad(target, "it has neither 'choices' nor 'content'")
    native, usage = None, None
    if body.get("stop") is True:
        native = "length" if body.get("stop_type") == "limit" else "stop"
        usage = Usage(_count(body, "tokens_evaluated"), _count(body, "tokens_predicted"))
    probabilities = body.get("completion_probabilities")
    logprobs = read_logprobs({"content": probabilities}) if probabilities else None
    return _Piece(text, native, logprobs, usage)


def _count(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
