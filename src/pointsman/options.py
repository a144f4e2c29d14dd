"""What a caller gives to `Client.chat`, and how it becomes a Chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

from msgspec import Struct

from pointsman.dialects import get_dialect
from pointsman.errors import RequestError
from pointsman.types import (
    Chat,
    HostedTool,
    Message,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolChoice,
)

__all__ = ["ChatOptions", "Messages", "build_chat"]

Messages: TypeAlias = str | Sequence[Message | Mapping[str, Any]]
"""A prompt, or messages: typed ones, or dicts in OpenAI's form; both kinds may be mixed."""


class ChatOptions(TypedDict, total=False):
    """The options of `Client.chat`; each is the field of `pointsman.Chat` of the same name.

    Tools, the choice among them and the format of the answer may also be given in OpenAI's JSON
    form. `thinking` may be a word for its effort. `extra` holds parameters of the provider's own by
    their wire names. `quality` sets a route's dial, 0 (cheapest) to 1 (best); `conversation` is an id by
    which a route knows the turns of one conversation, and `tag` a word that its rules look at.
    """

    tools: Sequence[Tool | HostedTool | Mapping[str, Any]]
    tool_choice: ToolChoice | str | Mapping[str, Any]
    parallel_tool_calls: bool
    response_format: ResponseFormat | Mapping[str, Any]
    thinking: Thinking | str
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    frequency_penalty: float
    presence_penalty: float
    seed: int
    stop: str | Sequence[str]
    n: int
    logprobs: bool
    top_logprobs: int
    logit_bias: Mapping[str, float]
    user: str
    extra: Mapping[str, Any]
    quality: float
    conversation: str
    tag: str


_OPTIONS = ChatOptions.__optional_keys__
# For the route alone: no part of the request.
_OF_ROUTES = ("quality", "conversation", "tag")


def build_chat(model: str, messages: Messages, stream: bool, options: Mapping[str, Any]) -> Chat:
    """Give the Chat that a call means.

    Raises:
        RequestError: an option that does not exist, or one of a wrong form.
    """
    for name in options:
        if name not in _OPTIONS:
            raise RequestError(
                f"no such option '{name}'; what only the provider knows goes into extra={{…}}",
                param=name,
            )
    given: dict[str, Any] = {
        name: value
        for name, value in options.items()
        if name not in _OF_ROUTES and value is not None
    }
    for name in ("tools", "stop"):
        if name in given:
            value = given[name]
            given[name] = (value,) if isinstance(value, str) else tuple(value or ())
    if isinstance(given.get("thinking"), str):
        given["thinking"] = Thinking(effort=given["thinking"])
    raw: dict[str, Any] = {}
    if any(not isinstance(tool, Struct) for tool in given.get("tools", ())):
        raw["tools"] = [tool for tool in given["tools"] if not isinstance(tool, Struct)]
        typed = tuple(tool for tool in given["tools"] if isinstance(tool, Struct))
        given["tools"] = (*typed, *_read_openai({"tools": raw["tools"]}).tools)
    for name, kind in (("tool_choice", ToolChoice), ("response_format", ResponseFormat)):
        value = given.get(name)
        if value is not None and not isinstance(value, kind):
            body = {name: value, "tools": _named_tools(given.get("tools", ()))}
            given[name] = getattr(_read_openai(body), name)
    return Chat(model=model, messages=_messages(messages), stream=stream, **given)


def _named_tools(tools: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {"type": "function", "function": {"name": tool.name}}
        for tool in tools
        if isinstance(tool, Tool)
    ]


def _messages(messages: Messages) -> tuple[Message, ...]:
    if isinstance(messages, str):
        return (Message("user", (Text(messages),)),)
    found: list[Message] = []
    for message in messages:
        if isinstance(message, Message):
            found.append(message)
        else:
            found += _read_openai({"messages": [message]}).messages
    return tuple(found)


def _read_openai(part: Mapping[str, Any]) -> Chat:
    base = {"model": "-", "messages": [{"role": "user", "content": "-"}]}
    return get_dialect("openai").read_chat({**base, **part})
