"""OpenAI's whole answer: its choices and their finish reasons, both ways.

Source: the types of the official client, openai 3.54 (`types/chat/chat_completion.py`); `reasoning_content` by DeepSeek's, `reasoning` by OpenRouter's and
vLLM's API reference (read 2026-11).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from pointsman.dialects._shared import arguments_text, data_url, parse_data_url, seal
from pointsman.dialects.base import Target
from pointsman.dialects.openai.error import read_error_body
from pointsman.dialects.openai.llama_cpp import read_timings
from pointsman.dialects.openai.logprobs import read_logprobs, write_logprobs
from pointsman.dialects.openai.parts import signature_of
from pointsman.dialects.openai.turns import REASONING_FIELDS
from pointsman.dialects.openai.usage import read_usage, write_usage
from pointsman.errors import BadAnswer, ProviderError, RequestError, UnsupportedParameter
from pointsman.types import (
    Choice,
    Completion,
    FinishReason,
    Image,
    Part,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
)

__all__ = [
    "bad",
    "content_of",
    "extra_content",
    "mint_call_id",
    "mint_id",
    "read_completion",
    "read_finish",
    "reasoning_of",
    "refuse_audio",
    "write_completion",
]

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    # Words of compatible servers: Together, Mistral, Zhipu, and those that pass on their engine's.
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "model_length": "length",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
}
# An error in the clothes of an answer: OpenRouter and Mistral, DeepSeek, Zhipu.
_FAULTS = {"error": 502, "insufficient_system_resource": 503, "network_error": 502}


def mint_id() -> str:
    """Give an id for an answer whose provider gave none."""
    return f"chatcmpl-{uuid.uuid4().hex}"


def mint_call_id() -> str:
    """Give an id for a tool call whose provider gave none; unique across turns."""
    return f"call_{uuid.uuid4().hex[:24]}"


def bad(target: Target, what: str) -> BadAnswer:
    """Give the error for an answer that breaks the dialect."""
    return BadAnswer(
        f"{target.provider}'s answer for {target.model}: {what}",
        provider=target.provider,
        model=target.model,
    )


def read_finish(native: str | None, target: Target, *, called: bool) -> FinishReason:
    """Give the common reason; `stop` after tool calls, as some servers say, is `tool_calls`.

    A word that is unknown or absent counts as `stop`.

    Raises:
        ProviderError: the word says that the upstream failed.
    """
    if native in _FAULTS:
        raise ProviderError(
            f"{target.provider} broke off its answer for {target.model}: {native}",
            provider=target.provider,
            model=target.model,
            status=_FAULTS[native],
            kind=native,
        )
    reason = _FINISH.get(native or "", "stop")
    return "tool_calls" if called and reason == "stop" else reason


def reasoning_of(message: Mapping[str, Any]) -> tuple[str, str] | None:
    """Give (text, the field it stands in) of the thinking in a message or a delta."""
    for field in REASONING_FIELDS:
        text = message.get(field)
        if isinstance(text, str) and text:
            return text, field
    return None


def extra_content(signature: Signature | None) -> dict[str, Any]:
    """Give the fields that let a client carry a signature it does not know.

    A client that keeps unknown fields (or Google's own helper) sends it back in its place.
    """
    if signature is None:
        return {}
    return {"extra_content": {"google": {"thought_signature": seal(signature)}}}


# Read from an upstream


def read_completion(body: Mapping[str, Any], target: Target) -> Completion:
    """Read a whole answer.

    Raises:
        BadAnswer: it has no choices, or one of a wrong form.
        ProviderError: it is an error with a good status, as some servers send it.
    """
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        if body.get("error"):
            raise read_error_body(body["error"], target)
        raise bad(target, "it has no 'choices'")
    identity, model, created = body.get("id"), body.get("model"), body.get("created")
    return Completion(
        id=identity if isinstance(identity, str) and identity else mint_id(),
        model=model if isinstance(model, str) and model else target.model,
        choices=tuple(_read_choice(item, number, target) for number, item in enumerate(choices)),
        usage=read_usage(body),
        created=int(created) if isinstance(created, int | float) else None,
        timings=read_timings(body),
    )


def _read_choice(item: object, number: int, target: Target) -> Choice:
    message = item.get("message") if isinstance(item, Mapping) else None
    if isinstance(item, Mapping) and item.get("error"):
        raise read_error_body(item["error"], target)
    if not isinstance(item, Mapping) or not isinstance(message, Mapping):
        raise bad(target, f"choice {number} has no message")
    refuse_audio(message, target)
    parts: list[Part] = []
    thought = reasoning_of(message)
    if thought is not None:
        parts.append(Reasoning(thought[0], Signature(thought[1], target.provider)))
    text, thinking = content_of(message.get("content"))
    if thinking:
        parts.append(Reasoning(thinking))
    signature = signature_of(message, target.provider)
    if text or signature is not None:
        parts.append(Text(text, signature))
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        parts.append(Refusal(refusal))
    parts += _read_images(message.get("images"), target)
    calls = _read_calls(message, target)
    parts += calls
    native = item.get("finish_reason")
    native = native if isinstance(native, str) else None
    index = item.get("index")
    return Choice(
        parts=tuple(parts),
        finish_reason=read_finish(native, target, called=bool(calls)),
        index=index if isinstance(index, int) else number,
        native_finish=native,
        logprobs=read_logprobs(item.get("logprobs")),
    )


def content_of(content: object) -> tuple[str, str]:
    """Give (text, thinking) of an answer's content, a string or a list of parts.

    Lists are Mistral's: its thinking models answer so, with `thinking` parts before the text.
    """
    if isinstance(content, str):
        return content, ""
    text = thinking = ""
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, Mapping):
            continue
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            thinking += inner if isinstance(inner, str) else content_of(inner)[0]
        elif isinstance(part.get("text"), str):
            text += part["text"]
    return text, thinking


def refuse_audio(message: Mapping[str, Any], target: Target) -> None:
    """Do nothing, unless the message speaks.

    Raises:
        BadAnswer: it holds sound, which only a client of the same dialect can be given.
    """
    if message.get("audio"):
        raise bad(target, "it holds audio, which cannot be translated; ask for text only")


def _read_images(images: object, target: Target) -> list[Part]:
    """Read the images of an answer, as OpenRouter and servers after its manner give them."""
    found: list[Part] = []
    for item in images if isinstance(images, list) else ():
        image = item.get("image_url") if isinstance(item, Mapping) else None
        url = image.get("url") if isinstance(image, Mapping) else None
        if not isinstance(url, str):
            raise bad(target, "an image has no URL")
        try:
            data = parse_data_url(url, "images")
        except RequestError as error:
            raise bad(target, error.message) from error
        found.append(Image(url=url) if data is None else Image(data[0] or "image/png", data[1]))
    return found


def _read_calls(message: Mapping[str, Any], target: Target) -> list[ToolCall]:
    calls = message.get("tool_calls")
    found: list[ToolCall] = []
    for item in calls if isinstance(calls, list) else ():
        function = item.get("function") if isinstance(item, Mapping) else None
        # A call of a custom tool has no function; only its own dialect can say it.
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(name, str):
            raise bad(target, "a tool call has no function name")
        identity = item.get("id")
        found.append(
            ToolCall(
                id=identity if isinstance(identity, str) and identity else mint_call_id(),
                name=name,
                arguments=_arguments(function.get("arguments")),
                signature=signature_of(item, target.provider),
            )
        )
    legacy = message.get("function_call")
    if isinstance(legacy, Mapping) and isinstance(legacy.get("name"), str) and not found:
        arguments = _arguments(legacy.get("arguments"))
        found.append(ToolCall(mint_call_id(), legacy["name"], arguments))
    return found


def _arguments(value: object) -> str:
    if isinstance(value, str):
        return value if value.strip() else "{}"
    return arguments_text(value)


# Written for a client


def write_completion(completion: Completion, clock: Callable[[], float]) -> dict[str, Any]:
    """Write a whole answer for a client; `clock` dates one whose provider did not.

    Raises:
        UnsupportedParameter: a part that such an answer cannot hold.
    """
    created = completion.created
    body: dict[str, Any] = {
        "id": completion.id or mint_id(),
        "object": "chat.completion",
        "created": int(clock()) if created is None else created,
        "model": completion.model,
        "choices": [_write_choice(choice) for choice in completion.choices],
    }
    if completion.usage is not None:
        body["usage"] = write_usage(completion.usage)
    return body


def _write_choice(choice: Choice) -> dict[str, Any]:
    for part in choice.parts:
        if not isinstance(part, Text | Reasoning | Refusal | Image | ToolCall):
            kind = type(part).__name__.lower()
            raise UnsupportedParameter(kind, "an OpenAI client", "an answer cannot hold it")
    texts = [part for part in choice.parts if isinstance(part, Text)]
    thoughts = [part.text for part in choice.parts if isinstance(part, Reasoning) and part.text]
    refusals = [part.text for part in choice.parts if isinstance(part, Refusal)]
    calls = [part for part in choice.parts if isinstance(part, ToolCall)]
    images = [_write_image(part) for part in choice.parts if isinstance(part, Image)]
    content: str | None = "".join(part.text for part in texts)
    if not texts and (calls or refusals):
        content = None
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content,
        "refusal": "".join(refusals) if refusals else None,
    }
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    message |= extra_content(next((p.signature for p in reversed(texts) if p.signature), None))
    if images:
        message["images"] = images
    if calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
                **extra_content(call.signature),
            }
            for call in calls
        ]
    return {
        "index": choice.index,
        "message": message,
        "logprobs": write_logprobs(choice.logprobs),
        # OpenAI has no answer without a reason.
        "finish_reason": choice.finish_reason or ("tool_calls" if calls else "stop"),
    }


def _write_image(image: Image) -> dict[str, Any]:
    """Write an image as OpenRouter does; OpenAI's own chat answers hold none."""
    url = image.url or data_url(image.media_type or "image/png", image.data or "")
    return {"type": "image_url", "image_url": {"url": url}}
