"""What a client's history says, and what becomes of it: calls, thoughts, marks, odd spellings."""

from __future__ import annotations

import copy

import pytest

from pointsman.dialects._shared import seal
from pointsman.dialects.base import Target
from pointsman.dialects.gemini import GEMINI
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import (
    Chat,
    Image,
    Message,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
)

TARGET = Target("gemini", "gemini-2.5-flash")
SIGNING = Target("gemini", "gemini-3-pro-preview")
MARK = "skip_thought_signature_validator"
USER = Message("user", (Text("hi"),))


def read(*contents, **body):
    return GEMINI.read_chat({"model": "m", "contents": list(contents), **body})


def write(*messages, target=TARGET, **fields):
    return GEMINI.write_chat(Chat(model="m", messages=messages, **fields), target)


def user(*parts):
    return {"role": "user", "parts": list(parts)}


def model(*parts):
    return {"role": "model", "parts": list(parts)}


def call(name, **more):
    return {"functionCall": {"name": name, **more}}


def response(name, **more):
    return {"functionResponse": {"name": name, "response": {}, **more}}


# Read


def test_a_streamed_history_is_one_turn_whose_thought_ends_with_its_signature():
    sealed = seal(Signature("sig", "anthropic"))
    chat = read(
        user({"text": "hi"}),
        model({"text": "th", "thought": True}),
        model({"text": "ought", "thought": True}),
        model({"text": "", "thought": True, "thoughtSignature": sealed}),
        model({"text": "a"}),
        model({"text": "b"}),
        model(call("f", id="c1")),
        model({"text": ""}),
    )
    assert chat.messages[1:] == (
        Message(
            "assistant",
            (
                Reasoning("thought", Signature("sig", "anthropic")),
                Text("ab"),
                ToolCall("c1", "f"),
            ),
        ),
    )


def test_a_users_texts_stay_apart():
    chat = read(user({"text": "a"}, {"text": "b"}), user({"text": "c"}))
    assert chat.messages == (
        Message("user", (Text("a"), Text("b"))),
        Message("user", (Text("c"),)),
    )


def test_minted_ids_avoid_those_given():
    chat = read(
        model(call("f", id="call_gemini_1"), call("f")),
        user(response("f", id="call_gemini_1"), response("f")),
    )
    given, minted = (part.id for part in chat.messages[0].parts)
    assert given == "call_gemini_1" != minted
    assert [part.call_id for part in chat.messages[1].parts] == [given, minted]


def test_the_same_function_in_two_turns_has_two_ids():
    turn = (model(call("f")), user(response("f")))
    chat = read(*turn, *turn)
    first, second = (m.parts[0].id for m in chat.messages if m.role == "assistant")
    assert first != second
    assert [m.parts[0].call_id for m in chat.messages if m.role == "tool"] == [first, second]


def test_words_beside_results_come_after_them():
    chat = read(model(call("f", id="c")), user({"text": "and?"}, response("f", id="c")))
    assert [m.role for m in chat.messages] == ["assistant", "tool", "user"]


def test_a_lone_object_stands_for_a_list():
    chat = GEMINI.read_chat(
        {
            "model": "m",
            "system_instruction": {"role": "system", "parts": {"text": "s"}},
            "contents": {"parts": {"text": "a"}},
            "tools": {"functionDeclarations": {"name": "f"}},
        }
    )
    assert chat.messages == (Message("system", (Text("s"),)), Message("user", (Text("a"),)))
    assert chat.tools[0].name == "f"
    plain = GEMINI.read_chat({"model": "m", "contents": "a", "systemInstruction": "s"})
    assert plain.messages == chat.messages


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": [user()]}, "contents"),
        ({"contents": [user(call("f"))]}, "contents[0].parts[0]"),
        ({"contents": [user({"text": "a", "thought": True})]}, "contents[0].parts[0]"),
        ({"contents": [model({"text": "a", "thought": 1})]}, "contents[0].parts[0].thought"),
        (
            {"contents": [user({"text": "a", "fileData": {"fileUri": "gs://a"}})]},
            "contents[0].parts[0].fileData",
        ),
        (
            {"contents": [model(call("f", id="c")), user(response("f", parts=[call("g")]))]},
            "contents[1].parts[0].functionResponse.parts[0]",
        ),
        (
            {"systemInstruction": {"parts": [{"fileData": {"fileUri": "gs://a"}}]}},
            "systemInstruction.parts[0]",
        ),
        ({"systemInstruction": {"parts": [{"text": 5}]}}, "systemInstruction.parts[0].text"),
        ({"systemInstruction": 5}, "systemInstruction"),
        ({"generationConfig": []}, "generationConfig"),
        (
            {"generationConfig": {"responseMimeType": "text/x.enum", "responseSchema": {}}},
            "generationConfig.responseMimeType",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_path(body, param):
    with pytest.raises(RequestError) as caught:
        GEMINI.read_chat({"model": "m", "contents": [user({"text": "a"})], **body})
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (
            {"contents": [model(call("f", id="c")), user(response("f", willContinue=True))]},
            "contents[1].parts[0].functionResponse.willContinue",
        ),
        (
            {"contents": [user({"text": "a", "videoMetadata": {"fps": 1}})]},
            "contents[0].parts[0].videoMetadata",
        ),
        (
            {"tools": [{"functionDeclarations": [{"name": "f", "behavior": "NON_BLOCKING"}]}]},
            "tools[0].functionDeclarations[0].behavior",
        ),
        (
            {"tools": [{"functionDeclarations": [{"name": "f"}]}],
             "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED",
                                                      "allowedFunctionNames": ["f"]}}},
            "toolConfig.functionCallingConfig.mode",
        ),
    ],
)  # fmt: skip
def test_what_only_gemini_says_is_kept_for_others_to_refuse(body, param):
    chat = GEMINI.read_chat({"model": "m", "contents": [user({"text": "a"})], **body})
    assert param in chat.extra


def test_what_says_nothing_is_not_kept():
    config = {"responseModalities": ["TEXT"], "mediaResolution": None}
    chat = read(user({"text": "a"}), safetySettings=[], labels={}, generationConfig=config)
    assert chat.extra == {}


def test_a_limited_free_choice_goes_back_as_it_came():
    calling = {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}
    chat = read(
        user({"text": "a"}),
        tools=[{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}],
        toolConfig={"functionCallingConfig": calling},
    )
    body = GEMINI.write_chat(chat, TARGET).body
    assert body["toolConfig"] == {"functionCallingConfig": calling}


@pytest.mark.parametrize(
    ("mode", "choice"),
    [
        ("AUTO", ToolChoice("auto")),
        ("VALIDATED", ToolChoice("auto")),
        ("NONE", ToolChoice("none")),
        ("ANY", ToolChoice("required")),
        ("MODE_UNSPECIFIED", None),
    ],
)
def test_choices_are_read(mode, choice):
    chat = read(user({"text": "a"}), toolConfig={"functionCallingConfig": {"mode": mode}})
    assert chat.tool_choice == choice


def test_odd_types_in_a_schema():
    schema = {
        "type": ["STRING", "NULL"],
        "anyOf": [{"type": "INTEGER"}],
        "nullable": True,
        "properties": {"nullable": {"type": "TYPE_UNSPECIFIED"}},
    }
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    form = read(user({"text": "a"}), generationConfig=config).response_format
    assert form.schema == {
        "type": ["string", "null"],
        "anyOf": [{"type": "integer"}, {"type": "null"}],
        "properties": {"nullable": {}},
    }


# Written


def test_a_results_own_name_wins_and_a_later_call_gives_none():
    calls = Message("assistant", (ToolCall("c", "f"),))
    result = Message("tool", (ToolResult("c", (Text("x"),), name="own"),))
    body = write(USER, calls, result).body
    assert body["contents"][2]["parts"][0]["functionResponse"]["name"] == "own"
    with pytest.raises(RequestError, match="call 'c'"):
        write(USER, Message("tool", (ToolResult("c", (Text("x"),)),)), calls)


def test_nothing_but_system_messages_is_refused():
    with pytest.raises(RequestError) as caught:
        write(Message("system", (Text("s"),)), Message("user", (Text(""),)))
    assert caught.value.param == "messages"


def test_names_and_details_are_left_out_and_named_once():
    image = Image("image/png", "aa==", detail="high")
    call = write(Message("user", (image, image), name="ann"), Message("user", (Text("a"),), "ann"))
    assert call.ignored == ("messages.name", "detail")


def test_penalties_of_nothing_are_left_out():
    body = write(USER, frequency_penalty=0, presence_penalty=0.0).body
    assert "generationConfig" not in body


def test_refusals_and_empty_texts():
    assistant = Message("assistant", (Refusal("no"), Text("")))
    assert write(USER, assistant).body["contents"][1]["parts"] == [{"text": "no"}]


def test_an_error_object_stays_one():
    calls = Message("assistant", (ToolCall("c", "f"),))
    for text, expected in (
        ('{"error":"no"}', {"error": "no"}),
        ("no", {"error": "no"}),
        ('{"a":1}', {"error": '{"a":1}'}),
    ):
        result = Message("tool", (ToolResult("c", (Text(text),), is_error=True),))
        parts = write(USER, calls, result).body["contents"][2]["parts"]
        assert parts[0]["functionResponse"]["response"] == expected


def test_the_python_clients_extra_goes_in_by_name_and_joins_what_is_there():
    body = write(
        USER,
        max_tokens=5,
        extra={"generationConfig": {"speechConfig": {}}, "safetySettings": [{}]},
    ).body
    assert body["generationConfig"] == {"maxOutputTokens": 5, "speechConfig": {}}
    assert body["safetySettings"] == [{}]


def test_what_stood_in_a_list_cannot_go_back():
    with pytest.raises(UnsupportedParameter, match="kept in a translation"):
        write(USER, dialect="gemini", extra={"contents[0].parts[0].videoMetadata": {}})


HISTORY = (
    USER,
    Message("assistant", (ToolCall("c0", "f"),)),
    Message("tool", (ToolResult("c0", (Text("x"),)),)),
    Message("assistant", (ToolCall("c1", "f"),)),
    Message("tool", (ToolResult("c1", (Text("x"),)),)),
    Message("user", (Text("more"),)),
)
RUNNING = (
    USER,
    Message("assistant", (ToolCall("c2", "f"), ToolCall("c3", "f"))),
    Message("tool", (ToolResult("c2", (Text("x"),)), ToolResult("c3", (Text("x"),)))),
    Message("assistant", (ToolCall("c4", "f", "{}", Signature("c2ln", "gemini")),)),
    Message("tool", (ToolResult("c4", (Text("x"),)),)),
)


def marks(call):
    return [
        part.get("thoughtSignature")
        for content in call.body["contents"]
        for part in content["parts"]
        if "functionCall" in part
    ]


def test_calls_of_other_makers_are_marked_in_the_running_turn_where_the_model_wants_it():
    assert marks(write(*HISTORY, *RUNNING, target=SIGNING))[2:] == [MARK, None, "c2ln"]
    assert marks(write(*HISTORY, *RUNNING, target=TARGET)) == [None] * 4 + ["c2ln"]
    # Words beside a result may begin a turn or not, so the step before them is marked too.
    assert marks(write(*HISTORY, target=SIGNING)) == [None, MARK]
    done = Message("assistant", (Text("done"),))
    assert marks(write(*HISTORY[:5], done, USER, *RUNNING[1:], target=SIGNING)) == [
        None, None, MARK, None, "c2ln",
    ]  # fmt: skip


# A client's own body


def test_an_own_body_is_opened_for_its_maker_and_for_no_other():
    mine, other = seal(Signature("c2ln", "acme")), seal(Signature("c2lo", "another"))
    contents = [
        user({"text": "hi"}),
        model(
            {"text": "hm", "thought": True, "thoughtSignature": other},
            {"text": "", "thought_signature": other},
            {"text": "a", "thought_signature": mine},
            {"text": "b", "thoughtSignature": "-_8", "unknown": 1},
            {**call("f"), "thoughtSignature": other},
        ),
        model({"text": "gone", "thought": True, "thoughtSignature": other}),
    ]
    body = {"contents": contents, "unknown_field": {"x": 1}, "model": "m"}
    before = copy.deepcopy(body)
    expected = [
        user({"text": "hi"}),
        model(
            {"text": "a", "thought_signature": "c2ln"},
            {"text": "b", "thoughtSignature": "-_8", "unknown": 1},
            call("f"),
        ),
    ]
    assert GEMINI.own_body(body, Target("acme", "gemini-2.5-pro")) == {**body, "contents": expected}
    marked = GEMINI.own_body(body, Target("acme", "gemini-3-pro"))["contents"][1]["parts"][2]
    assert marked == {**call("f"), "thoughtSignature": MARK}
    assert body == before


@pytest.mark.parametrize("contents", [None, 5, "x", [5], [{"parts": 5}], [{"parts": [5]}]])
def test_an_own_body_that_is_odd_is_left_to_the_provider(contents):
    assert GEMINI.own_body({"contents": contents}, TARGET) == {"contents": contents}


def test_an_own_body_with_a_lone_content():
    sealed = seal(Signature("c2ln", "gemini"))
    body = {"contents": {"role": "model", "parts": {"text": "a", "thoughtSignature": sealed}}}
    assert GEMINI.own_body(body, TARGET)["contents"] == [
        {"role": "model", "parts": [{"text": "a", "thoughtSignature": "c2ln"}]}
    ]
