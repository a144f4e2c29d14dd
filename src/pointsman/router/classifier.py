"""Runs a trained router: one ONNX file that holds its own facts. See `export` for its inputs."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.errors import MissingExtra, RouteError
from pointsman.router.ability import Abilities
from pointsman.router.card import Card, Curve
from pointsman.router.export import HEADS
from pointsman.router.features import SURFACE, VERSION, Sight, look, seen, tokens
from pointsman.router.matrix import bucketed
from pointsman.router.outlook import probability, success_logit
from pointsman.router.reading import read_heads
from pointsman.types import Ability, Estimate, PromptReading

__all__ = ["Card", "OnnxClassifier", "default_classifier"]

MAX_MODEL_BYTES = 4 * 1024 * 1024
SHIPPED = "data/router/router.onnx"
# To explain, each word of a prompt is taken out once; this bounds the runs.
MAX_EXPLAINED_WORDS = 200
# Two models that a router cannot tell apart, one of which is said to be the stronger, are taken to
# lie this far apart, in logits.
LEAST_LEAD = 0.5


class OnnxClassifier:
    """A trained router; a `Classifier`. May be used from several threads."""

    def __init__(self, session: Any, card: Card, size_bytes: int, numpy: Any) -> None:
        self.card = card
        self.size_bytes = size_bytes
        self._session = session
        self._numpy = numpy
        self._strong = card.abilities.of(card.strong)
        self._weak = card.abilities.of(card.weak)

    @property
    def abilities(self) -> Abilities:
        """What the router knows of models."""
        return self.card.abilities

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

    def read(self, text: str) -> PromptReading:
        """Give what a prompt asks for; see `reading` for the skills."""
        return self._reading(look(text))

    def ability(self, model: str, price_usd_per_mtok: float | None = None) -> Ability:
        """Give a model's ability, from the best that is known of it."""
        return self.card.abilities.of(model, price_usd_per_mtok)

    def probabilities(self, text: str) -> tuple[float, float, float]:
        """Give (weak is right, strong is right, weak will do) for the router's pair, each 0 to 1."""
        return self._pair(self.read(text))

    def estimate(self, text: str) -> Estimate:
        """Give the probability that the weak one of the pair will do, and its rank in calibration."""
        reading = self.read(text)
        return Estimate(self._pair(reading)[2], reading.rank)

    def comparison(self, strong: str, weak: str) -> Comparison:
        """Give what compares two models of any name, the abler one said first."""
        if (strong, weak) == (self.card.strong, self.card.weak):
            return Comparison(self, self._strong, self._weak, self.card.curve)
        high, low = self.ability(strong), self.ability(weak)
        lead = high.theta[0] - low.theta[0]
        if lead < LEAST_LEAD and not {high.source, low.source} <= {"recorded outcomes"}:
            part = (LEAST_LEAD - lead) / 2
            high = msgspec.structs.replace(high, theta=(high.theta[0] + part, *high.theta[1:]))
            low = msgspec.structs.replace(low, theta=(low.theta[0] - part, *low.theta[1:]))
        return Comparison(self, high, low, self.card.any_curve)

    def pushes(self, text: str, count: int = 8) -> list[tuple[str, float]]:
        """Give what moved `p_weak` most, strongest first: (feature, by how much it raised it).

        A word, as `word:x`, is taken out everywhere; a feature of the surface is set to the
        average prompt's. Not for the request path: it runs the graph for each of them.
        """
        sight = look(text)
        base = self._pair(self._reading(sight))[2]
        found = []
        names = tokens(seen(text))
        for word in list(dict.fromkeys(names))[:MAX_EXPLAINED_WORDS]:
            kept = [
                value for value, name in zip(sight.words[1:-1], names, strict=True) if name != word
            ]
            without = msgspec.structs.replace(sight, words=[0, *kept, 0])
            found.append((f"word:{word}", base - self._pair(self._reading(without))[2]))
        for number, (name, mean) in enumerate(zip(SURFACE, self.card.surface_means, strict=True)):
            surface = [*sight.surface[:number], mean, *sight.surface[number + 1 :]]
            plain = msgspec.structs.replace(sight, surface=surface)
            found.append((name, base - self._pair(self._reading(plain))[2]))
        found.sort(key=lambda each: -abs(each[1]))
        return found[:count]

    def _reading(self, sight: Sight) -> PromptReading:
        buckets = bucketed(sight.words)
        (found,) = self._session.run(
            None, {"buckets": buckets, "surface": self._numpy.array(sight.surface, "float32")}
        )
        heads = found.tolist()
        familiar = self.card.familiar(heads[4] / math.sqrt(len(buckets)))
        reading = read_heads(heads, familiar, 0.0)
        rank = self.card.rank(self._pair(reading)[2])
        return PromptReading(
            reading.loadings, reading.difficulty, reading.answer_tokens, rank, familiar
        )

    def _pair(self, reading: PromptReading) -> tuple[float, float, float]:
        weak = probability(success_logit(reading, self._weak), 0.0)
        strong = probability(success_logit(reading, self._strong), 0.0)
        return weak, strong, _will_do(self.card.curve, strong - weak)

    def _try(self, name: str) -> None:
        try:
            reading = self._reading(look("1 + 1"))
            found = self._pair(reading)
        except Exception as error:
            # As above: whatever the runtime says, the graph does not fit.
            raise RouteError(f"{name} does not run as a router: {str(error)[:200]}") from error
        if not all(0 <= p <= 1 for p in found) or len(reading.loadings) != HEADS - 1:
            raise RouteError(f"{name} does not give probabilities")


class Comparison:
    """Two models on prompts, as a router sees them."""

    def __init__(
        self, router: OnnxClassifier, strong: Ability, weak: Ability, curve: Curve
    ) -> None:
        self.strong, self.weak = strong, weak
        self._router = router
        self._curve = curve

    def p_weak(self, text: str) -> float:
        """Give the probability that the weak one's answer is as good as the strong one's."""
        reading = self._router.read(text)
        high = probability(success_logit(reading, self.strong), 0.0)
        low = probability(success_logit(reading, self.weak), 0.0)
        return _will_do(self._curve, high - low)


def _will_do(curve: Curve, gain: float) -> float:
    return probability(curve.offset - curve.slope * gain, 0.0)


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
