"""What a file says of itself: all of it for people, the outline in no time, and no lie believed."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
import tiny_gguf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ollama_files import write_head

from pointsman.errors import LocalError
from pointsman.local import gguf_metadata
from pointsman.local.gguf_metadata import ArrayShape, read_metadata, read_outline


def test_metadata_gives_every_key_and_no_array_unless_asked(llama_file: Path) -> None:
    found = read_metadata(llama_file)
    assert found["general.architecture"] == "llama"
    assert found["llama.context_length"] == tiny_gguf.LLAMA_CONTEXT
    assert found["llama.rope.freq_base"] == 10_000.0
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert found["tokenizer.chat_template"] == tiny_gguf.CHAT_TEMPLATE
    assert found["tokenizer.ggml.tokens"] is None and found["tokenizer.ggml.merges"] is None
    full = read_metadata(llama_file, full=True)
    reader = gguf.GGUFReader(llama_file)
    assert full.keys() == {name for name in reader.fields if not name.startswith("GGUF.")}
    assert full["tokenizer.ggml.tokens"][256] == "<|endoftext|>"
    assert (
        full["tokenizer.ggml.token_type"] == reader.fields["tokenizer.ggml.token_type"].contents()
    )
    assert {k: v for k, v in full.items() if not isinstance(v, list)} == {
        k: v for k, v in found.items() if v is not None
    }


def test_an_outline_has_the_tensors_with_their_shapes(bert_file: Path) -> None:
    outline = read_outline(bert_file)
    assert outline.architecture == "bert"
    assert outline.tensors["position_embd.weight"] == (32, 128)
    assert outline.tensors["token_embd_norm.bias"] == (32,)
    assert outline.values["tokenizer.ggml.scores"] == ArrayShape(6, 141)
    assert len(outline.tensors) == len(gguf.GGUFReader(bert_file).tensors)


def write_vocabulary(path: Path, words: list[str], *, after: bool = True) -> Path:
    out = gguf.GGUFWriter(path, "llama")
    if after:
        out.add_token_list(words)
        out.add_token_merges([f"{word[:1]} {word[1:]}" for word in words])
        out.add_bos_token_id(7)
    else:
        out.add_bos_token_id(7)
        out.add_token_list(words)
    out.add_tensor("token_embd.weight", np.zeros((4, 8), np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


@pytest.mark.parametrize("after", [True, False])
def test_a_long_vocabulary_is_jumped_over_and_comes_out_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    words = [f"word-{number}" for number in range(60_000)]
    path = write_vocabulary(tmp_path / "v.gguf", words, after=after)
    walked: list[int] = []
    walk = gguf_metadata._Reader.skip_texts
    monkeypatch.setattr(
        gguf_metadata._Reader, "skip_texts", lambda self, n: (walked.append(n), walk(self, n))[1]
    )
    outline = read_outline(path)
    # Only one that ends the keys is walked: what comes after it has no name to look for.
    assert walked == ([] if after else [60_000])
    assert outline.values["tokenizer.ggml.tokens"] == ArrayShape(8, 60_000)
    assert outline.values["tokenizer.ggml.bos_token_id"] == 7
    assert outline.tensors == {"token_embd.weight": (8, 4)}


def test_a_word_that_looks_like_a_key_does_not_mislead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[int] = []
    walk = gguf_metadata._Reader.skip_texts
    monkeypatch.setattr(
        gguf_metadata._Reader, "skip_texts", lambda self, n: (walked.append(n), walk(self, n))[1]
    )
    key = b"tokenizer.ggml.bos_token_id"
    fake = (struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, 1)).decode("latin-1")
    words = [f"word-{number}" for number in range(6_000)]
    # Past as many bytes as that many empty words have, so that the search comes upon it.
    words[5_900] = fake
    outline = read_outline(write_vocabulary(tmp_path / "v.gguf", words))
    assert walked == [6_000, 6_000]  # It was misled, saw it, and walked.
    assert outline.values["tokenizer.ggml.bos_token_id"] == 7
    assert outline.values["tokenizer.ggml.merges"] == ArrayShape(8, 6_000)


def test_what_is_kept_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_metadata, "MAX_TEXT_BYTES", 100)
    monkeypatch.setattr(gguf_metadata, "MAX_ITEMS", 5)
    values = {"a.long": "x" * 101, "a.short": "x" * 100, "a.few": [1, 2, 3], "a.many": [1, 2, 3]}
    found = read_metadata(write_head(tmp_path / "a.gguf", "a", values), full=True)
    assert (found["a.long"], found["a.short"]) == (None, "x" * 100)
    assert (found["a.few"], found["a.many"]) == ([1, 2, 3], None)


def test_texts_in_arrays_have_a_limit_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_metadata, "MAX_ARRAY_BYTES", 10)
    values = {"a.one": ["12345", "1"], "a.two": ["123456", "1"], "a.end": 3}
    found = read_metadata(write_head(tmp_path / "a.gguf", "a", values), full=True)
    assert (found["a.one"], found["a.two"], found["a.end"]) == (["12345", "1"], None, 3)


def test_what_is_no_gguf_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    with pytest.raises(LocalError, match="cannot be read: No such file"):
        read_metadata(path)
    path.write_bytes(b"<html>" * 10)
    with pytest.raises(LocalError, match=r"x\.gguf cannot be used: it is no GGUF file"):
        read_outline(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 1))
    with pytest.raises(LocalError, match="it claims 1099511627776 tensors"):
        read_outline(path)


@pytest.fixture(scope="module")
def head(llama_file: Path) -> bytes:
    return llama_file.read_bytes()[:9_000]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_broken_head_is_an_error_and_nothing_else(
    tmp_path: Path, head: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(head) - 9))
    put = data.draw(st.binary(min_size=1, max_size=8))
    path = tmp_path / "broken.gguf"
    path.write_bytes(head[:at] + put + head[at + len(put) :])
    for read in (read_outline, read_metadata, lambda p: read_metadata(p, full=True)):
        try:
            read(path)
        except LocalError as error:
            assert "broken.gguf" in error.message
