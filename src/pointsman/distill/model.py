"""Runs a classifier's file through onnxruntime, on one thread. A file is untrusted until it is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.distill.untrusted import check
from pointsman.errors import DistillError, MissingExtra

__all__ = ["MAX_MODEL_BYTES", "MAX_TEXT_BYTES", "Prediction", "TextClassifier"]

MAX_MODEL_BYTES = 64 * 1024 * 1024
# A longer text is judged by its head and its tail, half of this each.
MAX_TEXT_BYTES = 256 * 1024
MAX_LABELS = 65_536
VERSION = "1"
_OUTPUTS = ("scores", "chosen")


class Prediction(Struct, frozen=True):
    """What a text is. `labels` are those chosen, in the order of the model's labels, as the graph gives
    them to every program: exactly one for a single-label model. `scores` are all labels'
    probabilities, in the same order."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]


class TextClassifier:
    """A trained classifier. May be used from several threads."""

    def __init__(self, session: Any, labels: tuple[str, ...], multi: bool, size_bytes: int) -> None:
        import numpy

        self.labels = labels
        self.multi = multi
        self.size_bytes = size_bytes
        self._session = session
        self._run = session.run
        self._view = numpy.frombuffer
        self._byte = numpy.dtype(numpy.uint8)

    @classmethod
    def load(cls, source: str | Path | bytes) -> TextClassifier:
        """Load a classifier from its file, or from the bytes of it, and try it once.

        Raises:
            MissingExtra: onnxruntime is not installed.
            DistillError: the file cannot be read, is too large, or is no classifier of Pointsman's.
        """
        name = "the model" if isinstance(source, bytes) else str(source)
        data = source if isinstance(source, bytes) else _read(Path(source))
        if len(data) > MAX_MODEL_BYTES:
            raise DistillError(
                f"{name} is over {MAX_MODEL_BYTES} bytes: no classifier of Pointsman's"
            )
        check(data, name)
        session = _session(data, name)
        labels, multi = _described(session.get_modelmeta().custom_metadata_map, name)
        _check_form(session, len(labels), name)
        model = cls(session, labels, multi, len(data))
        model._try(name)
        return model

    def classify(self, text: str | bytes) -> Prediction:
        """Give what a text is. Bytes need not be valid UTF-8; lone surrogates are taken as they are.

        Of a text over 256 KiB the first and the last 128 KiB are read.
        """
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        if len(data) > MAX_TEXT_BYTES:
            data = _ends(data)
        scores, chosen = self._run(_OUTPUTS, {"text": self._view(data, self._byte)})
        labels = self.labels
        return Prediction(
            tuple([labels[place] for place in chosen.tolist()]), tuple(scores.tolist())
        )

    def classify_many(self, texts: Iterable[str | bytes]) -> list[Prediction]:
        """Give what each text is, in order."""
        return [self.classify(text) for text in texts]

    def _try(self, name: str) -> None:
        try:
            for text in (b"", b"a trial"):
                scores, chosen = self._run(_OUTPUTS, {"text": self._view(text, self._byte)})
                if scores.shape != (len(self.labels),):
                    raise DistillError(f"{name} does not give a score for each of its labels")
                if not all(0 <= score <= 1 for score in scores.tolist()):
                    raise DistillError(f"{name} does not give probabilities")
                if chosen.ndim != 1 or not all(0 <= x < len(scores) for x in chosen.tolist()):
                    raise DistillError(f"{name} chooses labels that it does not have")
        except DistillError:
            raise
        except Exception as error:
            # onnxruntime's own errors share no base class; all mean that the graph does not fit.
            raise DistillError(
                f"{name} does not run as a classifier: {str(error)[:200]}"
            ) from error


def _ends(data: bytes) -> bytes:
    half = MAX_TEXT_BYTES // 2
    return data[:half] + data[-half:]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise DistillError(f"{path} cannot be read: {error.strerror or error}") from error


def _session(data: bytes, name: str) -> Any:
    try:
        import numpy  # noqa: F401
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("running a classifier", "router") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # As above.
        raise DistillError(f"{name} cannot be loaded: {str(error)[:200]}") from error


def _described(facts: dict[str, str], name: str) -> tuple[tuple[str, ...], bool]:
    version = facts.get("pointsman.version")
    if version is None:
        raise DistillError(
            f"{name} is no classifier of Pointsman's: its metadata says nothing of it"
        )
    if version != VERSION:
        raise DistillError(f"{name} is of version {version[:20]}; this reads {VERSION}: train anew")
    try:
        labels = msgspec.json.decode(facts.get("pointsman.labels", ""), type=tuple[str, ...])
    except msgspec.DecodeError as error:
        raise DistillError(f"{name} has no labels that can be read: {error}") from error
    kind = facts.get("pointsman.kind")
    if kind not in ("single", "multi") or not 0 < len(labels) <= MAX_LABELS:
        raise DistillError(f"{name} does not say what kind of classifier it is")
    return labels, kind == "multi"


def _check_form(session: Any, count: int, name: str) -> None:
    inputs = [(each.name, each.type) for each in session.get_inputs()]
    outputs = {each.name: each.type for each in session.get_outputs()}
    wanted = {
        "scores": "tensor(float)",
        "chosen": "tensor(int64)",
        "labels": "tensor(string)",
        "names": "tensor(string)",
    }
    if inputs != [("text", "tensor(uint8)")] or outputs != wanted:
        raise DistillError(f"{name} has other inputs and outputs than a classifier of Pointsman's")
