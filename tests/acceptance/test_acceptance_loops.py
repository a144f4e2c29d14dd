"""The clients' own loops, and LangChain's, over each upstream: several turns, thoughts and tools."""

from __future__ import annotations

import json
import re

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from pointsman.testing import Answer, Call

TURNS = [
    Answer(
        text="I double it.",
        reasoning="four is to be doubled",
        signature="signed",
        calls=(Call("double", {"number": 4}, signature="on the call"),),
    ),
    Answer(calls=(Call("double", {"number": 8}), Call("double", {"number": 5}))),
    Answer(text="It is 16, and 10."),
]


def double(number: int) -> str:
    """Doubles a number.

    Args:
        number: What is doubled.
    """
    return str(2 * number)


def results_sent(site):
    """The numbers in the tools' results of the last request, whatever its dialect."""
    body = site.sent.body
    if site.sent.dialect == "gemini":
        parts = [part for content in body["contents"] for part in content["parts"]]
        found = [
            part["functionResponse"]["response"] for part in parts if "functionResponse" in part
        ]
    elif site.sent.dialect == "anthropic":
        turns = [turn["content"] for turn in body["messages"] if isinstance(turn["content"], list)]
        blocks = [block for turn in turns for block in turn]
        found = [block["content"] for block in blocks if block["type"] == "tool_result"]
    else:
        found = [turn["content"] for turn in body["messages"] if turn["role"] == "tool"]
    return re.findall(r"\d+", json.dumps(found))


def forget_own_words(site, dialect):
    """Between equal dialects the bodies are the client's own: they are not held to the rules."""
    site.fake.requests[:] = [each for each in site.fake.requests if each.dialect != dialect]


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_tool_runner(site, upstream, stream):
    site.fake.play(TURNS)
    with anthropic.Anthropic(base_url=site.url, api_key="any", max_retries=0) as client:
        runner = client.beta.messages.tool_runner(
            model=f"{upstream}:m",
            max_tokens=2000,
            tools=[anthropic.beta_tool(double)],
            messages=[{"role": "user", "content": "Double 4, and so on."}],
            stream=stream,
        )
        last = runner.until_done()
    assert last.content[0].text == "It is 16, and 10."
    assert len(site.fake.requests) == 3
    if upstream == "anthropic":
        # The client keeps the history in a thread at Anthropic's and sends only what is new.
        assert "thread" in site.sent.body and "thread" in site.sent.headers["anthropic-beta"]
        assert results_sent(site) == ["16", "10"]
    else:
        assert results_sent(site) == ["8", "16", "10"]
    forget_own_words(site, "anthropic")


@pytest.mark.parametrize("stream", [False, True])
def test_googles_chat(site, upstream, stream):
    site.fake.play(TURNS)
    options = types.HttpOptions(base_url=site.url, timeout=20_000)
    with genai.Client(api_key="any", vertexai=False, http_options=options) as client:
        chat = client.chats.create(
            model=f"{upstream}:m", config=types.GenerateContentConfig(tools=[double])
        )
        if stream:
            text = "".join(chunk.text or "" for chunk in chat.send_message_stream("Double 4."))
            assert text.endswith("It is 16, and 10.")
        else:
            assert chat.send_message("Double 4.").text == "It is 16, and 10."
        assert len(site.fake.requests) == 3
        assert results_sent(site) == ["8", "16", "10"]
        chat.send_message("And now?")
        said = "".join(
            part.text or ""
            for content in chat.get_history()
            for part in content.parts
            if not part.thought
        )
    assert "It is 16, and 10.And now?" in said
    assert results_sent(site) == ["8", "16", "10"]
    forget_own_words(site, "gemini")


def test_openais_raw_response(site, upstream):
    with openai.OpenAI(base_url=site.url + "/v1", api_key="any") as client:
        messages = [{"role": "user", "content": "hi"}]
        raw = client.chat.completions.with_raw_response.create(
            model=f"{upstream}:m", messages=messages
        )
    assert raw.headers["x-pointsman-model"] == f"{upstream}:m"
    assert raw.parse().choices[0].message.content


def chat_openai(url, ref):
    return ChatOpenAI(model=ref, base_url=url + "/v1", api_key="any", max_retries=0)


def chat_anthropic(url, ref):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    return ChatAnthropic(
        model=ref, base_url=url, api_key="any", max_retries=0, thinking=thinking, max_tokens=4000
    )


def plain_anthropic(url, ref):
    return ChatAnthropic(model=ref, base_url=url, api_key="any", max_retries=0)


def chat_google(url, ref):
    return ChatGoogleGenerativeAI(
        model=ref, base_url=url, api_key="any", max_retries=1, include_thoughts=True
    )


@pytest.mark.parametrize("make", [chat_openai, chat_anthropic, chat_google])
@pytest.mark.parametrize("stream", [False, True])
def test_langchains_loop(site, upstream, make, stream):
    """Thoughts and signatures make the round through LangChain's messages, three turns long."""
    site.fake.play(TURNS)
    model = make(site.url, f"{upstream}:m").bind_tools([double])
    history = [HumanMessage("Double 4, and so on.")]
    for _ in TURNS:
        if stream:
            answer = None
            for chunk in model.stream(history):
                answer = chunk if answer is None else answer + chunk
        else:
            answer = model.invoke(history)
        history.append(answer)
        for call in answer.tool_calls:
            history.append(ToolMessage(double(**call["args"]), tool_call_id=call["id"]))
    assert answer.text == "It is 16, and 10."
    assert [type(each).__name__.removesuffix("Chunk") for each in history] == [
        "HumanMessage",
        "AIMessage",
        "ToolMessage",
        "AIMessage",
        "ToolMessage",
        "ToolMessage",
        "AIMessage",
    ]
    assert results_sent(site) == ["8", "16", "10"]
    body = site.sent.body
    if upstream == "anthropic":
        assert body["messages"][1]["content"][0] == {
            "type": "thinking",
            "thinking": "four is to be doubled",
            "signature": "signed",
        }
    elif upstream == "gemini":
        calls = [part for part in body["contents"][1]["parts"] if "functionCall" in part]
        assert calls[0]["thoughtSignature"] == "b24gdGhlIGNhbGw="


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


@pytest.mark.parametrize("make", [chat_openai, plain_anthropic, chat_google])
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_langchains_structured_output(site, upstream, make, method):
    """Both ways of asking for a form: by a tool that must be called, and by a schema."""
    model = make(site.url, f"{upstream}:m").with_structured_output(Person, method=method)
    assert model.invoke("'Ada' is 36") == Person(name="Ada", age=36)
    assert list(model.stream("'Bo' is 7"))[-1] == Person(name="Bo", age=7)
    forget_own_words(site, {chat_openai: "openai", chat_google: "gemini"}.get(make, "anthropic"))
