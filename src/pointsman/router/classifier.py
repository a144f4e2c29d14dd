"""Runs a trained router: one ONNX file that holds its own facts. See `export` for its inputs."""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.errors import MissingExtra, RouteError
from pointsman.router.ability import Abilities, PriceLine
from pointsman.router.features import SURFACE, VERSION, Sight, look, seen, tokens
from pointsman.router.matrix import bucketed
from pointsman.types import Ability, Estimate, PromptReading

__all__ = ["Card", "OnnxClassifier", "default_classifier"]

MAX_MODEL_BYTES = 4 * 1024 * 1024
SHIPPED = "data/router/router.onnx"
# To explain, each word of a prompt is taken out once; this bounds the runs.
MAX_EXPLAINED_WORDS = 200


ANSWER_TOKENS = 300.0


class Card(Struct, frozen=True):
    """What a router's file says of itself.

    `rows` have the outcomes of both models, `stand_in_rows` those of others in their place.
    `quantiles` are 101 values of `p_weak`, ascending, from calibration, for prompts that leave room
    for working and for those that want the answer at once; `surface_means` the average prompt's
    surface.
    """

    features: int
    strong: str
    weak: str
    rows: int
    stand_in_rows: int
    data_sha256: str
    licence: str
    created: str
    quantiles: tuple[tuple[float, ...], tuple[float, ...]]
    surface_means: tuple[float, ...]

    def __post_init__(self) -> None:
        for values in self.quantiles:
            if len(values) < 2 or list(values) != sorted(values):
                raise ValueError("quantiles must be at least two values, ascending")
        if len(self.surface_means) != len(SURFACE):
            raise ValueError(f"surface_means must be {len(SURFACE)} values")

    def rank(self, p_weak: float, at_once: int = 0) -> float:
        """Give the share of the calibration prompts of its kind below `p_weak`, interpolated."""
        quantiles = self.quantiles[at_once]
        place = bisect_right(quantiles, p_weak)
        if place == 0:
            return 0.0
        if place == len(quantiles):
            return 1.0
        low, high = quantiles[place - 1], quantiles[place]
        return (place - 1 + (p_weak - low) / (high - low)) / (len(quantiles) - 1)


class OnnxClassifier:
    """A trained router; a `Classifier`. May be used from several threads."""

    def __init__(self, session: Any, card: Card, size_bytes: int, numpy: Any) -> None:
        self.card = card
        self.size_bytes = size_bytes
        self.abilities = Abilities(
            {card.weak: (-1.0,), card.strong: (1.0,)},
            0.1,
            PriceLine((-0.68,), (0.62,), 0.6),
            (0.0,),
            0.8,
        )
        self._session = session
        self._numpy = numpy

    @classmethod
    def load(cls, data: bytes, name: str) -> OnnxClassifier:
        """Load a router from the bytes of its file, and try it once; `name` is for errors.

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
        except Exception as error:
            # onnxruntime's own errors share no base class; all mean that the file is no good.
            raise RouteError(f"{name} cannot be loaded: {str(error)[:200]}") from error
        router = cls(session, _card(facts, name), len(data), numpy)
        router._try(name)
        return router

    @classmethod
    def open(cls, path: Path) -> OnnxClassifier:
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
        return self._run(look(text))

    def estimate(self, text: str) -> Estimate:
        """Give the probability that the weaker model will do, and its rank in calibration."""
        sight = look(text)
        p_weak = self._run(sight)[2]
        return Estimate(p_weak, self.card.rank(p_weak, sight.at_once))

    def read(self, text: str) -> PromptReading:
        """Give what a prompt asks for: one skill, on which the weaker of the pair has −1, the stronger 1."""
        sight = look(text)
        weak, strong, p_weak = self._run(sight)
        low, high = _logit(weak), _logit(strong)
        return PromptReading(
            ((high - low) / 2,),
            -(high + low) / 2,
            ANSWER_TOKENS,
            self.card.rank(p_weak, sight.at_once),
            1.0,
        )

    def ability(self, model: str, price_usd_per_mtok: float | None = None) -> Ability:
        """Give a model's ability, from the best that is known of it."""
        return self.abilities.of(model, price_usd_per_mtok)

    def pushes(self, text: str, count: int = 8) -> list[tuple[str, float]]:
        """Give what moved `p_weak` most, strongest first: (feature, by how much it raised it).

        A word, as `word:x`, is taken out everywhere; a feature of the surface is set to the
        average prompt's. Not for the request path: it runs the graph for each of them.
        """
        sight = look(text)
        base = self._run(sight)[2]
        found = []
        names = tokens(seen(text))
        for word in list(dict.fromkeys(names))[:MAX_EXPLAINED_WORDS]:
            kept = [
                value for value, name in zip(sight.words[1:-1], names, strict=True) if name != word
            ]
            without = msgspec.structs.replace(sight, words=[0, *kept, 0])
            found.append((f"word:{word}", base - self._run(without)[2]))
        for number, (name, mean) in enumerate(zip(SURFACE, self.card.surface_means, strict=True)):
            surface = [*sight.surface[:number], mean, *sight.surface[number + 1 :]]
            plain = msgspec.structs.replace(sight, surface=surface)
            found.append((name, base - self._run(plain)[2]))
        found.sort(key=lambda each: -abs(each[1]))
        return found[:count]

    def _run(self, sight: Sight) -> tuple[float, float, float]:
        array = self._numpy.array
        (p,) = self._session.run(
            None,
            {
                "buckets": bucketed(sight.words),
                "surface": array(sight.surface, "float32"),
                "at_once": array(sight.at_once, "int64"),
            },
        )
        weak, strong, will_do = p.tolist()
        return weak, strong, will_do

    def _try(self, name: str) -> None:
        try:
            found = self._run(look("1 + 1"))
        except Exception as error:
            # As above: whatever the runtime says, the graph does not fit.
            raise RouteError(f"{name} does not run as a router: {str(error)[:200]}") from error
        if not all(0 <= p <= 1 for p in found):
            raise RouteError(f"{name} does not give probabilities")


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def _card(facts: dict[str, str], name: str) -> Card:
    try:
        text = facts["pointsman"]
        version = msgspec.json.decode(text, type=_Version).features
        if version != VERSION:
            raise RouteError(f"{name} is of features {version}; this is {VERSION}: train anew")
        return msgspec.json.decode(text, type=Card)
    except KeyError as error:
        raise RouteError(f"{name} is no router of Pointsman's") from error
    except msgspec.DecodeError as error:
        raise RouteError(f"{name} has no card that can be read: {error}") from error


class _Version(Struct):
    features: int


@cache
def default_classifier() -> OnnxClassifier:
    """The router that comes with Pointsman. Reads the package's data.

    Raises:
        MissingExtra: onnxruntime is not installed.
        RouteError: the file is damaged.
    """
    return OnnxClassifier.load(files("pointsman").joinpath(SHIPPED).read_bytes(), SHIPPED)
