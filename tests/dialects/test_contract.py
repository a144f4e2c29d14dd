"""What every dialect promises, in one suite for all.

1. A request that a dialect writes, it reads back as the same chat.
2. An answer that it writes, it reads back as the same answer.
3. A stream and a whole answer are the same values, within a dialect and across any two.
4. A stream that is cut never looks complete, and an error inside it is raised.
5. An error keeps its status and its words, and no key is in any of them.
"""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman._sse import Event, Parser
from pointsman._stream import accumulate, explode
from pointsman.dialects import NAMES, get_dialect
from pointsman.dialects.base import Dialect, Target
from pointsman.errors import ConfigError, ProviderError, RequestError, StreamCut
from pointsman.types import (
    Chat,
    Choice,
    Completion,
    File,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Signature,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)

MODEL = "model-1"
TARGET = Target("acme", MODEL)
ALL = ["openai", "anthropic", "gemini"]
PAIRS = list(itertools.product(ALL, ALL))
PAIRS_APART = list(itertools.permutations(ALL, 2))
every_dialect = pytest.mark.parametrize("name", ALL)


def on_the_wire(body):
    """The body as the other side gets it."""
    return msgspec.json.decode(msgspec.json.encode(body))


# 0. The lookup


def test_the_suite_runs_over_every_dialect():
    assert sorted(NAMES) == sorted(ALL)


@every_dialect
def test_a_dialect_is_found_by_its_name(name):
    dialect = get_dialect(name)
    assert dialect.name == name
    assert get_dialect(name) is dialect


def test_an_unknown_dialect_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'anthropic'"):
        get_dialect("antropic")
    with pytest.raises(ConfigError, match="openai, anthropic, gemini"):
        get_dialect("smoke signals")


# 1. Requests

USER = Message("user", (Text("What is in Bern?"),))
WEATHER = Tool(
    "weather",
    "The weather at a place.",
    {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
)
TIME = Tool("time", "The time at a place.", {"type": "object", "properties": {}})
# Results are the JSON text of an object, since that is all that Gemini's form holds; a plain text
# is wrapped there.
TURNS = (
    USER,
    Message(
        "assistant",
        (
            Text("I will look."),
            ToolCall("call_a", "weather", '{"place":"Bern"}'),
            ToolCall("call_b", "time"),
        ),
    ),
    Message(
        "tool",
        (
            ToolResult("call_a", (Text('{"sky":"sun"}'),), "weather"),
            ToolResult("call_b", (Text('{"hour":12}'),), "time"),
        ),
    ),
    Message("assistant", (Text("Sun at noon."),)),
    Message("user", (Text("And tomorrow?"),)),
)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CHATS: dict[str, dict] = {
    "text": {"messages": (USER,)},
    "system": {"messages": (Message("system", (Text("Be brief."),)), USER)},
    "sampling": {
        "messages": (USER,),
        "max_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ("END", "STOP"),
    },
    "stream": {"messages": (USER,), "stream": True},
    "tools over several turns": {"messages": TURNS, "tools": (WEATHER, TIME)},
    "image": {
        "messages": (Message("user", (Text("What is it?"), Image("image/png", "iVBORw0KGgo="))),)
    },
    "document": {
        "messages": (
            Message("user", (Text("Sum up."), File("a.pdf", "application/pdf", "JVBERi0="))),
        )
    },
    "json schema": {
        "messages": (USER,),
        "response_format": ResponseFormat("json_schema", SCHEMA),
    },
    **{
        f"tool choice {choice.mode} {len(choice.names)}": {
            "messages": (USER,),
            "tools": (WEATHER, TIME),
            "tool_choice": choice,
        }
        for choice in (
            ToolChoice("auto"),
            ToolChoice("none"),
            ToolChoice("required"),
            ToolChoice("required", ("time",)),
        )
    },
}


def without_file_names(message: Message) -> Message:
    parts = tuple(
        msgspec.structs.replace(part, name=None) if isinstance(part, File) else part
        for part in message.parts
    )
    return msgspec.structs.replace(message, parts=parts)


def as_read_back(chat: Chat) -> Chat:
    """The chat as its own dialect reads it back: what each form must add is added here."""
    changes: dict = {}
    if chat.dialect == "openai":
        # The usage of a stream is always asked for; of a whole answer there is nothing to ask.
        changes["include_usage"] = chat.stream
        if chat.response_format is not None:
            # OpenAI requires a name for a schema.
            changes["response_format"] = msgspec.structs.replace(
                chat.response_format, name="response"
            )
    if chat.dialect == "anthropic" and chat.max_tokens is None:
        # Anthropic requires a limit.
        changes["max_tokens"] = 8192
    if chat.dialect == "gemini":
        # Gemini's inline data has no name.
        changes["messages"] = tuple(map(without_file_names, chat.messages))
    return msgspec.structs.replace(chat, **changes)


def written_and_read(chat: Chat) -> Chat:
    dialect = get_dialect(chat.dialect)
    call = dialect.write_chat(chat, TARGET)
    # Gemini's inline data has no name: what is lost is said.
    nameless = tuple(map(without_file_names, chat.messages)) == chat.messages
    assert call.ignored == (() if nameless or chat.dialect != "gemini" else ("filename",))
    # Where the wire has the model and the stream in the URL, the caller puts them in.
    return dialect.read_chat({"model": MODEL, "stream": chat.stream, **on_the_wire(call.body)})


@every_dialect
@pytest.mark.parametrize("case", CHATS)
def test_a_request_is_read_back_as_it_was_written(name, case):
    chat = Chat(model=MODEL, dialect=name, **CHATS[case])
    assert written_and_read(chat) == as_read_back(chat)


SIGNED = {
    # OpenAI's form signs nothing itself; servers after it want thinking back by its field.
    "openai": Reasoning("Hm.", Signature("reasoning_content", "acme")),
    "anthropic": Reasoning("Hm.", Signature("c2ln", "acme")),
    "gemini": Reasoning("Hm.", Signature("c2ln", "acme")),
}


def values_in(body) -> list:
    if isinstance(body, dict):
        return [leaf for value in body.values() for leaf in values_in(value)]
    if isinstance(body, list):
        return [leaf for value in body for leaf in values_in(value)]
    return [body]


@every_dialect
def test_signed_thinking_goes_to_its_maker_and_to_no_other(name):
    call = ToolCall("call_a", "weather", '{"place":"Bern"}')
    result = Message("tool", (ToolResult("call_a", (Text("Sun."),), "weather"),))

    def sent(part):
        chat = Chat(
            model=MODEL,
            dialect=name,
            messages=(USER, Message("assistant", (part, call)), result),
            tools=(WEATHER,),
        )
        return values_in(on_the_wire(get_dialect(name).write_chat(chat, TARGET).body))

    part = SIGNED[name]
    assert "Hm." in sent(part)
    if name != "openai":
        assert part.signature.value in sent(part)
    foreign = Reasoning("Hm.", Signature("Zm9yZWlnbg==", "another"))
    assert "Hm." not in sent(foreign)
    assert "Zm9yZWlnbg==" not in sent(foreign)


@every_dialect
def test_an_error_of_a_tool_is_not_lost(name):
    results = [
        Message("tool", (ToolResult("call_a", (Text("Sun."),), "weather", is_error=is_error),))
        for is_error in (False, True)
    ]
    bodies = [
        get_dialect(name)
        .write_chat(
            Chat(
                model=MODEL,
                dialect=name,
                messages=(USER, Message("assistant", (ToolCall("call_a", "weather"),)), result),
            ),
            TARGET,
        )
        .body
        for result in results
    ]
    assert bodies[0] != bodies[1]


@every_dialect
@pytest.mark.parametrize("body", [{}, {"model": MODEL}, {"model": MODEL, "messages": 5}])
def test_a_request_without_its_messages_names_what_is_missing(name, body):
    with pytest.raises(RequestError) as raised:
        get_dialect(name).read_chat(body)
    assert raised.value.param


@pytest.mark.parametrize(("client", "upstream"), PAIRS_APART)
def test_what_only_the_clients_dialect_knows_is_refused_by_its_name(client, upstream):
    chat = Chat(model=MODEL, dialect=client, messages=(USER,), extra={"frobnicate": True})
    with pytest.raises(RequestError) as raised:
        get_dialect(upstream).write_chat(chat, TARGET)
    assert raised.value.param == "frobnicate"


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_chat_of_any_dialect_is_said_in_any_other(client, upstream):
    chat = Chat(model=MODEL, dialect=client, messages=TURNS, tools=(WEATHER, TIME), max_tokens=9)
    first = written_and_read(chat)
    call = get_dialect(upstream).write_chat(first, TARGET)
    again = get_dialect(upstream).read_chat({"model": MODEL, **on_the_wire(call.body)})
    assert again.messages == chat.messages
    assert again.tools == chat.tools


# 2 and 3. Answers, whole and streamed

ARGUMENTS = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.integers() | st.text(max_size=5), max_size=3
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20)


@st.composite
def completions(draw) -> Completion:
    """An answer that every dialect can give: thoughts, then text, then calls."""
    parts: list = []
    if draw(st.booleans()):
        parts.append(Reasoning(draw(TEXTS)))
    if draw(st.booleans()):
        parts.append(Text(draw(TEXTS)))
    calls = draw(st.lists(ARGUMENTS, max_size=3))
    parts += [
        ToolCall(f"call_{number}", f"tool_{number}", msgspec.json.encode(arguments).decode())
        for number, arguments in enumerate(calls)
    ]
    if not parts:
        parts.append(Text("A"))
    reason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    cached, fresh, thoughts, said = (draw(st.integers(0, 50)) for _ in range(4))
    return Completion(
        id="answer-1",
        model=MODEL,
        created=1_700_000_000,
        choices=(Choice(tuple(parts), reason),),
        usage=Usage(
            input_tokens=cached + fresh,
            output_tokens=thoughts + said,
            cached_tokens=cached,
            reasoning_tokens=thoughts,
        ),
    )


def client_of(name: str) -> Chat:
    return Chat(model=MODEL, messages=(USER,), dialect=name, include_usage=True, stream=True)


def whole(dialect: Dialect, completion: Completion) -> Completion:
    body = on_the_wire(dialect.write_completion(completion, client_of(dialect.name)))
    return dialect.read_completion(body, TARGET)


def stream_bytes(dialect: Dialect, completion: Completion) -> bytes:
    writer = dialect.stream_writer(client_of(dialect.name))
    return b"".join(writer.write(chunk) for chunk in explode(completion)) + writer.finish()


def read_stream(dialect: Dialect, data: bytes, *, piece_bytes: int = 7) -> Completion:
    parser, reader = Parser(), dialect.stream_reader(TARGET)
    chunks = [
        chunk
        for start in range(0, len(data), piece_bytes)
        for event in parser.feed(data[start : start + piece_bytes])
        for chunk in reader.read(event)
    ]
    return accumulate(chunks + reader.finish())


def timeless(completion: Completion) -> Completion:
    """Only OpenAI dates an answer; one that came from elsewhere is dated when it is written."""
    return msgspec.structs.replace(completion, created=None)


def unsigned(completion: Completion) -> Completion:
    """Without the signatures and the native words, which each dialect makes anew."""
    choices = []
    for choice in completion.choices:
        parts = tuple(
            Reasoning(part.text) if isinstance(part, Reasoning) else part for part in choice.parts
        )
        choices.append(msgspec.structs.replace(choice, parts=parts, native_finish=None))
    return timeless(msgspec.structs.replace(completion, choices=tuple(choices)))


@every_dialect
@settings(deadline=None)
@given(completion=completions())
def test_an_answer_is_read_back_as_it_was_written(name, completion):
    assert unsigned(whole(get_dialect(name), completion)) == unsigned(completion)


@every_dialect
@settings(deadline=None)
@given(completion=completions(), piece_bytes=st.integers(1, 400))
def test_a_stream_is_its_whole_answer(name, completion, piece_bytes):
    dialect = get_dialect(name)
    streamed = read_stream(dialect, stream_bytes(dialect, completion), piece_bytes=piece_bytes)
    assert timeless(streamed) == timeless(whole(dialect, completion))


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@settings(deadline=None)
@given(completion=completions())
def test_a_translated_stream_is_its_translated_whole_answer(client, upstream, completion):
    near, far = get_dialect(client), get_dialect(upstream)
    unstreamed = whole(near, whole(far, completion))
    reader, writer = far.stream_reader(TARGET), near.stream_writer(client_of(client))
    data = b""
    for event in Parser().feed(stream_bytes(far, completion)):
        data += b"".join(writer.write(chunk) for chunk in reader.read(event))
    data += b"".join(writer.write(chunk) for chunk in reader.finish()) + writer.finish()
    assert timeless(read_stream(near, data)) == timeless(unstreamed)
    assert unsigned(unstreamed) == unsigned(completion)


# 4. Streams that fail


@every_dialect
@settings(deadline=None)
@given(completion=completions(), data=st.data())
def test_a_cut_stream_never_looks_complete(name, completion, data):
    dialect = get_dialect(name)
    raw = stream_bytes(dialect, completion)
    cut = data.draw(st.integers(0, len(raw) - 1))
    try:
        found = read_stream(dialect, raw[:cut], piece_bytes=4096)
    except StreamCut as error:
        assert error.provider == "acme"
        return
    # Only what comes after the answer itself (its usage, the end mark) may be missing.
    assert found.choices == whole(dialect, completion).choices


@every_dialect
def test_a_stream_cut_in_the_middle_is_cut(name):
    dialect = get_dialect(name)
    answer = Completion("a", MODEL, (Choice((Text("one"), ToolCall("c", "f")), "tool_calls"),))
    writer = dialect.stream_writer(client_of(name))
    *chunks, _ = explode(answer)
    with pytest.raises(StreamCut):
        read_stream(dialect, b"".join(map(writer.write, chunks)))


@every_dialect
def test_an_error_in_a_stream_is_raised_with_its_status(name):
    dialect = get_dialect(name)
    error = ProviderError("too busy", provider="upstream", status=429)
    writer = dialect.stream_writer(client_of(name))
    data = b"".join(map(writer.write, itertools.islice(explode(completion_of("A")), 2)))
    with pytest.raises(ProviderError, match="too busy") as raised:
        read_stream(dialect, data + writer.fail(error))
    assert raised.value.status == 429
    assert raised.value.provider == "acme"


def completion_of(text: str) -> Completion:
    return Completion("answer-1", MODEL, (Choice((Text(text),), "stop"),))


@every_dialect
@pytest.mark.parametrize("data", ["{", "[]", '"x"'])
def test_an_event_that_is_no_object_is_a_provider_error(name, data):
    with pytest.raises(ProviderError):
        get_dialect(name).stream_reader(TARGET).read(Event("", data))


@every_dialect
@pytest.mark.parametrize("body", [{}, {"error": {"message": "x", "code": 500}}])
def test_an_answer_that_is_none_is_a_provider_error(name, body):
    with pytest.raises(ProviderError):
        get_dialect(name).read_completion(body, TARGET)


# 5. Errors

KEY = "sk-proj-0123456789abcdefghij"


@every_dialect
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503])
def test_an_error_keeps_its_status_and_its_words_through_the_wire(name, status):
    dialect = get_dialect(name)
    error = ProviderError("the words", provider="upstream", status=status)
    written, body = dialect.write_error(error)
    assert written == status
    again = dialect.read_error(status, {}, msgspec.json.encode(body), TARGET)
    assert again.status == status
    assert "the words" in again.message
    assert again.retryable == error.retryable


@every_dialect
@pytest.mark.parametrize(
    "body",
    [
        f'{{"error":{{"message":"Incorrect API key: {KEY}","type":"invalid_request_error"}}}}',
        f'{{"type":"error","error":{{"type":"authentication_error","message":"Bearer {KEY}"}}}}',
        f"<html>api_key={KEY}</html>",
    ],
)
def test_no_key_is_in_an_error(name, body):
    dialect = get_dialect(name)
    error = dialect.read_error(401, {}, body.encode(), TARGET)
    _, written = dialect.write_error(error)
    for text in (str(error), repr(error), repr(error.__dict__), repr(written)):
        assert KEY not in text


@every_dialect
@settings(deadline=None)
@given(status=st.integers(400, 599), body=st.binary(max_size=60))
def test_any_body_of_an_error_is_read(name, status, body):
    error = get_dialect(name).read_error(status, {"retry-after": "3"}, body, TARGET)
    assert (error.status, error.retry_after_s, error.provider) == (status, 3.0, "acme")
