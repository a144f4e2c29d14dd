"""Facts of a classifier that was never trained, with every kind of thing that may be told of one."""

from __future__ import annotations

from typing import Any

from golden_standin import standin

from pointsman.distill.facts import Facts, Told
from pointsman.distill.metrics import score

LABELS = ("billing", "<img src=x onerror=alert(1)>", "日本語", "a|b_c*d")
TEXTS = (
    "where is my invoice",
    "</td></script><script>window.hacked = true</script>",
    "請求書はどこですか",
    "\u202egnp.exe\u202c and \x1b[31mred\x1b[0m",
    "لا أستطيع تسجيل الدخول",
    "lone \ud800 surrogate",
    "x" * 5000,
    "& &amp; \"quotes\" 'single'",
)
TEACHER = {
    "teacher": "openai:<b>model</b>",
    "prompts_version": "3",
    "prompts_sha256": "ab" * 32,
    "seed": 0,
    "calls": 1234,
    "input_tokens": 5_000_000,
    "output_tokens": 600_000,
    "cost_usd": 1.25,
    "lost_usd": 0.01,
    "price_known": True,
    "rows": 800,
    "rejected": 140,
    "reasons": {"near duplicate": 90, "label | disagrees": 50},
    "agreement": 0.87,
    "agreement_rows": 940,
    "kappa": 0.81,
    "too_weak": False,
    "curve": [[200, 0.71], [400, 0.8]],
    "ended": "the rows asked for are there",
    "notes": ["a note with <i>markup</i>"],
}


def facts_with(**changes: Any) -> Facts:
    """Single-label facts on eight rows, six of them told rightly."""
    multi = changes.get("multi", False)
    truth = [(LABELS[at % 4],) for at in range(len(TEXTS))]
    told = list(truth)
    told[1], told[4] = (LABELS[0],), (LABELS[2],)
    probabilities = [
        [0.85 if label in row else 0.05 for label in LABELS] if not multi else [0.3, 0.9, 0.1, 0.6]
        for row in told
    ]
    fields: dict[str, Any] = {
        "name": "tickets & <co>",
        "labels": LABELS,
        "multi": False,
        "onnx": standin(LABELS, multi=multi),
        "scores": score(truth, told, LABELS, probabilities, multi=multi),
        "measured_on": "test rows",
        "told": Told(TEXTS, truth, told, probabilities),
        "latency_us_p50": 61.5,
        "train_s": 12.3,
        "data": "rows.jsonl",
        "rows_sha256": "cd" * 32,
        "counts": {"in the data": 1000, "learned from": 990, "without a text": 10},
        "label_counts": {**dict.fromkeys(LABELS, 240), "日本語": 30},
        "settings": {"size_bytes": 262144, "seed": 7, "other": False},
        "test_data": "test.jsonl",
        "created": "2026-11-24",
        "machine": "Linux on x86_64, 2 cores",
        "versions": {"python": "3.13.1", "onnxruntime": "1.30.0"},
    }
    return Facts(**{**fields, **changes})
