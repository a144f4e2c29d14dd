"""Modelfiles: read as Ollama reads them, refused where they ask for what is not done, and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.errors import RequestError
from pointsman.local.ollama.modelfile import (
    ROLES,
    Modelfile,
    parse_modelfile,
    write_modelfile,
    write_parameters,
)

WHOLE = '''\ufeff# Mario
from llama3.2:3b

PARAMETER temperature 1
parameter stop "<|eot_id|>"
PARAMETER stop   <end> # no comment
  SYSTEM """You are Mario.
# This is text.

Say "hi".   """
MESSAGE user Is Toronto in Canada?
message assistant "yes,
it is"
LICENSE """MIT"""
LICENSE second
ADAPTER ./lora.gguf
REQUIRES 0.14.0
'''


def test_all_of_it_is_read() -> None:
    assert parse_modelfile(WHOLE) == Modelfile(
        sources=("llama3.2:3b",),
        adapters=("./lora.gguf",),
        parameters={"temperature": 1.0, "stop": ["<|eot_id|>", "<end> # no comment"]},
        system='You are Mario.\n# This is text.\n\nSay "hi".   ',
        messages=(("user", "Is Toronto in Canada?"), ("assistant", "yes,\nit is")),
        licence="MIT\n\nsecond",
        requires="0.14.0",
    )


def test_line_ends_of_windows_are_the_same() -> None:
    assert parse_modelfile(WHOLE.replace("\n", "\r\n")) == parse_modelfile(WHOLE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain words ", "plain words"),
        ('"in quotes"', "in quotes"),
        ('"""a"b"c"""', 'a"b"c'),
        ('"""\na\n"""', "\na\n"),
        ('"""a""" b\nc"""', 'a""" b\nc'),
        ('"two\nlines"', "two\nlines"),
        ('""', ""),
        ('""""""', ""),
        ('it\'s "so"', 'it\'s "so"'),
        ("\ttabs\tinside", "tabs\tinside"),
    ],
)
def test_a_text_ends_where_ollama_ends_it(value: str, text: str) -> None:
    assert parse_modelfile(f"FROM x\nSYSTEM {value}\nREQUIRES 1").system == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no FROM line"),
        ("SYSTEM x", "no FROM line"),
        ("FROM x\nTEMPLATE {{ .Prompt }}", "line 2: TEMPLATE cannot be used: templates in Go"),
        ("FROM x\nRENDERER qwen3", "line 2: RENDERER cannot be used"),
        ("FROM x\nPARSER qwen3", "line 2: PARSER cannot be used"),
        ("FROM x\nDRAFT d.gguf", "'spec-draft-model'"),
        ("FROM x\n\nRUN rm", "line 3: 'run' is no command; there are FROM"),
        ("FROM", "line 1: 'FROM' is no command with a value"),
        ("FROM x\n= 3", "line 2: '= 3' is no command"),
        ('FROM x\nSYSTEM """a\nb', 'line 2: the text in """ has no end'),
        ("FROM x\nPARAMETER num_ctx", "line 2: a name and a value are due"),
        ("FROM x\nPARAMETER num_ctx many", "line 2: the parameter 'num_ctx' is a whole number"),
        ("FROM x\nPARAMETER frobnicate 1", "line 2: no parameter 'frobnicate'"),
        ("FROM x\nMESSAGE tool hi", "line 2: a message is of one of system, user, assistant"),
        ("FROM x\n" + "SYSTEM a\n" * 10_001, "over 10000 commands"),
        ("FROM " + "x" * (4 << 20), "over 4194304 characters"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_modelfile(text)
    assert said in caught.value.message


def test_it_is_written_as_it_is_read() -> None:
    first = parse_modelfile(WHOLE)
    text = write_modelfile(
        first.sources,
        adapters=first.adapters,
        parameters=first.parameters,
        system=first.system,
        messages=first.messages,
        licence=first.licence or "",
        comments=["two\nlines"],
    )
    assert text.startswith("# two\n# lines\nFROM llama3.2:3b\n")
    again = parse_modelfile(text)
    assert again == Modelfile(
        **{name: getattr(first, name) for name in first.__struct_fields__ if name != "requires"}
    )


def test_parameters_are_shown_as_ollama_shows_them() -> None:
    given = {"temperature": 0.6, "stop": ["<a>", 'b"c'], "num_ctx": 4096, "use_mmap": False}
    assert write_parameters(given).splitlines() == [
        "num_ctx                  4096",
        'stop                     "<a>"',
        'stop                     """b"c"""',
        "temperature              0.6",
        "use_mmap                 false",
    ]


texts = st.text(st.characters(codec="utf-8", exclude_characters='\r"'), min_size=1, max_size=40)


@given(system=texts, messages=st.lists(st.tuples(st.sampled_from(ROLES), texts), max_size=3))
def test_any_text_survives(system: str, messages: list[tuple[str, str]]) -> None:
    text = write_modelfile(["x"], parameters={}, system=system, messages=messages, licence="")
    found = parse_modelfile(text)
    assert (found.system, found.messages) == (system, tuple(messages))


@given(st.text(max_size=300))
def test_any_file_is_read_or_refused(text: str) -> None:
    try:
        assert parse_modelfile(f"FROM x\n{text}").sources[0] == "x"
    except RequestError as error:
        assert "Modelfile" in error.message
