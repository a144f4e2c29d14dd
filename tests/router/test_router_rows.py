"""Recorded outcomes: what is read, and how a bad line is named."""

from __future__ import annotations

import gzip

import pytest

from pointsman.errors import RouteError
from pointsman.router import rows as module
from pointsman.router.recorded import pair_rows
from pointsman.router.rows import Outcome, Row, read_rows

GOOD = b'{"prompt": "p", "models": {"a": {"s": 1}, "b": {"s": 2, "scale": 4, "ot": 9}}}\n'


def test_rows_are_read_plain_and_packed_and_unknown_fields_are_passed_over(tmp_path):
    plain, packed = tmp_path / "d.jsonl", tmp_path / "d.jsonl.gz"
    plain.write_bytes(GOOD + b"\n" + GOOD)
    packed.write_bytes(gzip.compress(GOOD + b"\n" + GOOD))
    found = list(read_rows(plain))
    assert found == list(read_rows(packed))
    assert found == [Row("p", {"a": Outcome(1), "b": Outcome(2, 4, 9)})] * 2
    assert found[0].models["b"].share == 0.5


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b'{"prompt": 1, "models": {}}',
        b'{"models": {}}',
        b'{"prompt": "p", "models": {"a": {"s": 2}}}',
        b'{"prompt": "p", "models": {"a": {"s": -1}}}',
        b'{"prompt": "p", "models": {"a": {"s": 0, "scale": 0}}}',
        b'{"prompt": "p", "models": {"a": {"s": 0, "ot": -1}}}',
        b'{"prompt": "\xff", "models": {}}',
        b"[" * 100_000,
    ],
)
def test_a_bad_line_is_named(tmp_path, line):
    path = tmp_path / "d.jsonl"
    path.write_bytes(GOOD + line + b"\n")
    with pytest.raises(RouteError, match=r"d\.jsonl:2: no recorded outcome"):
        list(read_rows(path))


def test_an_endless_line_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 100)
    path = tmp_path / "d.jsonl"
    path.write_bytes(GOOD + b"x" * 500)
    with pytest.raises(RouteError, match=r":2: a line is over 100 bytes"):
        list(read_rows(path))


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(GOOD * 99)[:-12]])
def test_a_broken_archive_is_named(tmp_path, data):
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(RouteError, match="cannot be read"):
        list(read_rows(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RouteError, match="cannot be read"):
        list(read_rows(tmp_path / "none.jsonl"))


def test_a_pair_that_is_not_there_gets_the_models_that_are(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(GOOD)
    assert pair_rows(path, "a", "b") == (list(read_rows(path)), [])
    with pytest.raises(RouteError, match="no row with both 'a' and 'c'; models: a, b"):
        pair_rows(path, "a", "c")
