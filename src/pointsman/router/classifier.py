"""Runs a trained router: one ONNX file that holds its own facts.

Inputs: `buckets` (n,) int64, `values` (n,) float32, `surface` (18,) float32, as `features` makes
them. Output: `p` (3,) float32: the weaker model is right, the stronger one is right, the weaker
one will do.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.errors import MissingExtra, RouteError
from pointsman.router.features import VERSION, hashed, surface
from pointsman.types import Estimate

__all__ = ["Card", "OnnxClassifier", "default_classifier"]

MAX_MODEL_BYTES = 4 * 1024 * 1024
SHIPPED = "data/router/router.onnx"


class Card(Struct, frozen=True):
    """What a router's file says of itself. `quantiles` are 101 values of `p`, from calibration."""

    features: int
    strong: str
    weak: str
    rows: int
    data_sha256: str
    licence: str
    quantiles: tuple[float, ...]


class OnnxClassifier:
    """A trained router; a `Classifier`."""

    def __init__(self, session: Any, card: Card, size_bytes: int, numpy: Any) -> None:
        self.card = card
        self.size_bytes = size_bytes
        self._session = session
        self._numpy = numpy

    @classmethod
    def load(cls, data: bytes, name: str) -> OnnxClassifier:
        """Load a router from the bytes of its file; `name` is for errors.

        Raises:
            MissingExtra: onnxruntime is not installed.
            RouteError: the file is too large, no router, or of other features.
        """
        if len(data) > MAX_MODEL_BYTES:
            raise RouteError(f"{name} is no router: over {MAX_MODEL_BYTES} bytes")
        try:
            import numpy
            import onnxruntime
        except ImportError as error:
            raise MissingExtra("the router's classifier", "router") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
            facts = session.get_modelmeta().custom_metadata_map
            card = msgspec.json.decode(facts["pointsman"], type=Card)
        except KeyError as error:
            raise RouteError(f"{name} is no router of Pointsman's") from error
        except msgspec.DecodeError as error:
            raise RouteError(f"{name} has no card that can be read: {error}") from error
        except Exception as error:
            # onnxruntime's own errors share no base class; all mean that the file is no good.
            raise RouteError(f"{name} cannot be loaded: {str(error)[:200]}") from error
        if card.features != VERSION:
            raise RouteError(
                f"{name} is of features {card.features}; this is {VERSION}: train anew"
            )
        return cls(session, card, len(data), numpy)

    @classmethod
    def read(cls, path: Path) -> OnnxClassifier:
        """Load a router from a file.

        Raises:
            MissingExtra, RouteError: as `load`, or the file cannot be read.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MAX_MODEL_BYTES + 1)
        except OSError as error:
            raise RouteError(f"{path} cannot be read: {error.strerror or error}") from error
        return cls.load(data, str(path))

    def probabilities(self, text: str) -> tuple[float, float, float]:
        """Give (weak is right, strong is right, weak will do), each 0 to 1."""
        numpy = self._numpy
        buckets, values = hashed(text)
        (p,) = self._session.run(
            None,
            {
                "buckets": numpy.array(buckets, numpy.int64),
                "values": numpy.array(values, numpy.float32),
                "surface": numpy.array(surface(text), numpy.float32),
            },
        )
        return float(p[0]), float(p[1]), float(p[2])

    def estimate(self, text: str) -> Estimate:
        """Give the probability that the weaker model will do, and its rank in calibration."""
        p_weak = self.probabilities(text)[2]
        quantiles = self.card.quantiles
        return Estimate(p_weak, bisect_left(quantiles, p_weak) / len(quantiles))


@cache
def default_classifier() -> OnnxClassifier:
    """The router that comes with Pointsman. Reads the package's data.

    Raises:
        MissingExtra: onnxruntime is not installed.
        RouteError: the file is damaged.
    """
    return OnnxClassifier.load(files("pointsman").joinpath(SHIPPED).read_bytes(), SHIPPED)
