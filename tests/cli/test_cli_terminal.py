"""The parts of a conversation in the terminal, each by itself."""

from __future__ import annotations

import json
import math
import stat

import pytest

from pointsman.cli.terminal import history as history_module
from pointsman.cli.terminal.conversation import FORMAT, Conversation
from pointsman.cli.terminal.history import History
from pointsman.cli.terminal.parameters import check_value, read_value, split_options
from pointsman.cli.terminal.pictures import MAX_IMAGE_BYTES, read_prompt
from pointsman.cli.terminal.screen import harmless
from pointsman.errors import RequestError
from pointsman.types import Image, Text

KINDS = {
    "a.png": (b"\x89PNG\r\n\x1a\n", "image/png"),
    "b.JPG": (b"\xff\xd8\xff\xe0", "image/jpeg"),
    "c.jpeg": (b"\xff\xd8\xff\xe1", "image/jpeg"),
    "d.webp": (b"RIFF\0\0\0\0WEBP", "image/webp"),
}


@pytest.mark.parametrize(
    ("name", "words", "found"),
    [
        ("temperature", ["0.5"], ("temperature", 0.5)),
        ("top_k", ["40"], ("top_k", 40)),
        ("num_predict", ["12"], ("max_tokens", 12)),
        ("num_predict", ["-1"], ("max_tokens", None)),
        ("seed", ["default"], ("seed", None)),
        ("stop", ["a", "b c"], ("stop", ["a", "b c"])),
    ],
)
def test_values_are_read(name, words, found):
    assert read_value(name, words) == found


@pytest.mark.parametrize(
    ("name", "words", "why"),
    [
        ("temperature", ["3"], "0 to 2"),
        ("temperature", ["nan"], "0 to 2"),
        ("temperature", ["warm"], "a number"),
        ("top_k", ["1.5"], "whole number"),
        ("top_p", ["0.1", "0.2"], "one value"),
        ("max_tokens", ["0"], "at least 1"),
        ("seed", [], "needs a value"),
        ("num_gpu", ["1"], "flags"),
        ("temprature", ["1"], "did you mean"),
        ("xyzzy", ["1"], "there are"),
        ("stop", ["a"] * 17, "1 to 16"),
    ],
)
def test_what_is_no_value_is_said(name, words, why):
    with pytest.raises(RequestError, match=why):
        read_value(name, words)


def test_llama_cpps_own_parameters_are_kept_apart():
    assert split_options({"seed": 1, "repeat_penalty": 1.1, "stop": ["x"]}) == (
        {"seed": 1, "stop": ["x"]},
        {"repeat_penalty": 1.1},
    )


@pytest.mark.parametrize("value", [True, "1", math.nan, [1]])
def test_a_loaded_value_is_checked_too(value):
    with pytest.raises(RequestError):
        check_value("temperature", value)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("form", ["{}", "'{}'", '"{}"', "file://{}", "see {}, please", "{}?"])
def test_an_image_is_found_however_it_is_written(tmp_path, name, form):
    data, kind = KINDS[name]
    (tmp_path / name).write_bytes(data)
    prompt = read_prompt(form.format(tmp_path / name), can_see=True)
    (image,) = [part for part in prompt.parts if isinstance(part, Image)]
    assert image.media_type == kind and prompt.notes == (f"added {name}",)


def test_blanks_that_a_terminal_escapes(tmp_path):
    (tmp_path / "my cat.png").write_bytes(KINDS["a.png"][0])
    prompt = read_prompt(f"what is {tmp_path}/my\\ cat.png", can_see=True)
    assert prompt.parts[0] == Text("what is") and isinstance(prompt.parts[1], Image)


def test_what_stays_text(tmp_path):
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.write(KINDS["a.png"][0])
        file.truncate(MAX_IMAGE_BYTES + 1)
    (tmp_path / "folder.png").mkdir()
    for typed in (f"{large}", f"{tmp_path}/folder.png", f"{tmp_path}/none.png", "~nobody/x.png"):
        assert read_prompt(typed, can_see=True).parts == (Text(typed),)
    assert "over 20 MiB" in read_prompt(f"{large}", can_see=True).notes[0]


def test_controls_are_made_visible():
    assert harmless("a\tb\nc") == "a\tb\nc"
    assert harmless("\x1b[2J\x00\r\x7f\x9b") == "␛[2J␀␍␡�"


def test_a_conversation_comes_back_from_its_file(tmp_path):
    first = Conversation("Be brief.")
    first.say((Text("see"), Image(media_type="image/png", data="AA==")))
    first.hear((Text("seen"),))
    first.options, first.thinking = {"stop": ["x"], "top_k": 3}, "low"
    path = tmp_path / "talk.json"
    path.write_text("older")
    first.save(path, "o:m")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = Conversation()
    assert second.load(path) == "o:m"
    assert vars(second) == vars(first)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "wizard", "parts": []}]},
        {"options": {"temperature": 9}},
        {"options": {"nope": 1}},
        {"more": 1},
    ],
)
def test_a_file_that_is_no_conversation_changes_nothing(tmp_path, change):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"format": FORMAT, "model": "m", "messages": [], **change}))
    conversation = Conversation("mine")
    conversation.say((Text("hello"),))
    with pytest.raises(RequestError):
        conversation.load(path)
    assert conversation.system == "mine" and len(conversation.messages) == 1


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(RequestError, match="cannot write"):
        Conversation().save(tmp_path / "none" / "x.json", "m")


def test_history_is_cut_to_the_newest(tmp_path, monkeypatch):
    monkeypatch.setattr(history_module, "MAX_ENTRIES", 3)
    monkeypatch.setattr(history_module, "MAX_FILE_BYTES", 60)
    path = tmp_path / "home" / "h"
    kept = History(path)
    assert kept.entries() == []
    for number in range(9):
        kept.add(f"line {number}\nand more")
    kept.add("  ")
    kept.add("x" * 20_000)
    newest = [f"line {number}\nand more" for number in (6, 7, 8)]
    assert path.stat().st_size > 60
    assert History(path).entries() == newest
    assert path.stat().st_size <= 60
    assert History(path).entries() == newest
    path.chmod(0o644)
    kept.add("y")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_history_that_cannot_be_kept_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    kept = History(tmp_path / "file" / "h")
    kept.add("x")
    assert kept.fault is not None and "file" in kept.fault
