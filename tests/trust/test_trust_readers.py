"""The readers of GGUF and safetensors: any bytes give a result or a fault, never anything else."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st
from trust_corpus import benign
from trust_weight_files import SMALL_SAFETENSORS, row, safetensors, small_gguf

from pointsman.trust.formats.context import Fault, Limits, Scan
from pointsman.trust.formats.gguf import BLOCKS, check_gguf, read_gguf
from pointsman.trust.formats.safetensors import check_safetensors, read_safetensors
from pointsman.trust.formats.source import Source

GGUF = bytes(small_gguf(template="{{ messages }}").raw)


def scan() -> Scan:
    return Scan(Limits(), lambda *_: None)


def test_a_head_is_read_as_the_official_reader_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(GGUF + bytes(28))
    theirs = GGUFReader(path)
    ours = read_gguf(Source.of_bytes("a", GGUF))
    assert [each.name for each in ours.tensors] == [each.name for each in theirs.tensors]
    assert [ours.data_start + each.offset for each in ours.tensors] == [
        int(each.data_offset) for each in theirs.tensors
    ]
    assert [each.size_bytes for each in ours.tensors] == [
        int(each.n_bytes) for each in theirs.tensors
    ]
    keys = {key for key in theirs.fields if not key.startswith("GGUF.")}
    assert ours.values.keys() | ours.arrays.keys() == keys


def test_the_sizes_of_types_are_the_official_ones() -> None:
    from gguf.constants import GGML_QUANT_SIZES

    theirs = {int(kind): size for kind, size in GGML_QUANT_SIZES.items() if kind != 9}
    assert {kind: size for kind, size in BLOCKS.items() if kind != 9} == theirs


@settings(max_examples=300, deadline=None)
@given(st.integers(4, len(GGUF) - 1), st.binary(min_size=1, max_size=9), st.integers(0, len(GGUF)))
def test_a_changed_gguf_is_read_or_refused(at: int, new: bytes, cut: int) -> None:
    raw = (GGUF[:at] + new + GGUF[at + len(new) :])[: max(cut, 5)]
    collected = scan()
    check_gguf(Source.of_bytes("a", raw), collected)
    if cut < len(GGUF) - 68:
        assert collected.findings


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_after_the_magic_are_read_or_refused(raw: bytes) -> None:
    try:
        read_gguf(Source.of_bytes("a", b"GGUF\x03\0\0\0" + raw))
    except Fault:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
ROWS = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["F32", "BF16", "U8", "F4", "x"]) | JSON, "shape": st.lists(st.integers(-1, 5), max_size=3) | JSON, "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | JSON}
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(max_size=5), ROWS | JSON, max_size=4) | JSON, st.binary(max_size=40))
def test_any_header_is_read_or_refused(header: object, data: bytes) -> None:
    check_safetensors(Source.of_bytes("a", safetensors(header, data)), scan())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SMALL_SAFETENSORS) - 1), st.binary(min_size=1, max_size=9))
def test_a_changed_safetensors_is_read_or_refused(at: int, new: bytes) -> None:
    raw = SMALL_SAFETENSORS[:at] + new + SMALL_SAFETENSORS[at + len(new) :]
    check_safetensors(Source.of_bytes("a", raw), scan())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["F32", "U8", "F16"]), st.integers(0, 6)), max_size=5),
    st.integers(0, 3),
)
def test_what_a_writer_lays_out_passes_and_a_shift_is_found(
    parts: list[tuple[str, int]], shift: int
) -> None:
    header, at = {}, 0
    for number, (kind, count) in enumerate(parts):
        size = count * {"F32": 4, "U8": 1, "F16": 2}[kind]
        header[f"t{number}"] = row(kind, (count,), (at + shift, at + shift + size))
        at += size
    collected = scan()
    check_safetensors(Source.of_bytes("a", safetensors(header, bytes(at + shift))), collected)
    assert bool(collected.findings) == bool(shift)


@pytest.mark.parametrize("name", [each for each in benign() if each.endswith(".safetensors")])
def test_what_is_read_is_what_was_written(name: str) -> None:
    raw = benign()[name]
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    ours = read_safetensors(Source.of_bytes("a", raw))
    assert ours.metadata == header.pop("__metadata__", {})
    assert {key: list(each.data_offsets) for key, each in ours.tensors.items()} == {
        key: each["data_offsets"] for key, each in header.items()
    }
