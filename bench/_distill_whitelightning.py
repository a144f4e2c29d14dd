"""WhiteLightning's networks for bench/distill.py, with the features of their training.

Facts of text_classifier/strategies of Inoxoft/whitelightning, read 2026-11: what is shipped is an ONNX
graph over features, with a vocab.json and a scaler.json from which every client has to compute them.
Here they are computed as in training. (The clients that it publishes differ from that, and lose by it;
see docs/benchmarks.md.)
"""

from __future__ import annotations

import json
import math
import re
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _distill_sets import labels_of

FEATURES, WORDS, LENGTH = 5_000, 10_000, 30
EPOCHS, BATCH = 10, 32
_TOKEN = re.compile(r"(?u)\b\w\w+\b")
_SIGNS = str.maketrans(dict.fromkeys(string.punctuation.replace("'", "") + "\t\n", " "))
_PADDING, _UNKNOWN = 0, 1


def fit(rows: list[dict[str, Any]], ship: Path, *, multi: bool, seed: int, train: Path) -> None:
    del train
    import keras

    keras.utils.set_random_seed(seed)
    labels = sorted({label for row in rows for label in labels_of(row)})
    texts = [row["text"] for row in rows]
    place = {label: index for index, label in enumerate(labels)}
    if multi:
        truth = np.zeros((len(rows), len(labels)), np.float32)
        for index, row in enumerate(rows):
            truth[index, [place[label] for label in labels_of(row)]] = 1
        features, vocab, scaler = _tfidf_matrix(texts, scaled=False)
        model, loss = _multi_label(features.shape[1], len(labels)), "binary_crossentropy"
    else:
        truth = np.array([place[labels_of(row)[0]] for row in rows])
        if len(labels) == 2:
            features, vocab, scaler = _tfidf_matrix(texts, scaled=True)
            model, loss = _binary(features.shape[1]), "binary_crossentropy"
        else:
            vocab, scaler = {"words": word_index(texts)}, {}
            features = np.array([word_ids(text, vocab["words"]) for text in texts], np.int32)
            model, loss = _multi_class(len(labels)), "sparse_categorical_crossentropy"
    model.compile(optimizer="adam", loss=loss)
    model.fit(features, truth, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    model.export(str(ship / "model.onnx"), format="onnx", verbose=False)
    _put(ship / "vocab.json", vocab)
    _put(ship / "scaler.json", {"labels": labels, "multi": multi, **scaler})


def _binary(width: int) -> Any:
    import keras
    from keras import layers

    hidden: list[Any] = []
    for units in (512, 256):
        hidden += [layers.Dense(units, activation="relu"), layers.Dropout(0.3)]
    return keras.Sequential([keras.Input((width,)), *hidden, layers.Dense(1, activation="sigmoid")])


def _multi_label(width: int, count: int) -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((width,)),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(count, activation="sigmoid"),
        ]
    )


def _multi_class(count: int) -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            layers.Embedding(WORDS, 64),
            layers.Bidirectional(layers.LSTM(64)),
            layers.Dropout(0.5),
            layers.Dense(64, activation="relu"),
            layers.Dense(count, activation="softmax"),
        ]
    )


def _tfidf_matrix(texts: list[str], *, scaled: bool) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Dense features, and what a client needs to compute them: vocab.json and scaler.json."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import StandardScaler

    words = TfidfVectorizer(max_features=FEATURES, dtype=np.float32)
    matrix = words.fit_transform(texts).toarray()
    vocab = {
        "vocab": {word: int(index) for word, index in words.vocabulary_.items()},
        "idf": words.idf_.tolist(),
    }
    scaler: dict[str, Any] = {}
    if scaled:
        learned = StandardScaler(copy=False)
        matrix = learned.fit_transform(matrix)
        scaler = {"mean": learned.mean_.tolist(), "scale": learned.scale_.tolist()}
    compute = _tfidf(vocab, scaler)
    for text, row in zip(texts[:50], matrix, strict=False):
        assert np.allclose(compute(text), row, atol=1e-3), "the client's features are training's"
    return matrix, vocab, scaler


def _tfidf(vocab: dict[str, Any], scaler: dict[str, Any]) -> Callable[[str], Any]:
    """What computes the features of a text as scikit-learn did in training."""
    place, idf = vocab["vocab"], vocab["idf"]
    scale = np.array(scaler.get("scale", [1.0] * len(idf)), np.float32)
    rest = -np.array(scaler.get("mean", [0.0] * len(idf)), np.float32) / scale

    def compute(text: str) -> Any:
        counts = Counter(place[word] for word in _TOKEN.findall(text.lower()) if word in place)
        weights = {at: count * idf[at] for at, count in counts.items()}
        norm = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        row = rest.copy()
        for at, weight in weights.items():
            row[at] += weight / norm / scale[at]
        return row

    return compute


def word_index(texts: list[str]) -> dict[str, int]:
    """Every word of the texts by how often it occurs, as Keras's Tokenizer numbers them; 1 is for
    what is unknown."""
    counts = Counter(word for text in texts for word in _split(text))
    return {word: at for at, (word, _) in enumerate(counts.most_common(), _UNKNOWN + 1)}


def word_ids(text: str, index: dict[str, int]) -> list[int]:
    """The last 30 words as numbers, filled up behind with 0, as pad_sequences does."""
    found = [index.get(word, _UNKNOWN) for word in _split(text)][-LENGTH:]
    found = [at if at < WORDS else _UNKNOWN for at in found]
    return found + [_PADDING] * (LENGTH - len(found))


def _split(text: str) -> list[str]:
    return text.lower().translate(_SIGNS).split()


def load(ship: Path) -> Callable[[str], list[str]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(ship / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    vocab = json.loads((ship / "vocab.json").read_text("utf-8"))
    scaler = json.loads((ship / "scaler.json").read_text("utf-8"))
    labels = scaler["labels"]
    if "words" in vocab:
        index = vocab["words"]

        def told(text: str) -> list[str]:
            ids = np.array([word_ids(text, index)], np.int32)
            return [labels[int(session.run(None, {name: ids})[0][0].argmax())]]

        return told
    compute = _tfidf(vocab, scaler)

    def told_of_features(text: str) -> list[str]:
        scores = session.run(None, {name: compute(text)[None]})[0][0]
        if scaler["multi"]:
            return [labels[at] for at in (scores > 0.5).nonzero()[0]]
        return [labels[int(scores[0] > 0.5)]]

    return told_of_features


def _put(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), "utf-8")
