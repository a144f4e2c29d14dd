from __future__ import annotations

import json

import pytest

from pointsman.dialects._shared import seal
from pointsman.dialects.base import Target
from pointsman.dialects.gemini import GEMINI
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import (
    Audio,
    Chat,
    File,
    HostedTool,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Signature,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

TARGET = Target("gemini", "gemini-x")
USER = Message("user", (Text("hi"),))


def write(*messages, **fields):
    return GEMINI.write_chat(Chat(model="m", messages=messages or (USER,), **fields), TARGET)


def read(**body):
    contents = [{"role": "user", "parts": [{"text": "hi"}]}]
    return GEMINI.read_chat({"model": "m", "contents": contents, **body})


# Written


def test_paths():
    assert write().path == "/models/gemini-x:generateContent"
    assert write(stream=True).path == "/models/gemini-x:streamGenerateContent?alt=sse"
    odd = GEMINI.write_chat(Chat(model="m", messages=(USER,)), Target("g", "tunedModels/a b/../c"))
    assert odd.path == "/tunedModels/a%20b%2F..%2Fc:generateContent"


def test_system_messages_go_to_the_top_in_order_and_turns_of_a_role_are_joined():
    body = write(
        Message("system", (Text("a"),)),
        USER,
        Message("user", (Text("there"),)),
        Message("assistant", (Text("yes"),)),
        Message("system", (Text("b"),)),
        USER,
    ).body
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert [c["role"] for c in body["contents"]] == ["user", "model", "user"]
    assert body["contents"][0]["parts"] == [{"text": "hi"}, {"text": "there"}]


def test_a_result_has_the_name_of_its_call():
    body = write(
        USER,
        Message("assistant", (ToolCall("c1", "f", ""), ToolCall("c2", "g", '{"a":1}'))),
        Message(
            "tool",
            (
                ToolResult("c2", (Text('{"x": 1}'),)),
                ToolResult("c1", (Text("plain"),), is_error=True),
            ),
        ),
    ).body
    calls = [part["functionCall"] for part in body["contents"][1]["parts"]]
    assert calls == [
        {"id": "c1", "name": "f", "args": {}},
        {"id": "c2", "name": "g", "args": {"a": 1}},
    ]
    results = [part["functionResponse"] for part in body["contents"][2]["parts"]]
    assert results == [
        {"id": "c2", "name": "g", "response": {"x": 1}},
        {"id": "c1", "name": "f", "response": {"error": "plain"}},
    ]


def test_plain_text_of_a_result_stands_under_result_and_images_beside_it():
    body = write(
        Message("assistant", (ToolCall("c", "f"),)),
        Message("tool", (ToolResult("c", (Text("seen"), Image("image/png", "aa=="))),)),
    ).body
    response = body["contents"][1]["parts"][0]["functionResponse"]
    assert response["response"] == {"result": "seen"}
    assert response["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "aa=="}}]


def test_a_result_without_its_call_is_refused_by_name():
    with pytest.raises(RequestError, match="call 'c9'"):
        write(USER, Message("tool", (ToolResult("c9", (Text("x"),)),)))
    named = write(USER, Message("tool", (ToolResult("c9", (Text("x"),), name="f"),))).body
    assert named["contents"][0]["parts"][1]["functionResponse"]["name"] == "f"


def test_signatures_go_to_their_maker_and_to_no_other():
    parts = (
        Reasoning("hm", Signature("s1", "gemini")),
        Reasoning("other", Signature("s2", "anthropic")),
        Text("a", Signature("s3", "gemini")),
        ToolCall("c", "f", "{}", Signature("s4", "vertex")),
    )
    call = write(USER, Message("assistant", parts))
    assert call.body["contents"][1]["parts"] == [
        {"text": "hm", "thought": True, "thoughtSignature": "s1"},
        {"text": "a", "thoughtSignature": "s3"},
        {"functionCall": {"id": "c", "name": "f", "args": {}}},
    ]
    assert call.ignored == ("reasoning",)


def test_media():
    body = write(
        Message(
            "user",
            (
                Image("image/png", "aa=="),
                Image(url="gs://bucket/a.png", media_type="image/png"),
                Image(url="https://generativelanguage.googleapis.com/v1beta/files/x"),
                Audio("bb==", "wav"),
                File(media_type="application/pdf", data="cc=="),
                File(text="hello", name="a.txt"),
            ),
        )
    ).body
    parts = body["contents"][0]["parts"]
    assert parts[0] == {"inlineData": {"mimeType": "image/png", "data": "aa=="}}
    assert parts[1]["fileData"] == {"fileUri": "gs://bucket/a.png", "mimeType": "image/png"}
    assert parts[2]["fileData"]["fileUri"].endswith("/files/x")
    assert parts[3]["inlineData"]["mimeType"] == "audio/wav"
    assert parts[4]["inlineData"]["mimeType"] == "application/pdf"
    assert parts[5]["inlineData"] == {"mimeType": "text/plain", "data": "aGVsbG8="}


def test_a_remote_image_is_refused_with_the_way_to_have_it_fetched():
    with pytest.raises(UnsupportedParameter, match="fetch_images") as caught:
        write(Message("user", (Image(url="https://example.com/a.png"),)))
    assert caught.value.param == "messages[0].content[0].url"


def test_parameters():
    config = write(
        max_tokens=5, temperature=0.5, top_p=0.9, top_k=3, frequency_penalty=0.1,
        presence_penalty=0.2, seed=7, stop=("a",), n=2, logprobs=True, top_logprobs=4,
    ).body["generationConfig"]  # fmt: skip
    assert config == {
        "maxOutputTokens": 5, "temperature": 0.5, "topP": 0.9, "topK": 3, "frequencyPenalty": 0.1,
        "presencePenalty": 0.2, "seed": 7, "stopSequences": ["a"], "candidateCount": 2,
        "responseLogprobs": True, "logprobs": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"min_p": 0.1}, "min_p"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"dialect": "openai", "extra": {"modalities": ["audio"]}}, "modalities"),
        ({"dialect": "anthropic", "extra": {"container": "x"}}, "container"),
        ({"tools": (HostedTool("openai", {}),)}, "tools[0]"),
    ],
)
def test_what_gemini_cannot_say_is_refused_by_name(fields, param):
    with pytest.raises(UnsupportedParameter) as caught:
        write(**fields)
    assert caught.value.param == param


def test_at_most_one_call_is_kept_by_the_reader_since_gemini_has_no_word_for_it():
    assert write(parallel_tool_calls=False).single_call
    assert not write(parallel_tool_calls=True).single_call
    assert not write().single_call


def test_hints_are_left_out_and_named():
    call = write(dialect="openai", user="u1", extra={"prompt_cache_key": "k", "store": True})
    assert set(call.ignored) == {"user", "prompt_cache_key", "store"}


def test_extra_of_its_own_goes_back_to_its_place():
    chat = read(
        safetySettings=[{"category": "X"}],
        generationConfig={
            "speechConfig": {"a": 1},
            "thinkingConfig": {"thinkingBudget": 5, "newKey": True},
        },
        toolConfig={"retrievalConfig": {"languageCode": "en"}},
    )
    body = GEMINI.write_chat(chat, TARGET).body
    assert body["safetySettings"] == [{"category": "X"}]
    assert body["generationConfig"]["speechConfig"] == {"a": 1}
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 5, "newKey": True}
    assert body["toolConfig"] == {"retrievalConfig": {"languageCode": "en"}}


def test_tools_and_the_choice_among_them():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    tools = (Tool("f", "does f", schema), HostedTool("gemini", {"googleSearch": {}}), Tool("g"))
    body = write(tools=tools, tool_choice=ToolChoice("required", ("f",))).body
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "does f", "parametersJsonSchema": schema},
                {"name": "g"},
            ]
        },
        {"googleSearch": {}},
    ]
    assert body["toolConfig"]["functionCallingConfig"] == {
        "mode": "ANY",
        "allowedFunctionNames": ["f"],
    }
    for mode, word in (("auto", "AUTO"), ("none", "NONE"), ("required", "ANY")):
        body = write(tools=tools, tool_choice=ToolChoice(mode)).body
        assert body["toolConfig"] == {"functionCallingConfig": {"mode": word}}


def test_a_choice_needs_functions_to_choose_from():
    hosted = (HostedTool("gemini", {"googleSearch": {}}),)
    for mode in ("auto", "none"):
        assert "toolConfig" not in write(tools=hosted, tool_choice=ToolChoice(mode)).body
    with pytest.raises(RequestError) as caught:
        write(tools=hosted, tool_choice=ToolChoice("required"))
    assert caught.value.param == "tool_choice"


def test_a_strict_tool_is_named_among_what_is_left_out():
    assert write(tools=(Tool("f", strict=True),)).ignored == ("tools.strict",)


@pytest.mark.parametrize(
    ("thinking", "config"),
    [
        (Thinking(enabled=False), {"thinkingBudget": 0}),
        (Thinking(effort="none"), {"thinkingBudget": 0}),
        (Thinking(enabled=True), {"thinkingBudget": -1}),
        (Thinking(budget_tokens=99, show=True), {"thinkingBudget": 99, "includeThoughts": True}),
        (Thinking(effort="xhigh"), {"thinkingLevel": "HIGH"}),
        (Thinking(effort="high", budget_tokens=9), {"thinkingBudget": 9}),
    ],
)
def test_thinking(thinking, config):
    assert write(thinking=thinking).body["generationConfig"]["thinkingConfig"] == config


def test_an_unknown_effort_is_refused_and_one_beside_a_budget_is_named():
    with pytest.raises(RequestError, match="unknown to Gemini"):
        write(thinking=Thinking(effort="heroic"))
    assert write(thinking=Thinking(effort="low", budget_tokens=9)).ignored == ("thinking.effort",)


def test_an_anthropic_client_that_turns_thinking_on_is_shown_it():
    for dialect, shown in (("anthropic", True), ("openai", None)):
        config = write(thinking=Thinking(enabled=True), dialect=dialect).body["generationConfig"]
        assert config["thinkingConfig"].get("includeThoughts") is shown


@pytest.mark.parametrize(
    ("config", "thinking"),
    [
        ({"thinkingBudget": 0}, Thinking(enabled=False, budget_tokens=0)),
        ({"thinkingBudget": -1}, Thinking(budget_tokens=-1)),
        ({"thinking_level": "LOW", "include_thoughts": True}, Thinking(effort="low", show=True)),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, Thinking()),
    ],
)
def test_thinking_is_read(config, thinking):
    assert read(generationConfig={"thinkingConfig": config}).thinking == thinking


def test_structured_output():
    schema = {"type": "object"}
    config = write(response_format=ResponseFormat("json_schema", schema)).body["generationConfig"]
    assert config == {"responseMimeType": "application/json", "responseJsonSchema": schema}
    config = write(response_format=ResponseFormat("json_object")).body["generationConfig"]
    assert config == {"responseMimeType": "application/json"}


# Read


def test_both_spellings_of_a_field_are_read():
    camel = read(
        systemInstruction={"parts": [{"text": "s"}]},
        generationConfig={"maxOutputTokens": 5, "topK": 3, "stopSequences": ["x"]},
    )
    snake = read(
        system_instruction={"parts": [{"text": "s"}]},
        generation_config={"max_output_tokens": 5, "top_k": 3, "stop_sequences": ["x"]},
    )
    assert camel == snake
    assert (camel.max_tokens, camel.top_k, camel.stop) == (5, 3, ("x",))
    assert camel.messages[0] == Message("system", (Text("s"),))


def test_calls_without_ids_get_stable_ones_and_meet_their_results():
    contents = [
        {"role": "user", "parts": [{"text": "hi"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "f", "args": {"a": 1}}},
                {"functionCall": {"name": "f", "args": {"a": 2}}},
                {"functionCall": {"name": "g"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "g", "response": {"r": 3}}},
                {"functionResponse": {"name": "f", "response": {"r": 1}}},
                {"functionResponse": {"name": "f", "response": {"error": "no"}}},
            ],
        },
    ]
    chat = GEMINI.read_chat({"model": "m", "contents": contents})
    again = GEMINI.read_chat({"model": "m", "contents": contents})
    assert chat == again
    ids = [part.id for part in chat.messages[1].parts]
    assert len(set(ids)) == 3
    results = chat.messages[2].parts
    assert [r.call_id for r in results] == [ids[2], ids[0], ids[1]]
    assert [r.name for r in results] == ["g", "f", "f"]
    assert results[2].is_error and not results[0].is_error
    assert json.loads(results[0].content[0].text) == {"r": 3}


def test_a_result_of_no_call_is_refused():
    contents = [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]
    with pytest.raises(RequestError, match="answers no call of 'f'"):
        GEMINI.read_chat({"model": "m", "contents": contents})


def test_sealed_and_url_safe_signatures_are_opened():
    sealed = seal(Signature("sig", "anthropic")).replace("+", "-").replace("/", "_").rstrip("=")
    parts = [
        {"text": "hm", "thought": True, "thoughtSignature": sealed},
        {"text": "a", "thoughtSignature": "-_8"},
    ]
    chat = read(contents=[{"role": "model", "parts": parts}])
    assert chat.messages[0].parts == (
        Reasoning("hm", Signature("sig", "anthropic")),
        Text("a", Signature("+/8=", "gemini")),
    )


def test_openapi_schemas_become_json_schema():
    chat = read(
        tools=[
            {
                "functionDeclarations": [
                    {
                        "name": "f",
                        "parameters": {
                            "type": "OBJECT",
                            "properties": {
                                "type": {"type": "STRING", "nullable": True, "enum": ["OBJECT"]},
                                "n": {
                                    "type": "ARRAY",
                                    "min_items": "2",
                                    "items": {"type": "INTEGER"},
                                },
                            },
                            "required": ["type"],
                            "propertyOrdering": ["n", "type"],
                        },
                    }
                ]
            },
            {"googleSearch": {}},
        ]
    )
    tool, hosted = chat.tools
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "type": {"type": ["string", "null"], "enum": ["OBJECT", None]},
            "n": {"type": "array", "minItems": 2, "items": {"type": "integer"}},
        },
        "required": ["type"],
    }
    assert hosted == HostedTool("gemini", {"googleSearch": {}})


def test_media_is_read_by_its_type():
    parts = [
        {"inlineData": {"mimeType": "image/png", "data": "aa=="}},
        {"inline_data": {"mime_type": "audio/wav", "data": "aa=="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "aa==", "displayName": "d"}},
        {"fileData": {"fileUri": "gs://a", "mimeType": "image/png"}},
        {"fileData": {"fileUri": "gs://b"}},
    ]
    chat = read(contents=[{"parts": parts}])
    assert chat.messages[0].parts == (
        Image("image/png", "aa=="),
        Audio("aa==", "wav"),
        File("d", "application/pdf", "aa=="),
        Image("image/png", url="gs://a"),
        File(url="gs://b"),
    )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": None}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": [5]}, "contents[0]"),
        ({"contents": [{"role": "robot"}]}, "contents[0].role"),
        ({"contents": [{"parts": "x"}]}, "contents[0].parts"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"inlineData": 5}]}]}, "contents[0].parts[0].inlineData"),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "a", "data": "é"}}]}]},
            "contents[0].parts[0].inlineData.data",
        ),
        ({"contents": [{"parts": [{"newPart": {}}]}]}, "contents[0].parts[0].newPart"),
        ({"generationConfig": {"temperature": "x"}}, "generationConfig.temperature"),
        ({"generationConfig": {"stopSequences": [1]}}, "generationConfig.stopSequences[0]"),
        ({"generationConfig": {"responseMimeType": "a/b"}}, "generationConfig.responseMimeType"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "FLY"}}},
         "toolConfig.functionCallingConfig.mode"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
    ],
)  # fmt: skip
def test_wrong_types_are_named_by_their_path(body, param):
    with pytest.raises(RequestError) as caught:
        read(**body)
    assert caught.value.param == param
