"""The golden texts, and what a model says of them through ONNX Runtime in this process."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

PATH = Path(__file__).parent / "golden_texts.gz"


class Answer(NamedTuple):
    labels: list[str]
    scores: dict[str, float]


def golden_texts() -> list[bytes]:
    return [base64.b64decode(line) for line in gzip.decompress(PATH.read_bytes()).splitlines()]


def reference(model: bytes, texts: list[bytes]) -> list[Answer]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = []
    for text in texts:
        feed = {"text": np.frombuffer(text, np.uint8)}
        scores, labels, names = session.run(["scores", "labels", "names"], feed)
        found.append(
            Answer(labels.tolist(), dict(zip(names.tolist(), scores.tolist(), strict=True)))
        )
    return found


def assert_same(found: list[Answer], expected: list[Answer], tolerance: float = 1e-5) -> None:
    assert len(found) == len(expected)
    for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        assert mine.labels == theirs.labels, number
        assert mine.scores.keys() == theirs.scores.keys(), number
        for name, value in theirs.scores.items():
            assert abs(mine.scores[name] - value) <= tolerance, (number, name)
