"""The GGUF reader: what it reads, and that no file can hurt it."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import tiny_gguf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointsman.errors import LocalError
from pointsman.local.gguf import FILE_TYPES, TENSOR_BLOCKS, read_head

MEMORY_LIMIT_BYTES = 8 * 2**20


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


ARCHITECTURE = entry(b"general.architecture", 8, text(b"llama"))


def head(*entries: bytes, tensors: bytes = b"", tensor_count: int = 0, version: int = 3) -> bytes:
    start = b"GGUF" + struct.pack("<IQQ", version, tensor_count, len(entries))
    return start + b"".join(entries) + tensors + bytes(64)


def tensor(
    *shape: int, kind: int = 0, offset: int = 0, name: bytes = b"x", dimensions: int | None = None
) -> bytes:
    count = len(shape) if dimensions is None else dimensions
    return (
        text(name)
        + struct.pack("<I", count)
        + b"".join(struct.pack("<Q", length) for length in shape)
        + struct.pack("<IQ", kind, offset)
    )


def test_a_chat_model_is_read(llama_file: Path) -> None:
    found = read_head(llama_file)
    assert found.architecture == "llama"
    assert found.name == "tiny-llama"
    assert found.size_label == "330K"
    assert found.file_type == "F32"
    assert found.context_tokens == tiny_gguf.LLAMA_CONTEXT
    assert found.pooling is None
    assert found.has_chat_template
    assert found.parts == 1
    assert found.tensors == 29
    assert found.parameters == 330_144
    assert found.size_bytes == llama_file.stat().st_size


def test_an_embedding_model_is_read(bert_file: Path) -> None:
    found = read_head(bert_file)
    assert (found.architecture, found.context_tokens) == ("bert", tiny_gguf.BERT_CONTEXT)
    assert found.pooling == gguf.PoolingType.MEAN
    assert not found.has_chat_template


def test_a_template_too_long_to_keep_is_still_seen(tmp_path: Path) -> None:
    path = tiny_gguf.write_llama(tmp_path / "long.gguf", template="{# long #}" * 10_000)
    assert read_head(path).has_chat_template
    none = tiny_gguf.write_llama(tmp_path / "none.gguf", template=None)
    assert not read_head(none).has_chat_template


def test_a_vocabulary_larger_than_a_piece_is_passed_over(tmp_path: Path) -> None:
    words = b"".join(text(b"w" * (n % 97)) for n in range(20_000))
    vocabulary = struct.pack("<IQ", 8, 20_000) + words
    numbers = struct.pack("<IQ", 5, 200_000) + bytes(800_000)
    path = tmp_path / "large.gguf"
    path.write_bytes(
        head(
            entry(b"tokenizer.ggml.tokens", 9, vocabulary),
            entry(b"tokenizer.ggml.token_type", 9, numbers),
            ARCHITECTURE,
            entry(b"llama.context_length", 4, struct.pack("<I", 77)),
        )
    )
    assert read_head(path).context_tokens == 77


def array(kind: int, *items: int) -> bytes:
    form = {4: "I", 5: "i", 7: "?", 10: "Q"}[kind]
    return struct.pack(f"<IQ{len(items)}{form}", kind, len(items), *items)


def test_the_measures_of_a_model_are_read(llama_file: Path) -> None:
    shape = read_head(llama_file).shape
    assert (shape.block_count, shape.embedding_length) == (3, 96)
    assert (shape.head_count, shape.head_count_kv) == ((4,) * 3, (2,) * 3)
    assert shape.feed_forward_length == (256,) * 3
    assert (shape.tokens, shape.merges) == (264, 1)
    weights = shape.weights
    assert (weights.vocabulary, weights.embedding_bytes, weights.tied) == (264, 264 * 96 * 4, True)
    assert weights.bytes == 330_144 * 4 == dict(weights.by_type)[0]


def test_measures_of_each_layer_are_read(tmp_path: Path) -> None:
    def number(key: bytes, value: int) -> bytes:
        return entry(b"llama." + key, 4, struct.pack("<I", value))

    path = tmp_path / "layers.gguf"
    path.write_bytes(
        head(
            # An array may come before what says how many layers there are.
            entry(b"llama.attention.head_count_kv", 9, array(5, 0, 2, 0, 2)),
            entry(b"llama.attention.sliding_window_pattern", 9, array(7, 1, 0, 1, 0)),
            ARCHITECTURE,
            number(b"block_count", 4),
            number(b"attention.head_count", 8),
            number(b"attention.sliding_window", 0),
            entry(b"llama.feed_forward_length", 9, array(4, 10, 20, 30, 40)),
            entry(b"other.attention.head_count", 9, array(4, 1, 1, 1, 1)),
            tensors=tensor(32, 5, kind=8, name=b"token_embd.weight")
            + tensor(32, 5, kind=8, offset=192, name=b"output.weight"),
            tensor_count=2,
        )
        + bytes(512)
    )
    shape = read_head(path).shape
    assert shape.head_count == (8, 8, 8, 8)
    assert shape.head_count_kv == (0, 2, 0, 2)
    assert shape.feed_forward_length == (10, 20, 30, 40)
    assert shape.window_layers == (1, 0, 1, 0)
    assert shape.sliding_window == 0
    assert (shape.weights.vocabulary, shape.weights.tied) == (5, False)
    assert shape.weights.by_type == ((8, 2 * 170),)


@pytest.mark.parametrize(
    "value",
    [
        entry(b"llama.attention.head_count_kv", 9, array(4, *[2] * 2_000)),  # Too many to keep.
        entry(b"llama.attention.head_count_kv", 9, array(4, 2, 2)),  # Fewer than layers.
        entry(b"llama.attention.head_count_kv", 9, array(5, 2, -2, 2, 2)),
        entry(b"llama.attention.head_count_kv", 10, struct.pack("<Q", 1 << 40)),
        entry(b"llama.attention.head_count_kv", 8, text(b"two")),
        entry(b"llama.attention.head_count_kv", 6, struct.pack("<f", 2.0)),
    ],
    ids=["long", "short", "negative", "huge", "text", "fraction"],
)
def test_a_measure_that_makes_no_sense_counts_as_not_said(tmp_path: Path, value: bytes) -> None:
    path = tmp_path / "odd.gguf"
    blocks = entry(b"llama.block_count", 4, struct.pack("<I", 4))
    heads = entry(b"llama.attention.head_count", 4, struct.pack("<I", 8))
    path.write_bytes(head(ARCHITECTURE, blocks, heads, value))
    assert read_head(path).shape.head_count_kv == (8,) * 4


def test_a_count_of_layers_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "deep.gguf"
    blocks = entry(b"llama.block_count", 4, struct.pack("<I", 2**24))
    heads = entry(b"llama.attention.head_count", 4, struct.pack("<I", 8))
    path.write_bytes(head(ARCHITECTURE, blocks, heads))
    assert len(read_head(path).shape.head_count) == 1_024


def test_many_kept_arrays_cost_little_memory(tmp_path: Path) -> None:
    keys = [f"a{number}.feed_forward_length".encode() for number in range(4_000)]
    arrays = [entry(key, 9, array(10, *[2**40] * 1_000)) for key in keys]
    path = tmp_path / "arrays.gguf"
    path.write_bytes(head(ARCHITECTURE, *arrays))
    tracemalloc.start()
    try:
        read_head(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_LIMIT_BYTES


def test_the_tables_are_those_of_the_format() -> None:
    for kind, (elements, size) in TENSOR_BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)] == (elements, size), kind
    known = {kind.value: kind.name for kind in gguf.LlamaFileType}
    for number, name in FILE_TYPES.items():
        assert known[number] in (f"MOSTLY_{name}", f"ALL_{name}"), name


U64 = 2**64 - 1
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "too short"),
    "another format": (b"PK\x03\x04" + bytes(60), "begins with b'PK"),
    "version 1": (head(ARCHITECTURE, version=1), "GGUF version is 1"),
    "big-endian": (head(ARCHITECTURE, version=3 << 24), "big-endian"),
    "too many entries": (b"GGUF" + struct.pack("<IQQ", 3, 0, U64) + bytes(64), "entries"),
    "too many tensors": (b"GGUF" + struct.pack("<IQQ", 3, U64, 0) + bytes(64), "tensors"),
    "a key without end": (head(struct.pack("<Q", U64)), "claims a text of"),
    "a text without end": (head(entry(b"k", 8, struct.pack("<Q", U64))), "claims a text of"),
    "a text past the end": (head(entry(b"k", 8, struct.pack("<Q", 9999))), "reaches past its end"),
    "an array without end": (head(entry(b"k", 9, struct.pack("<IQ", 0, U64))), "array of"),
    "an array past the end": (head(entry(b"k", 9, struct.pack("<IQ", 10, 9999))), "past its end"),
    "texts past the end": (head(entry(b"k", 9, struct.pack("<IQ", 8, 9999))), "cut short"),
    "an array in an array": (head(entry(b"k", 9, struct.pack("<IQ", 9, 1))), "unknown kind 9"),
    "an unknown kind": (head(entry(b"k", 99, b"")), "unknown kind 99"),
    "a key twice": (head(ARCHITECTURE, ARCHITECTURE), "twice"),
    "no architecture": (head(), "names no architecture"),
    "an architecture that is a number": (
        head(entry(b"general.architecture", 4, bytes(4))),
        "names no architecture",
    ),
    "alignment 0": (
        head(ARCHITECTURE, entry(b"general.alignment", 4, bytes(4))),
        "alignment is 0",
    ),
    "alignment 24": (
        head(ARCHITECTURE, entry(b"general.alignment", 4, struct.pack("<I", 24))),
        "no power of two",
    ),
    "dimensions": (
        head(ARCHITECTURE, tensors=tensor(dimensions=U64 >> 32), tensor_count=1),
        "dimensions",
    ),
    "elements": (
        head(ARCHITECTURE, tensors=tensor(2**40, 2**40), tensor_count=1),
        "elements",
    ),
    "a tensor past the end": (
        head(ARCHITECTURE, tensors=tensor(4096), tensor_count=1),
        "its tensors need",
    ),
    "an offset past the end": (
        head(ARCHITECTURE, tensors=tensor(1, offset=2**62), tensor_count=1),
        "its tensors need",
    ),
    "an odd offset": (
        head(ARCHITECTURE, tensors=tensor(1, offset=5), tensor_count=1),
        "not laid out",
    ),
    "a row of half a block": (
        head(ARCHITECTURE, tensors=tensor(16, kind=2), tensor_count=1),
        "not laid out",
    ),
}


@pytest.mark.parametrize(("data", "why"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_by_name_and_reason(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(data)
    with pytest.raises(LocalError, match=r"^broken\.gguf cannot be used: ") as caught:
        read_head(path)
    assert why in caught.value.message


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, bert_file: Path) -> None:
    whole = bert_file.read_bytes()
    path = tmp_path / "cut.gguf"
    for size in {0, 3, 4, 23, 24, *range(24, len(whole), 997), len(whole) - 64}:
        path.write_bytes(whole[:size])
        with pytest.raises(LocalError, match=r"cut short|too short"):
            read_head(path)


@pytest.mark.parametrize(
    "at", [lambda folder: folder / "missing.gguf", lambda folder: folder], ids=["missing", "folder"]
)
def test_what_cannot_be_opened_is_named(tmp_path: Path, at: Callable[[Path], Path]) -> None:
    with pytest.raises(LocalError, match="cannot be read"):
        read_head(at(tmp_path))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 7_000), st.binary(min_size=1, max_size=9)), min_size=1, max_size=6
    ),
    size=st.one_of(st.none(), st.integers(0, 120_000)),
)
def test_a_mutated_file_is_read_or_refused(
    tmp_path: Path, bert_file: Path, changes: list[tuple[int, bytes]], size: int | None
) -> None:
    data = bytearray(bert_file.read_bytes())
    for at, change in changes:
        data[at : at + len(change)] = change
    path = tmp_path / "mutated.gguf"
    path.write_bytes(data[:size])
    try:
        assert read_head(path).size_bytes == len(data[:size])
    except LocalError as error:
        assert error.message.startswith("mutated.gguf")


def test_the_largest_claims_cost_little_memory(tmp_path: Path) -> None:
    """A head near its limits: as many entries of as much as is kept, and as long a text."""
    kept = [
        entry(f"key-{n:0>120}".encode(), 8, text(b"\xf0\x9f\x98\x80" * 250)) for n in range(1_000)
    ]
    long = entry(b"tokenizer.chat_template", 8, text(b"x" * 2**24))
    path = tmp_path / "large.gguf"
    path.write_bytes(head(ARCHITECTURE, *kept, long))
    tracemalloc.start()
    try:
        assert read_head(path).has_chat_template
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_LIMIT_BYTES
