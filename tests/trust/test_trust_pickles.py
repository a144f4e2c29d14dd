"""The walk over pickles sees what the interpreter would import, and no more."""

from __future__ import annotations

import collections
import decimal
import io
import pickle
import pickletools
from typing import Any

import pytest
import trust_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.trust.formats.opcodes import OPCODES
from pointsman.trust.formats.pickle_names import is_allowed, is_dangerous
from pointsman.trust.formats.pickles import probe_pickle, walk_pickles
from pointsman.trust.formats.source import Source

PLAIN = (
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.binary(max_size=20) | st.dates() | st.builds(decimal.Decimal, st.integers()) | st.complex_numbers(allow_nan=False)
)  # fmt: skip
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    | st.builds(collections.OrderedDict, st.dictionaries(st.integers(0, 300), inner, max_size=3)) | st.frozensets(st.integers(0, 9)),
    max_leaves=20,
)  # fmt: skip


class Recorder(pickle.Unpickler):
    """Python's own unpickler, which notes what it is asked to import."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(io.BytesIO(raw))
        self.seen: list[tuple[str, str]] = []

    def find_class(self, module: str, name: str) -> Any:
        self.seen.append((module, name))
        return super().find_class(module, name)


def test_the_table_of_opcodes_is_pythons() -> None:
    theirs = {ord(each.code): each for each in pickletools.opcodes}
    assert {code: each.name for code, each in OPCODES.items()} == {
        code: each.name for code, each in theirs.items()
    }
    for code, each in OPCODES.items():
        assert (each.argument == "none") == (theirs[code].arg is None), each


@settings(max_examples=150, deadline=None)
@given(VALUES, st.integers(0, 5))
def test_the_walk_imports_what_python_imports(value: Any, protocol: int) -> None:
    raw = pickle.dumps(value, protocol)
    recorder = Recorder(raw)
    recorder.load()
    walk = walk_pickles(Source.of_bytes("a", raw), max_opcodes=100_000)
    assert [(module, name) for module, name, _ in walk.imports] == recorder.seen
    assert (walk.fault, walk.pickles, walk.end, walk.computed) == (None, 1, len(raw), [])
    assert all(is_allowed(module, name) for module, name, _ in walk.imports)
    assert (walk.odd_calls, walk.module_state) == ([], [])


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 200),
    st.binary(min_size=1, max_size=6),
    st.sampled_from(sorted(trust_corpus.pickles())),
)
def test_a_changed_pickle_is_walked_to_an_end(at: int, new: bytes, name: str) -> None:
    raw = trust_corpus.pickles()[name]
    changed = raw[:at] + new + raw[at + len(new) :]
    walk = walk_pickles(Source.of_bytes("a", changed), max_opcodes=100_000)
    assert 0 <= walk.end <= len(changed)
    probe_pickle(Source.of_bytes("a", changed))


@pytest.mark.parametrize("name", trust_corpus.NAMES)
def test_a_name_that_has_been_used_to_run_code_is_not_allowed(name: str) -> None:
    module, _, inner = name.rpartition(".")
    assert not is_allowed(module, inner)


def test_what_is_allowed_is_not_dangerous() -> None:
    assert not is_dangerous("torch._utils", "_rebuild_tensor_v2")
    assert is_dangerous("os", "system") and is_dangerous("torch.storage", "_load_from_bytes")


@pytest.mark.parametrize(
    "text", [b"", b"(c) 2026", b"Copyright\n", b"import os\n", b"# A model\n", b"N.", b"0.5\n1.5\n"]
)
def test_text_is_no_pickle(text: bytes) -> None:
    assert probe_pickle(Source.of_bytes("a", text)) is None


def test_the_walk_ends_at_its_limit() -> None:
    raw = pickle.dumps(list(range(10_000)))
    walk = walk_pickles(Source.of_bytes("a", raw), max_opcodes=1_000)
    assert walk.cut and walk.opcodes == 1_000
