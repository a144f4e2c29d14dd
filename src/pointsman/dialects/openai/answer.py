"""OpenAI's whole answer: choices, finish reason, log-probabilities and usage, both ways.

Source: the types of the official client, openai 3.54 (`types/chat/chat_completion.py`,
`types/completion_usage.py`); `reasoning_content` by DeepSeek's, `reasoning` by OpenRouter's and
vLLM's API reference (read 2026-11).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from pointsman.dialects._shared import arguments_text, seal
from pointsman.dialects.base import Target
from pointsman.dialects.openai.error import read_error_body
from pointsman.dialects.openai.parts import signature_of
from pointsman.dialects.openai.turns import REASONING_FIELDS
from pointsman.errors import BadAnswer
from pointsman.types import (
    Choice,
    Completion,
    FinishReason,
    Part,
    Reasoning,
    Refusal,
    Signature,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)

__all__ = [
    "bad",
    "extra_content",
    "mint_call_id",
    "mint_id",
    "read_completion",
    "read_finish",
    "read_logprobs",
    "read_usage",
    "reasoning_of",
    "write_completion",
    "write_logprobs",
    "write_usage",
]

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    # Words of compatible servers.
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "model_length": "length",
    "max_tokens": "length",
}


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


def read_finish(native: str, *, called: bool) -> FinishReason:
    """Give the common reason; `stop` after tool calls, as some servers say, is `tool_calls`."""
    reason = _FINISH.get(native, "stop")
    return "tool_calls" if called and reason == "stop" else reason


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    """Give the usage, None if the answer has none."""
    counts = body.get("usage")
    if not isinstance(counts, Mapping):
        groq = body.get("x_groq")  # Groq's streams carry it here.
        counts = groq.get("usage") if isinstance(groq, Mapping) else None
    if not isinstance(counts, Mapping):
        return None
    prompt = counts.get("prompt_tokens_details")
    completion = counts.get("completion_tokens_details")
    return Usage(
        input_tokens=_count(counts, "prompt_tokens"),
        output_tokens=_count(counts, "completion_tokens"),
        cached_tokens=_count(prompt, "cached_tokens")
        or _count(counts, "prompt_cache_hit_tokens"),  # DeepSeek
        cache_write_tokens=_count(prompt, "cache_write_tokens"),  # OpenRouter
        reasoning_tokens=_count(completion, "reasoning_tokens"),
    )


def _count(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def write_usage(usage: Usage) -> dict[str, Any]:
    """Give OpenAI's counts: the prompt's include the cached, the answer's the reasoning tokens."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            **(
                {"cache_write_tokens": usage.cache_write_tokens} if usage.cache_write_tokens else {}
            ),
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def read_logprobs(value: object) -> tuple[TokenLogprob, ...] | None:
    """Give the log-probabilities of an answer's text; None if it has none."""
    content = value.get("content") if isinstance(value, Mapping) else None
    if not isinstance(content, list):
        return None
    return tuple(_logprob(item) for item in content if isinstance(item, Mapping))


def _logprob(item: Mapping[str, Any]) -> TokenLogprob:
    token, logprob, raw = item.get("token"), item.get("logprob"), item.get("bytes")
    top = item.get("top_logprobs")
    return TokenLogprob(
        token=token if isinstance(token, str) else "",
        logprob=float(logprob) if isinstance(logprob, int | float) else 0.0,
        bytes=tuple(b for b in raw if isinstance(b, int)) if isinstance(raw, list) else None,
        top=tuple(_logprob(each) for each in top if isinstance(each, Mapping))
        if isinstance(top, list)
        else (),
    )


def write_logprobs(logprobs: tuple[TokenLogprob, ...] | None) -> dict[str, Any] | None:
    """Give OpenAI's form of log-probabilities."""
    if logprobs is None:
        return None
    return {"content": [_write_logprob(each) for each in logprobs], "refusal": None}


def _write_logprob(each: TokenLogprob) -> dict[str, Any]:
    raw = list(each.bytes) if each.bytes is not None else None
    body = {"token": each.token, "logprob": each.logprob, "bytes": raw}
    return {**body, "top_logprobs": [_plain_logprob(top) for top in each.top]}


def _plain_logprob(each: TokenLogprob) -> dict[str, Any]:
    raw = list(each.bytes) if each.bytes is not None else None
    return {"token": each.token, "logprob": each.logprob, "bytes": raw}


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
    if not isinstance(choices, list):
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
    )


def _read_choice(item: object, number: int, target: Target) -> Choice:
    message = item.get("message") if isinstance(item, Mapping) else None
    if not isinstance(item, Mapping) or not isinstance(message, Mapping):
        raise bad(target, f"choice {number} has no message")
    parts: list[Part] = []
    thought = reasoning_of(message)
    if thought is not None:
        parts.append(Reasoning(thought[0], Signature(thought[1], target.provider)))
    text = _content_text(message.get("content"))
    signature = signature_of(message, target.provider)
    if text or signature is not None:
        parts.append(Text(text, signature))
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        parts.append(Refusal(refusal))
    calls = _read_calls(message, target)
    parts += calls
    native = item.get("finish_reason")
    native = native if isinstance(native, str) else None
    index = item.get("index")
    return Choice(
        parts=tuple(parts),
        finish_reason=read_finish(native or "", called=bool(calls)),
        index=index if isinstance(index, int) else number,
        native_finish=native,
        logprobs=read_logprobs(item.get("logprobs")),
    )


def _content_text(content: object) -> str:
    """Give the text; some servers (Mistral's thinking models) answer with a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def _read_calls(message: Mapping[str, Any], target: Target) -> list[ToolCall]:
    calls = message.get("tool_calls")
    found: list[ToolCall] = []
    for item in calls if isinstance(calls, list) else ():
        function = item.get("function") if isinstance(item, Mapping) else None
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


def write_completion(completion: Completion) -> dict[str, Any]:
    """Write a whole answer for a client."""
    body: dict[str, Any] = {
        "id": completion.id or mint_id(),
        "object": "chat.completion",
        "created": completion.created or 0,
        "model": completion.model,
        "choices": [_write_choice(choice) for choice in completion.choices],
    }
    if completion.usage is not None:
        body["usage"] = write_usage(completion.usage)
    return body


def _write_choice(choice: Choice) -> dict[str, Any]:
    texts = [part for part in choice.parts if isinstance(part, Text)]
    thoughts = [part.text for part in choice.parts if isinstance(part, Reasoning) and part.text]
    refusals = [part.text for part in choice.parts if isinstance(part, Refusal)]
    calls = [part for part in choice.parts if isinstance(part, ToolCall)]
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
    message |= extra_content(next((p.signature for p in texts if p.signature), None))
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
        "finish_reason": choice.finish_reason,
    }
