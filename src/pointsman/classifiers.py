"""The classifiers of the configuration: loaded once each, and asked about texts of any length."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from pointsman.config import Config
from pointsman.errors import ConfigError, DistillError, UnknownModel

__all__ = ["Classifiers", "Labeller", "Verdict", "labels_in", "plain", "windows"]

# A classifier was trained on texts of some length and takes memory by the byte, so a long text is
# looked at in pieces, which overlap lest a phrase be cut.
WINDOW_BYTES = 8192
OVERLAP_BYTES = 512


class Verdict(Protocol):
    """What a classifier says of a text: the labels that it gives, and a probability for each."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels given; exactly one where each text has one."""
        ...

    @property
    def scores(self) -> tuple[float, ...]:
        """A probability for each of the classifier's labels, in their order."""
        ...


class Labeller(Protocol):
    """A classifier of texts."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels that it knows."""
        ...

    @property
    def multi(self) -> bool:
        """Whether a text may have several labels, or none."""
        ...

    def classify(self, text: str | bytes) -> Verdict:
        """Give the labels of a text."""
        ...


class _Use(Struct, frozen=True):
    """Where the configuration asks for a classifier's labels."""

    where: str
    classifier: str
    labels: list[str]


class Classifiers:
    """The classifiers of `[classifiers.NAME]`. `ready` ones are given as they are, by name."""

    def __init__(self, config: Config, ready: dict[str, Labeller] | None = None) -> None:
        self._rows = config.classifiers
        self._loaded: dict[str, Labeller] = dict(ready or {})
        self._uses = list(_uses(config))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._rows)

    def names(self) -> list[str]:
        """Their names, in the configuration's order."""
        return list(self._rows)

    def get(self, name: str) -> Labeller:
        """Give a classifier; reads its file the first time.

        Raises:
            UnknownModel: there is none of that name; names the nearest.
            ConfigError: its file is no classifier, or a guard or rule asks for a label that it lacks.
            MissingExtra: onnxruntime is not installed.
        """
        found = self._loaded.get(name)
        if found is None:
            found = self._loaded[name] = self._load(name)
        return found

    def load_all(self) -> None:
        """Load every classifier now, so that what is wrong shows at the start.

        Raises:
            ConfigError, MissingExtra: as `get`.
        """
        for name in self._rows:
            self.get(name)

    def _load(self, name: str) -> Labeller:
        row = self._rows.get(name)
        if row is None:
            near = difflib.get_close_matches(name, self._rows, 3, 0.3)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise UnknownModel(
                f"no [classifiers.{name[:200]}] in the configuration{hint}", param="model"
            )
        from pointsman.distill.folder import model_file
        from pointsman.distill.model import TextClassifier

        try:
            found = TextClassifier.load(model_file(Path(row.path).expanduser()))
        except DistillError as error:
            raise ConfigError(f"classifiers.{name}.path: {error.message}") from error
        for use in self._uses:
            missing = sorted(set(use.labels) - set(found.labels)) if use.classifier == name else []
            if missing:
                near = difflib.get_close_matches(missing[0], found.labels, 3, 0.3)
                known = ", ".join(near or found.labels[:8])
                raise ConfigError(
                    f"{use.where}: the classifier '{name}' has no label '{missing[0]}'; it has {known}"
                )
        return found


def windows(text: str) -> list[bytes]:
    """Give a text in UTF-8, in pieces of at most 8 KiB that overlap by some 512 bytes."""
    data = text.encode("utf-8", "replace")
    if len(data) <= WINDOW_BYTES:
        return [data]
    pieces = []
    start = 0
    while True:
        end = _boundary(data, start + WINDOW_BYTES)
        pieces.append(data[start:end])
        if end == len(data):
            return pieces
        start = _boundary(data, end - OVERLAP_BYTES)


def labels_in(classifier: Labeller, text: str, wanted: frozenset[str]) -> tuple[str, float] | None:
    """Give the wanted label that the classifier gives to any piece of the text, and its probability.

    The surest one, if there are several; None if it gives none of them.
    """
    best: tuple[str, float] | None = None
    for piece in windows(text):
        verdict = classifier.classify(piece)
        for label in wanted.intersection(verdict.labels):
            p = (
                verdict.scores[classifier.labels.index(label)]
                if label in classifier.labels
                else 0.0
            )
            if best is None or p > best[1]:
                best = label, p
    return best


def plain(label: str) -> str:
    """Give a label as it may stand in a header among other words: in ASCII, nothing that parts them."""
    text = label.encode("ascii", "replace").decode()
    return "".join(c if c.isprintable() and c not in ",;" else "?" for c in text)


def _boundary(data: bytes, place: int) -> int:
    """The last place at or before `place` where a character begins."""
    if place >= len(data):
        return len(data)
    while data[place] & 0xC0 == 0x80:
        place -= 1
    return place


def _uses(config: Config) -> Iterator[_Use]:
    for name, guard in config.guards.items():
        yield _Use(f"guards.{name}.labels", guard.classifier, guard.labels)
    for route, spec in config.routes.items():
        for number, rule in enumerate(spec.rules, 1):
            if rule.classifier is not None:
                yield _Use(f"routes.{route}.rules, rule {number}", rule.classifier, rule.labels)
