from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.distill import lines, records
from pointsman.distill.rows import Row, label_set, read_rows, read_texts
from pointsman.distill.sample import draw, read_sample
from pointsman.errors import DistillError, MissingExtra


@pytest.fixture
def write(tmp_path):
    """Gives a function (name, text or bytes) → path."""

    def put(name, data):
        path = tmp_path / name
        raw = data if isinstance(data, bytes) else data.encode()
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    return put


def objects(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def error_of(path, **options):
    with pytest.raises(DistillError) as caught:
        list(read_rows(path, **options))
    return caught.value.message


def numbered(count, labels=("a", "b")):
    return [Row(f"text {n}", (labels[n % len(labels)],)) for n in range(count)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.JSONL"])
def test_json_lines_with_all_that_a_row_may_hold(write, name):
    first = {"text": "hallo", "label": " de ", "weight": 2, "lang": "de", "soft": {"de": 0.9}}
    path = write(name, objects(first, {"text": "", "labels": ["x", "y", "x"]}) + "\n")
    one, two = read_rows(path)
    assert one == Row("hallo", ("de",), {"de": 0.9}, 2.0, "de")
    assert two == Row("", ("x", "y"))
    assert list(read_texts(path)) == ["hallo", ""]


def test_labels_that_are_numbers_or_truth_values_become_strings(write):
    path = write("a.jsonl", objects({"text": "x", "label": 1}, {"text": "y", "labels": [True]}))
    assert [row.labels for row in read_rows(path)] == [("1",), ("true",)]


@pytest.mark.parametrize(("name", "sep"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
def test_separated_columns_with_quotes_breaks_and_other_columns(write, name, sep):
    out = io.StringIO()
    rows = [["7", f'a "b"{sep}\nc', "x", "0.5"], ["8", "z" * 200_000, "y", ""]]
    csv.writer(out, delimiter=sep).writerows([["id", "text", "label", "weight"], *rows])
    ignored: set[str] = set()
    one, two = read_rows(write(name, out.getvalue()), ignored=ignored)
    assert one == Row(f'a "b"{sep}\nc', ("x",), None, 0.5)
    assert len(two.text) == 200_000 and two.weight == 1
    assert ignored == {"id"}


def test_separated_labels_are_split(write):
    path = write("a.csv", "text,labels\nx,a|b\ny,\nz, c \n")
    assert [row.labels for row in read_rows(path)] == [("a", "b"), (), ("c",)]


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    texts = [f"text {n}" for n in range(1000)]
    columns = {
        "id": list(range(1000)),
        "text": texts,
        "labels": [["a", "b"] if n % 2 else [] for n in range(1000)],
        "soft": [{"a": 0.5, "b": None} if n == 0 else None for n in range(1000)],
    }
    parquet.write_table(pyarrow.table(columns), path, row_group_size=300)
    ignored: set[str] = set()
    rows = list(read_rows(path, ignored=ignored))
    assert [row.text for row in rows] == texts
    assert rows[0] == Row("text 0", (), {"a": 0.5}) and rows[1].labels == ("a", "b")
    assert ignored == {"id"}
    parquet.write_table(pyarrow.table({"text": ["a", None], "label": ["x", "y"]}), path)
    assert f"{path}:2: no 'text'" in error_of(path)
    path.write_bytes(path.read_bytes()[:-20] + b"PAR1")
    assert "cannot be read as Parquet" in error_of(path)


def test_parquet_without_its_reader_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pointsman\[parquet\]"):
        next(read_rows(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_byte_order_mark_says_the_encoding(write, mark, encoding, name):
    text = "text,label\r\n" + "日本語 Ünï 🦎,ja\r\n" * 5000
    rows = list(read_rows(write(name, mark + text.encode(encoding))))
    assert len(rows) == 5000 and rows[-1] == Row("日本語 Ünï 🦎", ("ja",))


def test_an_encoding_can_be_named_and_a_wrong_line_is_named_with_the_fix(write):
    data = objects(
        {"text": "plain", "label": "a"}
    ).encode() + '{"text": "né", "label": "b"}\n'.encode("latin-1")
    path = write("a.jsonl", data)
    message = error_of(path)
    assert f"{path}:2: not utf-8" in message and "--encoding" in message and "latin-1" in message
    assert [row.text for row in read_rows(path, encoding="latin-1")] == ["plain", "né"]
    assert "no encoding of text" in error_of(path, encoding="rot13")
    assert "no encoding of text" in error_of(path, encoding="latin-99")
    cut = write("b.jsonl", codecs.BOM_UTF16_LE + "{}\n".encode("utf-16-le") + b"\x00\xd8")
    assert f"{cut}:" in error_of(cut)


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("a.jsonl", '{"text": "x"}\n', [":1: no 'label'", "it has 'text'", "--unlabelled"]),
        ("a.jsonl", '{"Text": "x", "label": "a"}\n', ["rename 'Text' to 'text'"]),
        ("a.jsonl", '{"sentence": "x", "label": "a"}\n', ["'sentence', 'label'", "to 'text'"]),
        ("a.jsonl", '\n{"text": 5, "label": "a"}\n', [":2: 'text' must be a string, not a number"]),
        ("a.jsonl", '{"text": "x", "label": ["a"]}\n', ["a label must be a string, not a list"]),
        ("a.jsonl", '{"text": "x", "labels": {"a": 1}}\n', ["must be a list of strings"]),
        ("a.jsonl", '{"text": "x", "label": 1.5}\n', ["must be a string"]),
        ("a.jsonl", '{"text": "x", "label": " "}\n', ["an empty label"]),
        ("a.jsonl", '{"text": "x", "label": "a", "labels": []}\n', ["both 'label' and 'labels'"]),
        ("a.jsonl", json.dumps({"text": "x", "label": "y" * 201}), ["over 200 characters"]),
        ("a.jsonl", '{"text": "x", "label": "a", "weight": -1}', ["'weight' must be a number"]),
        ("a.jsonl", '{"text": "x", "label": "a", "weight": true}', ["'weight' must be a number"]),
        ("a.jsonl", '{"text": "x", "label": "a", "soft": {"a": 2}}', ["'soft' must be"]),
        ("a.jsonl", '{"text": "x", "label": "a", "soft": 1}', ["'soft' must be"]),
        ("a.jsonl", '{"text": "x", "label": "a", "lang": 1}', ["'lang' must be"]),
        ("a.jsonl", "text,label\n", [":1: no JSON object", "one object a line"]),
        ("a.jsonl", '[{"text": "x"}]', [":1: no JSON object"]),
        ("a.jsonl", "[" * 100_000, [":1: no JSON object"]),
        ("a.csv", "text,label\nx,a\ny,b,c\n", [":3: 3 columns, and the header has 2"]),
        ("a.csv", 'text,label\n"x\ny,b\n', [":2: the row that begins here"]),
        ("a.csv", "text,text\n", ["'text' twice"]),
        ("a.csv", "x,a\ny,b\n", [":2: no 'text': it has 'x', 'a'"]),
        ("a.csv", ",".join(map(str, range(1001))), ["over 1000 columns"]),
        ("a.csv", "text,label,soft\nx,a,{\n", ["'soft' must be"]),
        ("a.csv", "text,label,weight\nx,a,much\n", ["'weight' must be"]),
        ("a.xlsx", "", ["its name does not say", ".parquet"]),
        ("a.gz", "", ["its name does not say"]),
    ],
)
def test_what_is_wrong_is_named_with_the_line_and_what_to_do(write, name, text, parts):
    message = error_of(write(name, text))
    for part in parts:
        assert part in message


def test_a_file_that_is_not_there_or_no_archive(tmp_path, write):
    assert "cannot be read: No such file" in error_of(tmp_path / "none.jsonl")
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b"no archive")
    assert "cannot be read" in error_of(path)
    path.write_bytes(gzip.compress(b'{"text": "x", "label": "a"}\n' * 1000)[:-30])
    assert "cannot be read" in error_of(path)


def test_a_line_without_end_is_refused_in_bounded_memory(write, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 100_000)
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 100_000)
    for name, mark, zeros in (
        ("a.jsonl.gz", b"", b"0" * 20_000_000),
        ("b.jsonl.gz", codecs.BOM_UTF16_LE, "0".encode("utf-16-le") * 10_000_000),
    ):
        path = write(name, mark + zeros)
        del zeros
        tracemalloc.start()
        assert "a line is over" in error_of(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()


def test_an_archive_that_unpacks_beyond_measure_is_refused(write, monkeypatch):
    monkeypatch.setattr(lines, "FREE_BYTES", 100_000)
    row = b'{"text": "x", "label": "a"}\n'
    assert "unpacks to over 200 times" in error_of(write("a.jsonl.gz", row * 200_000))
    assert len(list(read_rows(write("b.jsonl.gz", row * 1000)))) == 1000


def test_texts_without_labels(write):
    assert list(read_texts(write("a.txt", "one\r\n\ntwo"))) == ["one", "two"]
    assert list(read_texts(write("a.csv", "id,text\n1,one\n"))) == ["one"]
    with pytest.raises(DistillError, match="no 'text'"):
        list(read_texts(write("a.jsonl", "{}")))


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=20))
def test_texts_come_back_as_they_were(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("rows")
    jsonl, table = folder / "a.jsonl", folder / "a.csv.gz"
    jsonl.write_text(objects(*({"text": text, "label": "a"} for text in texts)), "utf-8")
    with gzip.open(table, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([["text", "label"], *([text, "a"] for text in texts)])
    assert list(read_texts(jsonl)) == texts
    assert [row.text for row in read_rows(table)] == texts


@given(st.binary(max_size=300), st.sampled_from(["a.jsonl", "a.csv", "a.tsv.gz", "a.parquet"]))
def test_bytes_of_any_kind_are_rows_or_a_clear_error(tmp_path_factory, data, name):
    pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("rows") / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    try:
        assert all(isinstance(row, Row) for row in read_rows(path))
    except DistillError as error:
        assert str(path) in error.message


def test_the_labels_of_rows():
    assert label_set(numbered(10)).names == ("a", "b")
    assert not label_set(numbered(10)).multi
    assert label_set([*numbered(9), Row("x", ())]).multi
    assert label_set([Row("x", ("a",) if n else ()) for n in range(10)]).names == ("a",)


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        (numbered(3), "3 rows are too few"),
        ([], "0 rows are too few"),
        (numbered(20, ["a"]), "only the label 'a'"),
        ([Row("x", ())] * 20, "no label at all"),
        ([Row(f"x{n}", (f"l{n}",)) for n in range(5000)], "over 4096 different labels"),
        ([Row(" ", ("a", "b")[n % 2 :][:1]) for n in range(20)], "all texts are empty"),
    ],
)
def test_rows_that_teach_nothing_are_refused(rows, part):
    with pytest.raises(DistillError) as caught:
        label_set(rows)
    assert part in caught.value.message


def test_a_sample_is_even_seeded_in_order_and_bounded():
    rows = numbered(20_000, [f"l{n}" for n in range(10)])
    sample = draw(iter(rows), seed=1, max_rows=2000)
    assert len(sample.rows) == 2000 and sample.seen == 20_000
    numbers = [int(row.text.split()[1]) for row in sample.rows]
    assert numbers == sorted(numbers)
    tenths = [sum(n // 2000 == tenth for n in numbers) for tenth in range(10)]
    # Binomial with 2000 of 1/10: four standard deviations are 54.
    assert all(146 <= each <= 254 for each in tenths)
    assert draw(iter(rows), seed=1, max_rows=2000) == sample
    assert draw(iter(rows), seed=2, max_rows=2000).rows != sample.rows
    assert "2,000 of 20,000 rows" in sample.notes()[0]
    assert draw(iter(rows)).rows == tuple(rows)


def test_a_sample_is_bounded_by_bytes_and_long_rows_are_not_favoured_or_shut_out():
    rows = [Row("x" * (5000 if n % 2 else 50), ("ab"[n % 2],)) for n in range(4000)]
    sample = draw(iter(rows), max_bytes=2_000_000)
    held = sum(len(row.text) + 64 for row in sample.rows)
    assert 1_900_000 < held <= 2_000_000
    long = sum(row.labels == ("b",) for row in sample.rows)
    assert 0.4 < long / len(sample.rows) < 0.6


def test_what_is_odd_about_a_file_is_counted(write):
    rows = [{"text": f"t{n}", "label": "ab"[n % 2], "id": n} for n in range(20)]
    odd = [rows[0], {"text": "t1", "label": "a"}, {"text": " ", "label": "a"}]
    sample = read_sample(write("a.jsonl", objects(*rows, *odd)))
    assert (sample.seen, sample.empty, len(sample.rows)) == (23, 1, 22)
    assert (sample.duplicates, sample.contradictions, sample.ignored) == (1, 1, ("id",))
    assert len(sample.notes()) == 4
    kept = read_sample(write("a.jsonl", objects(*rows, *odd)), keep_empty=True)
    assert len(kept.rows) == 23 and kept.empty == 0
    with pytest.raises(DistillError, match="has no rows"):
        read_sample(write("b.jsonl", "\n"))
    with pytest.raises(DistillError, match="over 8192 different labels"):
        draw(Row("x", (f"{n}",)) for n in range(10_000))


def test_a_rare_label_that_was_not_drawn_is_named():
    rows = [*numbered(5000), Row("once", ("rare",))]
    sample = draw(iter(rows), max_rows=100)
    assert sample.lost == ("rare",) and "rare" in " ".join(sample.notes())


def test_a_large_file_is_read_in_bounded_memory(tmp_path):
    path = tmp_path / "a.jsonl"
    line = json.dumps({"text": "word " * 40, "label": "a"}) + "\n"
    with path.open("w") as file:
        for _ in range(200):
            file.write(line * 200)
    tracemalloc.start()
    shown = []
    sample = read_sample(
        path, max_bytes=300_000, progress=lambda done, total: shown.append((done, total))
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sample.seen == 40_000 and path.stat().st_size > 8_000_000
    assert peak < 4_000_000
    size = path.stat().st_size
    assert len(shown) == 5 and shown == sorted(shown) and shown[-1] == (size, size)


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from pointsman.distill.sample import read_sample

here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (here + 32 * 1024 * 1024,) * 2)
sample = read_sample(Path(sys.argv[1]), max_bytes=2_000_000)
print(len(sample.rows), sample.seen, sample.notes()[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited as Linux does")
def test_a_file_larger_than_memory_is_sampled_and_said(tmp_path):
    """128 MiB of rows, each another one, through a process with 32 MiB left."""
    path = tmp_path / "a.jsonl"
    tail = "word " * 1650
    with path.open("w") as file:
        for n in range(16_384):
            file.write(f'{{"text": "{n} {tail}", "label": "{"ab"[n % 2]}"}}\n')
    assert path.stat().st_size > 128 * 1024 * 1024
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY, path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows, seen, note = done.stdout.split(maxsplit=2)
    assert seen == "16384" and 220 < int(rows) < 250
    assert f"{rows} of 16,384 rows were drawn" in note
    # So much does not fit: what was read by line could not have been read whole.
    whole = LITTLE_MEMORY.replace(
        "sample = read_sample", "Path(sys.argv[1]).read_bytes()\nsample = read_sample"
    )
    failed = subprocess.run([sys.executable, "-c", whole, path], capture_output=True, timeout=120)
    assert b"MemoryError" in failed.stderr
