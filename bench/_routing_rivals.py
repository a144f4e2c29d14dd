"""Two routers on MiniLM embeddings, as the field uses them: nearest neighbours, matrix factorisation.

Both learn from the same rows as ours. Neighbours: the mean gain of the 40 nearest prompts of training
(cosine) that have both models' outcomes. Matrix factorisation, in RouteLLM's form: a model's vector and
the prompt's embedding are put into one space and multiplied, here as one bilinear logistic model of
rank 16 over all models' outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from pointsman.router.rows import Row

NEIGHBOURS = 40
RANK, L2, STEPS = 16, 2.0, 150


def neighbours(train: Any, rows: Sequence[Row], test: Any, strong: str, weak: str) -> list[float]:
    """Minus the expected gain of each test prompt: high where the weak model will do."""
    own = [n for n, row in enumerate(rows) if strong in row.models and weak in row.models]
    gains = np.array([rows[n].models[strong].share - rows[n].models[weak].share for n in own])
    found = []
    for start in range(0, len(test), 512):
        near = np.argpartition(-(test[start : start + 512] @ train[own].T), NEIGHBOURS, axis=1)
        found += (-gains[near[:, :NEIGHBOURS]].mean(1)).tolist()
    return found


class Factorised:
    """P(model answers prompt well) = σ(model's vector · projection of the embedding + its level)."""

    def __init__(self, train: Any, rows: Sequence[Row], seed: int = 0) -> None:
        names = sorted({name for row in rows for name in row.models})
        self.number = {name: place for place, name in enumerate(names)}
        told = [
            (place, self.number[name], outcome.share)
            for place, row in enumerate(rows)
            for name, outcome in row.models.items()
        ]
        prompt, model, share = (np.array(each) for each in zip(*told, strict=True))
        width, models = train.shape[1], len(names)
        generator = np.random.default_rng(seed)
        start = np.concatenate(
            [
                generator.normal(0, 0.1, width * RANK),
                generator.normal(0, 0.3, models * RANK),
                np.zeros(models),
            ]
        )
        cut = (width * RANK, width * RANK + models * RANK)
        counts = np.bincount(prompt, minlength=len(train))
        weight = (2 / np.maximum(counts, 2)[prompt]) ** 0.5

        def loss(t: Any) -> tuple[float, Any]:
            shared = t[: cut[0]].reshape(width, RANK)
            own = t[cut[0] : cut[1]].reshape(models, RANK)
            said = train @ shared
            z = np.einsum("ij,ij->i", said[prompt], own[model]) + t[cut[1] :][model]
            fault = (1 / (1 + np.exp(-np.clip(z, -40, 40))) - share) * weight
            by_prompt = np.zeros((len(train), RANK))
            by_model = np.zeros((models, RANK))
            for k in range(RANK):
                by_prompt[:, k] = np.bincount(prompt, fault * own[model, k], len(train))
                by_model[:, k] = np.bincount(model, fault * said[prompt, k], models)
            slope = np.concatenate(
                [(train.T @ by_prompt).ravel(), by_model.ravel(), np.bincount(model, fault, models)]
            )
            value = float(weight @ (np.logaddexp(0, z) - share * z))
            t_held = np.concatenate([t[: cut[1]], np.zeros(models)])
            return value + 0.5 * L2 * float(t_held @ t_held), slope + L2 * t_held

        options = {"maxiter": STEPS}
        t = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
        self.shared = t[: cut[0]].reshape(width, RANK)
        self.own = t[cut[0] : cut[1]].reshape(models, RANK)
        self.level = t[cut[1] :]

    def p(self, embeddings: Any, model: str) -> Any:
        """P(the model answers well), for each prompt."""
        place = self.number[model]
        z = embeddings @ self.shared @ self.own[place] + self.level[place]
        return 1 / (1 + np.exp(-np.clip(z, -40, 40)))

    def p_weak(self, embeddings: Any, strong: str, weak: str) -> list[float]:
        """Minus the expected gain; 0 for models that were never seen."""
        if strong not in self.number or weak not in self.number:
            return [0.0] * len(embeddings)
        gain = self.p(embeddings, weak) - self.p(embeddings, strong)
        return [float(each) for each in gain]
