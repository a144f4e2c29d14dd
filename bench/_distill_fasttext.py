"""fastText for bench/distill.py: supervised, then pruned and quantised (.ftz)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import fasttext
from _distill_sets import labels_of

MARK = "__label__"
# One thread: with more, fastText's updates race and no seed repeats them.
LEARNING = {"epoch": 25, "thread": 1}
# Where a rate makes it diverge, the next one is taken.
RATES = (0.5, 0.25, 0.1)
SHAPE = {"dim": 100, "wordNgrams": 2, "minn": 3, "maxn": 6, "bucket": 200_000}
CUTOFF = 10_000
_SIGN = re.compile(r"([^\w\s])")


def fit(rows: list[dict[str, Any]], ship: Path, *, multi: bool, seed: int, train: Path) -> None:
    del train
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as lines:
        for row in rows:
            marks = [MARK + quote(label) for label in labels_of(row)]
            lines.write(" ".join([*marks, prepared(row["text"])]) + "\n")
        lines.flush()
        model = _learned(lines.name, "ova" if multi else "softmax", seed)
    model.save_model(str(ship / "model.ftz"))


def _learned(path: str, loss: str, seed: int) -> Any:
    for rate in RATES:
        try:
            model = fasttext.train_supervised(
                path, **LEARNING, **SHAPE, lr=rate, loss=loss, seed=seed, verbose=0
            )
            model.quantize(
                path, **LEARNING, lr=rate, cutoff=CUTOFF, retrain=True, qnorm=True, verbose=0
            )
        except RuntimeError as error:
            if "NaN" not in str(error):
                raise
        else:
            return model
    raise RuntimeError("fastText diverges at every rate")


def load(ship: Path) -> Callable[[str], list[str]]:
    model = fasttext.load_model(str(ship / "model.ftz"))
    if model.f.getArgs().loss.name == "ova":
        return lambda text: _names(model.predict(prepared(text), k=-1, threshold=0.5))
    return lambda text: _names(model.predict(prepared(text)))


def prepared(text: str) -> str:
    """As fastText's own tutorial prepares text: lower case, signs apart, one line."""
    return _SIGN.sub(r" \1 ", " ".join(text.lower().split()))


def _names(found: tuple[Any, Any]) -> list[str]:
    return [unquote(mark.removeprefix(MARK)) for mark in found[0]]
