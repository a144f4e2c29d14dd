"""The hull, the rivals and the report of bench/routing.py, on values worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

BENCH = Path(__file__).parent.parent / "bench"
sys.path.insert(0, str(BENCH))

from _routing_hull import hull, way  # noqa: E402
from _routing_report import hull_plot, reliability_plot, text_of  # noqa: E402
from _routing_rivals import Factorised, neighbours  # noqa: E402

from pointsman.router.rows import Outcome, Row  # noqa: E402


def test_a_hull_never_falls_and_bends_down():
    costs = np.array([1.0, 2.0, 3.0, 4.0, 2.0])
    scores = np.array([0.0, 0.8, 0.7, 1.0, 0.2])
    x, y = hull(costs, scores)
    assert (x.tolist(), y.tolist()) == ([1.0, 2.0, 4.0], [0.0, 0.8, 1.0])


def test_the_oracle_goes_all_the_way_and_a_constant_none():
    generator = np.random.default_rng(0)
    shares = (generator.random((400, 3)) < [0.3, 0.5, 0.7]).astype(float)
    costs = np.tile([1.0, 3.0, 10.0], (400, 1))
    assert way(shares, shares, costs)[0] == pytest.approx(1.0, abs=0.02)
    flat = np.tile(shares.mean(0), (400, 1))
    assert way(flat, shares, costs)[0] == pytest.approx(0.0, abs=0.1)


def lesson(count: int) -> tuple[list[Row], np.ndarray]:
    """Prompts of two kinds; the weak model fails at one of them."""
    generator = np.random.default_rng(1)
    hard = np.arange(count) % 2
    vectors = np.zeros((count, 4), np.float32)
    vectors[np.arange(count), hard] = 1.0
    vectors += generator.normal(0, 0.05, vectors.shape).astype(np.float32)
    rows = [Row(str(n), {"s": Outcome(1), "w": Outcome(1 - int(hard[n]))}) for n in range(count)]
    return rows, vectors


def test_the_rivals_learn_what_is_there():
    rows, vectors = lesson(200)
    near = neighbours(vectors, rows, vectors[:2], "s", "w")
    assert near[0] > near[1] + 0.5
    found = Factorised(vectors, rows).p_weak(vectors[:2], "s", "w")
    assert found[0] > found[1] + 0.3
    assert Factorised(vectors, rows).p_weak(vectors[:2], "s", "nobody") == [0.0, 0.0]


def test_the_report_is_a_page_and_its_plots_are_svg():
    row = {
        "strong": "s", "weak": "w", "rows": 10, "apgr": 0.7, "apgr_95": [0.6, 0.8], "cpt50": 0.2,
        "cpt80": 0.5, "auroc": 0.6, "calibration_error": 0.03, "longest_first": 0.5,
        "subject_oracle": 0.72, "query_oracle": 1.3,
    }  # fmt: skip
    hulls = [
        {
            "benchmarks": "a|b", "rows": 10, "models": ["m", "n"], "way": 0.1, "way_95": [0.0, 0.2],
            "best_fixed": "n", "best_fixed_score": 0.9,
            "curves": {key: [[1e-05, 0.0001], [0.5, 0.9]] for key in ("mixing", "router", "oracle", "fixed")},
        }
    ]  # fmt: skip
    result = {
        "pairs": [row], "held_out": row, "left_out": [row | {"left_out": "x|y"}],
        "subjects_left_out": row, "hulls": hulls,
        "calibration": {
            "outcomes": 100, "error": 0.02, "models": 2, "model_median": 0.04, "model_worst": 0.1,
            "model_worst_name": "m", "curve": [[0.1, 0.2], [0.8, 0.9]],
        },
        "abilities": {"public_sd": 0.5, "price_sd": 0.8, "mean_sd": 1.0}, "model_bytes": 30000,
        "latency_us_p50": {"1000": 99.0}, "cpu_us": {"1000": 90.0},
    }  # fmt: skip
    text = text_of(result)
    assert "| s / w, folds | 10 | 0.700 [0.600, 0.800] | 0.200 |" in text
    assert (
        "| x, y: s / w |" in text and "| a, b | 2 | 10 | 0.100 [0.000, 0.200] | n (0.900) |" in text
    )
    for plot in (hull_plot(hulls), reliability_plot(result["calibration"]["curve"])):
        assert ElementTree.fromstring(plot).tag.endswith("svg")
