"""Pointsman's classifier for bench/distill.py: trained by its command line, run by its own class."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def fit(
    rows: list[dict[str, Any]], ship: Path, *, multi: bool, seed: int, train: Path, size: str
) -> dict[str, Any]:
    del rows, multi  # The command reads the file, and sees by itself of what kind its rows are.
    with tempfile.TemporaryDirectory(dir=ship.parent) as out:
        command = [sys.executable, "-m", "pointsman", "distill", "train", str(train)]
        command += ["--out", out, "--size", size, "--seed", str(seed), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        shutil.copy(Path(out) / "model.onnx", ship / "model.onnx")
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"train_s": json.loads(done.stdout)["train_s"], "train_peak_bytes": peak_kib * 1024}


def load(ship: Path) -> Callable[[str], list[str]]:
    from pointsman.distill.model import TextClassifier

    model = TextClassifier.load(ship / "model.onnx")
    return lambda text: list(model.classify(text).labels)
