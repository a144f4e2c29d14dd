"""Pointsman's own paths for classifiers: which there are, and what they say of texts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pointsman.classifiers import Labeller
from pointsman.errors import RequestError
from pointsman.gateway.exchange import Exchange

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["classify", "list_classifiers"]

MAX_TEXTS = 1024
MAX_TEXT_BYTES = 256 * 1024
MAX_TOTAL_BYTES = 4 * 1024 * 1024
# Above this the work goes to a thread, lest all other requests wait.
INLINE_BYTES = 2048


class _Asked(Struct, forbid_unknown_fields=True):
    model: str
    input: str | list[str]


async def classify(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /pointsman/v1/classify` with `{model, input}`: what a classifier says of each text.

    `input` is a text, or up to 1,024 of them; each at most 256 KiB, and 4 MiB in all. Each result has
    `label`, or `labels` where a text may have several, and `scores`: a probability by label.
    """
    asked = await gateway.asked(exchange, _Asked)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    sizes = _check(texts)
    classifier = gateway.door.classifiers.get(asked.model)
    if sizes <= INLINE_BYTES:
        results = _results(classifier, texts)
    else:
        results = await asyncio.to_thread(_results, classifier, texts)
    await exchange.respond_json(200, {"model": asked.model, "results": results})


async def list_classifiers(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /pointsman/v1/classifiers`: the classifiers of the configuration and their labels."""
    gateway.begin(exchange)
    found = []
    for name in gateway.door.classifiers.names():
        classifier = gateway.door.classifiers.get(name)
        kind = "multi" if classifier.multi else "single"
        found.append({"name": name, "kind": kind, "labels": classifier.labels})
    await exchange.respond_json(200, {"classifiers": found})


def _check(texts: Sequence[str]) -> int:
    if len(texts) > MAX_TEXTS:
        raise RequestError(f"'input' has over {MAX_TEXTS} texts: send them in parts", param="input")
    total = 0
    for index, text in enumerate(texts):
        size = len(text.encode("utf-8", "replace"))
        total += size
        if size > MAX_TEXT_BYTES:
            where = f"input[{index}]"
            raise RequestError(f"'{where}' is over {MAX_TEXT_BYTES} bytes", param=where)
    if total > MAX_TOTAL_BYTES:
        raise RequestError(f"'input' is over {MAX_TOTAL_BYTES} bytes in all", param="input")
    return total


def _results(classifier: Labeller, texts: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for text in texts:
        verdict = classifier.classify(text)
        scores = dict(zip(classifier.labels, verdict.scores, strict=False))
        told: dict[str, Any] = (
            {"labels": verdict.labels} if classifier.multi else {"label": verdict.labels[0]}
        )
        found.append(told | {"scores": scores})
    return found
