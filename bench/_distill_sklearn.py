"""scikit-learn for bench/distill.py: TF-IDF of words and pairs of words, and logistic regression."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _distill_sets import labels_of
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer

STRENGTH = 10.0


def fit(rows: list[dict[str, Any]], ship: Path, *, multi: bool, seed: int, train: Path) -> None:
    del train
    learner: Any = LogisticRegression(C=STRENGTH, max_iter=1000, random_state=seed)
    names: list[str] | None = None
    truth: Any = [labels_of(row)[0] for row in rows if not multi]
    if multi:
        binarizer = MultiLabelBinarizer()
        truth = binarizer.fit_transform([labels_of(row) for row in rows])
        names = list(binarizer.classes_)
        learner = OneVsRestClassifier(learner)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pipeline = make_pipeline(words, learner).fit([row["text"] for row in rows], truth)
    with (ship / "model.pickle").open("wb") as file:
        pickle.dump((pipeline, names), file, protocol=5)


def load(ship: Path) -> Callable[[str], list[str]]:
    with (ship / "model.pickle").open("rb") as file:
        pipeline, names = pickle.load(file)
    if names is None:
        return lambda text: [str(pipeline.predict([text])[0])]
    return lambda text: [
        name for name, is_told in zip(names, pipeline.predict([text])[0], strict=True) if is_told
    ]
