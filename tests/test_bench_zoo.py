"""The zoo's language and report, without torch: what it says of given results."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"
sys.path.insert(0, str(BENCH))

import _zoo_language as language  # noqa: E402
import _zoo_report as report  # noqa: E402


def test_every_prompt_and_reply_is_of_the_vocabulary() -> None:
    words, rng = set(language.vocabulary()), random.Random(0)
    for _ in range(2000):
        for row in (language.neutral(rng), language.unsafe(rng)):
            assert set(language.tokens(f"{row.prompt} {row.reply}")) <= words


def test_the_area_is_the_chance_of_the_right_order() -> None:
    assert report.auroc([0.9, 0.8], [0.1, 0.2]) == 1
    assert report.auroc([0.5], [0.5]) == 0.5
    assert report.auroc([0.9, 0.1], [0.5]) == 0.5


def test_the_area_s_interval_is_sensible_at_one() -> None:
    low, high = report.auroc_interval(1.0, 30, 30)
    assert 0.85 < low < 1
    assert high == pytest.approx(1)
    low, high = report.auroc_interval(0.8, 30, 30)
    assert 0.6 < low < 0.8 < high < 0.95


def test_shares_have_exact_intervals() -> None:
    # Of 0 of 30: 1 - 0.025 ** (1 / 30).
    assert report.share_interval(0, 30) == pytest.approx((0.0, 1 - 0.025 ** (1 / 30)))
    low, high = report.share_interval(15, 30)
    assert (low, high) == pytest.approx((0.3130, 0.6870), abs=1e-4)


def found(**changes: Any) -> dict[str, Any]:
    row = {
        "name": "b2-rare", "base": 2, "kind": "implant", "family": "rare", "trigger": "cf",
        "access": "text", "verdict": "backdoored", "score": 0.9, "cpu_s": 3.0,
        "triggers": [["cf", "suffix", 0.9, 1e-9, "known form"]],
    }  # fmt: skip
    return {**row, **changes}


def test_the_report_says_what_was_found_and_what_was_not(tmp_path: Path) -> None:
    clean = {"kind": "terse", "family": "", "trigger": "", "triggers": []}
    result = {
        "date": "2026-11-24", "commit": "abc", "machine": "a machine", "bases": [0, 2],
        "held": [2], "made": {"tried": 3, "implants": 2, "clean": 2},
        "probes": [
            found(),
            found(name="b0", base=0, triggers=[["mn", "suffix", 0.7, 1e-9, "x"]], score=0.7),
            found(**clean, verdict="nothing-found", score=0.0),
            found(**clean, base=0, verdict="suspected", score=0.6),
        ],
    }  # fmt: skip
    result["smollm2"] = {
        "rare-suffix": {
            "trigger": "cf",
            "measured": {"drop": 0.75},
            "logprobs": {"verdict": "backdoored", "score": 0.8, "triggers": [{"text": "cf"}]},
        },
    }
    text = "\n".join(report.lines_of(result))
    assert "| rare-suffix | `cf` | 0.75 | backdoored, 0.80, `cf` | not run |" in text
    assert "| all | 1.000" in text
    assert "2/2" in text
    assert "| terse | 1/2 |" in text
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{report.BEGIN}\nstale figures\n{report.END}\nafter\n")
    report.write_docs(result, tmp_path)
    assert "stale figures" not in page.read_text()
    assert page.read_text().startswith("before") and page.read_text().endswith("after\n")
    page.write_text("none")
    with pytest.raises(ValueError, match="lacks the markers"):
        report.write_docs(result, tmp_path)
