"""The contenders of bench/distill.py: what each is, and what it is installed from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from _envs import make_env

# The size that `pointsman distill train` takes unless told: the others' ratios are to it.
OURS = "pointsman-256k"


@dataclass(frozen=True)
class Contender:
    """A way to make a classifier. `module` is what runs it, in an environment made from `lock`."""

    title: str
    module: str
    lock: str
    packages: tuple[str, ...]
    settings: str
    options: dict[str, str] = field(default_factory=dict)
    with_project: bool = False

    def install(self) -> Path:
        """Give the interpreter of its environment."""
        return make_env(Path(self.lock).stem, self.lock, with_project=self.with_project)


def _ours(size: str) -> Contender:
    return Contender(
        title=f"Pointsman {size}",
        module="_distill_ours",
        lock="bench-distill.txt",
        packages=("pointsman", "onnxruntime"),
        settings=f"`pointsman distill train --size {size}`; shipped: model.onnx",
        options={"size": size},
        with_project=True,
    )


ALL = {
    "pointsman-64k": _ours("64k"),
    "pointsman-256k": _ours("256k"),
    "pointsman-1m": _ours("1m"),
    "fasttext": Contender(
        title="fastText .ftz",
        module="_distill_fasttext",
        lock="rival-fasttext.txt",
        packages=("fasttext-numpy2-wheel",),
        settings="supervised, 100 dimensions, pairs of words, pieces of words of 3 to 6 characters, 25 "
        "epochs, rate 0.5 (less where it diverges), one thread; one-vs-all loss for several labels; "
        "quantised with the 10,000 best features kept and retrained; shipped: model.ftz",
    ),
    "sklearn": Contender(
        title="TF-IDF + LR",
        module="_distill_sklearn",
        lock="rival-sklearn.txt",
        packages=("scikit-learn",),
        settings="scikit-learn: words and pairs of words, sublinear TF; logistic regression, C = 10 "
        "(one for each label where a text may have several); shipped: the pickled pipeline",
    ),
    "whitelightning": Contender(
        title="WhiteLightning",
        module="_distill_whitelightning",
        lock="rival-whitelightning.txt",
        packages=("keras", "tensorflow-cpu", "onnxruntime"),
        settings="its networks on its features: TF-IDF of 5,000 words and two hidden layers for two "
        "classes, one for several labels, else a bidirectional LSTM over 30 words; 10 epochs; shipped: "
        "model.onnx, vocab.json, scaler.json; run by onnxruntime with the features of training",
    ),
}
