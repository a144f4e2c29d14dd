"""The tables of RouteLLM and RouterBench, and what is refused."""

from __future__ import annotations

import gzip
import sys

import pyarrow
import pytest
from pyarrow import parquet

from pointsman.errors import MissingExtra, RouteError
from pointsman.router.recorded import pair_rows, recorded_rows
from pointsman.router.rows import Outcome, Row

ROUTELLM = 'prompt,weak,strong\n"What is 1 + 1?\nA. 2\nAnswer:",True,True\nHarder,False,True\n'
ROUTERBENCH = (
    "sample_id,prompt,eval_name,m/a,m/b,m/a|model_response,m/b|model_response,"
    "m/a|total_cost,m/b|total_cost,oracle_model_to_route_to\n"
    "s.1,\"['One', 'Two']\",mmlu,0.0,1.0,x,y,0.1,0.2,m/b\n"
    's.2,"[\'no [list",mmlu,0.25,,x,y,0.1,0.2,m/a\n'
)


def test_routellm_has_a_column_of_truths_for_each_model(tmp_path):
    path = tmp_path / "mmlu.csv"
    path.write_text(ROUTELLM)
    assert list(recorded_rows(path)) == [
        Row("What is 1 + 1?\nA. 2\nAnswer:", {"weak": Outcome(1), "strong": Outcome(1)}),
        Row("Harder", {"weak": Outcome(0), "strong": Outcome(1)}),
    ]
    both, others = pair_rows(path, "strong", "weak")
    assert (len(both), others) == (2, [])


def test_routerbench_has_scores_costs_and_turns(tmp_path):
    path = tmp_path / "rb.csv.gz"
    path.write_bytes(gzip.compress(ROUTERBENCH.encode()))
    first, second = recorded_rows(path)
    assert first == Row(
        "One\nTwo", {"m/a": Outcome(0), "m/b": Outcome(1)}, id="s.1", benchmark="mmlu"
    )
    assert (second.prompt, second.models) == ("['no [list", {"m/a": Outcome(0.25)})


def test_parquet_is_read_without_the_answers(tmp_path, monkeypatch):
    path = tmp_path / "rb.parquet"
    table = {
        "prompt": ["p", "q"], "eval_name": ["x", "y"], "a": [1.0, None], "b": [True, False],
        "a|model_response": ["long", "long"], "a|total_cost": [0.1, 0.1], "b|total_cost": [0.1, 0.1],
    }  # fmt: skip
    parquet.write_table(pyarrow.table(table), path)
    assert list(recorded_rows(path)) == [
        Row("p", {"a": Outcome(1), "b": Outcome(1)}, benchmark="x"),
        Row("q", {"b": Outcome(0)}, benchmark="y"),
    ]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pointsman\[parquet\]"):
        list(recorded_rows(path))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.pkl", b"cos\nsystem\n", "is a pickle"),
        ("a.csv", b"text,m\nx,1\n", "no column 'prompt'"),
        ("a.csv", b"prompt,id\nx,1\n", "no column of a model's scores"),
        ("a.csv", b"prompt,m\nx,7\n", ":2: 'm' is no score from 0 to 1: '7'"),
        ("a.csv", b"prompt,m\nx,good\n", "no score"),
        ("a.csv", b"prompt,m\n\xff,1\n", "cannot be read"),
        ("a.csv.gz", b"no gzip", "cannot be read"),
        ("a.parquet", b"no parquet", "cannot be read"),
        ("a.csv", b'prompt,m\n"' + b"x" * 1_000_100 + b'",1\n', "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, name, data, said):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(RouteError, match=said):
        list(recorded_rows(path))
