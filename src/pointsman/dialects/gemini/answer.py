"""Gemini's answer, both ways: candidates, finish reasons, log-probabilities and usage.

Source: the types of the official client, google-genai 2.34 (`types.py`: Candidate, FinishReason,
LogprobsResult, GenerateContentResponseUsageMetadata).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman.dialects._shared import arguments_object, arguments_text
from pointsman.dialects.base import Target
from pointsman.dialects.gemini.error import read_error_body
from pointsman.dialects.gemini.parts import REDACTED, for_client, join
from pointsman.errors import BadAnswer, ProviderError, RequestError
from pointsman.types import (
    Audio,
    Choice,
    Completion,
    FinishReason,
    Image,
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
    "block_reason",
    "is_whole",
    "mint_id",
    "native_finish",
    "read_completion",
    "read_finish",
    "read_logprobs",
    "read_part",
    "read_usage",
    "write_candidate",
    "write_completion",
    "write_finish",
    "write_logprobs",
    "write_part",
    "write_usage",
]

_FILTERED = frozenset(
    ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
     "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR")
)  # fmt: skip
_FAULTY = frozenset(
    ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
     "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE")
)  # fmt: skip
_ENDED = frozenset(("STOP", "OTHER", "NO_IMAGE", "IMAGE_OTHER"))
# What a part may hold that an answer has no place for here.
_UNREAD = (
    "inlineData", "fileData", "executableCode", "codeExecutionResult", "toolCall", "toolResponse",
)  # fmt: skip


def mint_id() -> str:
    """Give an id for a tool call, which Gemini may leave without one; unique across turns."""
    return f"call_{uuid.uuid4().hex[:24]}"


def bad(target: Target, what: str) -> BadAnswer:
    """Give the error for an answer that breaks the dialect."""
    return BadAnswer(
        f"{target.provider}'s answer for {target.model}: {what}",
        provider=target.provider,
        model=target.model,
    )


def read_finish(native: str, target: Target, *, called: bool) -> FinishReason:
    """Give the common reason. Gemini has none for tools: STOP after a call is `tool_calls`.

    OTHER and unknown words are `stop`; the native word is kept beside it. CONTINUATION is `length`:
    the answer is not whole, and the token to go on with has no place here.

    Raises:
        ProviderError: the model made a call that cannot be used; it may be asked again.
    """
    if native in _FAULTY:
        raise ProviderError(
            f"{target.provider} ended the answer with {native}",
            provider=target.provider,
            model=target.model,
            status=502,
            kind=native,
        )
    if native in ("MAX_TOKENS", "CONTINUATION"):
        return "length"
    if native in _FILTERED:
        return "content_filter"
    return "tool_calls" if called else "stop"


def native_finish(candidate: Mapping[str, Any]) -> str | None:
    """Give a candidate's own word for its end; None where it has not ended."""
    native = candidate.get("finishReason")
    known = isinstance(native, str) and native not in ("", "FINISH_REASON_UNSPECIFIED")
    return native if known else None


def write_finish(reason: FinishReason | None, native: str | None) -> str:
    """Give Gemini's word: the native one where it is Gemini's for this reason, else the nearest."""
    if reason == "length":
        return "MAX_TOKENS"
    if reason == "content_filter":
        return native if native in _FILTERED else "SAFETY"
    return native if native in _ENDED else "STOP"


def block_reason(body: Mapping[str, Any]) -> str | None:
    """Give why the prompt itself was blocked; None if it was not."""
    feedback = body.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, Mapping) else None
    return reason if isinstance(reason, str) and reason else None


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    """Give the usage; thoughts are added to the candidates' tokens."""
    counts = body.get("usageMetadata")
    if not isinstance(counts, Mapping):
        return None
    thoughts = _count(counts, "thoughtsTokenCount")
    return Usage(
        input_tokens=_count(counts, "promptTokenCount") + _count(counts, "toolUsePromptTokenCount"),
        output_tokens=_count(counts, "candidatesTokenCount") + thoughts,
        cached_tokens=_count(counts, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """Give Gemini's counts."""
    counts = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(usage.output_tokens - usage.reasoning_tokens, 0),
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens:
        counts["cachedContentTokenCount"] = usage.cached_tokens
    if usage.reasoning_tokens:
        counts["thoughtsTokenCount"] = usage.reasoning_tokens
    return counts


def read_logprobs(value: object) -> tuple[TokenLogprob, ...] | None:
    """Give the log-probabilities of a candidate; None if it has none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("chosenCandidates"), list):
        return None
    tops = value.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    found = []
    for index, item in enumerate(value["chosenCandidates"]):
        if isinstance(item, Mapping):
            top = _alternatives(tops[index]) if index < len(tops) else ()
            found.append(msgspec.structs.replace(_logprob(item), top=top))
    return tuple(found)


def _alternatives(step: object) -> tuple[TokenLogprob, ...]:
    items = step.get("candidates") if isinstance(step, Mapping) else None
    if not isinstance(items, list):
        return ()
    return tuple(_logprob(item) for item in items if isinstance(item, Mapping))


def _logprob(item: Mapping[str, Any]) -> TokenLogprob:
    token, value = item.get("token"), item.get("logProbability")
    # Zero, which is certain, is left out by proto-JSON; no other odd value is one.
    known = isinstance(value, int | float) and -1e9 < value <= 0
    return TokenLogprob(
        token if isinstance(token, str) else "", float(value or 0) if known else 0.0
    )


def write_logprobs(logprobs: tuple[TokenLogprob, ...]) -> dict[str, Any]:
    """Give a candidate's `logprobsResult`."""

    def plain(each: TokenLogprob) -> dict[str, Any]:
        return {"token": each.token, "logProbability": each.logprob}

    return {
        "chosenCandidates": [plain(each) for each in logprobs],
        "topCandidates": [{"candidates": [plain(t) for t in each.top]} for each in logprobs],
    }


# Read from an upstream


def read_part(part: object, target: Target) -> Part | None:
    """Read a part of an answer; None for what a stream has no chunk for (an image, code that the
    provider ran) and for nothing.

    Raises:
        BadAnswer: a call without a name.
    """
    if not isinstance(part, Mapping):
        return None
    if any(part.get(kind) is not None for kind in _UNREAD):
        return None
    raw = part.get("thoughtSignature")
    signature = Signature(raw, target.provider) if isinstance(raw, str) and raw else None
    call = part.get("functionCall")
    if isinstance(call, Mapping):
        name, identity, args = call.get("name"), call.get("id"), call.get("args")
        if not isinstance(name, str) or not name:
            raise bad(target, "a function call has no name")
        identity = identity if isinstance(identity, str) and identity else mint_id()
        return ToolCall(
            identity, name, arguments_text(args if isinstance(args, Mapping) else None), signature
        )
    text = part.get("text")
    text = text if isinstance(text, str) else ""
    if part.get("thought") is True:
        return Reasoning(text, signature) if text or signature else None
    return Text(text, signature) if text or signature else None


def read_completion(body: Mapping[str, Any], target: Target) -> Completion:
    """Read a whole answer.

    A blocked prompt is an answer without parts that ended in `content_filter`, with the reason as
    its native word; so it is in a stream.

    Raises:
        BadAnswer: it has neither candidates nor a block reason.
        ProviderError: it is an error with a good status, or a call that cannot be used.
    """
    if body.get("error"):
        raise read_error_body(body, target)
    candidates = body.get("candidates")
    blocked = block_reason(body)
    choices: tuple[Choice, ...]
    if isinstance(candidates, list) and candidates:
        choices = tuple(_read_candidate(item, i, target) for i, item in enumerate(candidates))
    elif blocked is not None:
        choices = (Choice((), "content_filter", 0, blocked),)
    else:
        raise bad(target, "it has no 'candidates'")
    identity, model = body.get("responseId"), body.get("modelVersion")
    return Completion(
        id=identity if isinstance(identity, str) else "",
        model=model if isinstance(model, str) and model else target.model,
        choices=choices,
        usage=read_usage(body),
    )


def _read_candidate(item: object, number: int, target: Target) -> Choice:
    if not isinstance(item, Mapping):
        raise bad(target, f"candidate {number} is no object")
    content = item.get("content")
    raw = content.get("parts") if isinstance(content, Mapping) else None
    parts: list[Part] = []
    for each in raw if isinstance(raw, list) else ():
        part = read_part(each, target)
        if part is not None:
            join(parts, part)
    native = native_finish(item)
    index = item.get("index")
    called = any(isinstance(part, ToolCall) for part in parts)
    return Choice(
        parts=tuple(parts),
        finish_reason=read_finish(native or "STOP", target, called=called),
        index=index if isinstance(index, int) else number,
        native_finish=native,
        logprobs=read_logprobs(item.get("logprobsResult")),
    )


# Written for a client


def write_part(part: Part) -> dict[str, Any]:
    """Write a part of an answer; signatures that Gemini did not make are sealed.

    Raises:
        BadAnswer: a call whose arguments are no object, or a part that no answer of Gemini holds.
    """
    match part:
        case ToolCall():
            try:
                args = arguments_object(part.arguments, "arguments")
            except RequestError as error:
                raise BadAnswer(
                    f"the model called '{part.name}' with arguments that are no JSON object",
                    provider="",
                ) from error
            body: dict[str, Any] = {
                "functionCall": {"id": part.id, "name": part.name, "args": args}
            }
            signature = part.signature
        case Reasoning():
            body = {"text": part.text, "thought": True}
            signature = part.signature
            if part.redacted is not None:
                signature = Signature(part.redacted.value, REDACTED + part.redacted.origin)
        case Text():
            body, signature = {"text": part.text}, part.signature
        case Refusal():
            return {"text": part.text}
        case Image(data=str(data)):
            return {"inlineData": {"mimeType": part.media_type or "image/png", "data": data}}
        case Audio():
            return {"inlineData": {"mimeType": f"audio/{part.format}", "data": part.data}}
        case _:
            raise BadAnswer("the answer holds a part that Gemini's form lacks", provider="")
    if signature is not None:
        body["thoughtSignature"] = for_client(signature)
    return body


def is_whole(call: ToolCall) -> bool:
    """Whether the call's arguments are an object; in an answer cut at its limit they may not be."""
    try:
        arguments_object(call.arguments, "arguments")
    except RequestError:
        return False
    return True


def write_candidate(
    parts: list[dict[str, Any]],
    index: int,
    finish: str | None = None,
    logprobs: tuple[TokenLogprob, ...] | None = None,
) -> dict[str, Any]:
    """Write a candidate, whole or one event's.

    Without parts it gets an empty text, as the official client's chats drop a turn in which one
    content is empty; but a filtered answer has no content at all, which drops the turn.
    """
    body: dict[str, Any] = {}
    if parts or finish is None or finish in _ENDED or finish == "MAX_TOKENS":
        body["content"] = {"role": "model", "parts": parts or [{"text": ""}]}
    if finish is not None:
        body["finishReason"] = finish
    body["index"] = index
    if logprobs is not None:
        body["logprobsResult"] = write_logprobs(logprobs)
    return body


def write_completion(completion: Completion) -> dict[str, Any]:
    """Write a whole answer. A call that was cut at the limit is left out: Gemini has none, and its
    clients would carry it out.

    Raises:
        BadAnswer: a call whose arguments are no object.
    """
    body: dict[str, Any] = {
        "candidates": [_candidate_of(choice) for choice in completion.choices],
        "modelVersion": completion.model,
        "responseId": completion.id,
    }
    if completion.usage is not None:
        body["usageMetadata"] = write_usage(completion.usage)
    return body


def _candidate_of(choice: Choice) -> dict[str, Any]:
    cut = choice.finish_reason == "length"
    parts = [
        write_part(part)
        for part in choice.parts
        if not (cut and isinstance(part, ToolCall) and not is_whole(part))
    ]
    finish = write_finish(choice.finish_reason, choice.native_finish)
    return write_candidate(parts, choice.index, finish, choice.logprobs)
