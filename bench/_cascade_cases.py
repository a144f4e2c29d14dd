"""Makes cases of what was answered: a cheap and a strong model on a task, and verifiers that are fitted to it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _cascade_score import (
    FOLDS,
    RATIO,
    WEIGHTS,
    Floats,
    Scored,
    choose_first,
    folds,
    learn_prompts,
    prompt_matrix,
)
from _cascade_tasks import Prompt

from pointsman.router.answer import FEATURES, agreement, answer_features
from pointsman.router.classifier import default_classifier
from pointsman.router.outlook import success_logit
from pointsman.router.steps import Attempt
from pointsman.router.verify import Verifier, default_verifier, train_verifier
from pointsman.types import Chat, TokenLogprob, Usage

# Cheap, strong, and what a group of such cases is called.
PAIRS = (
    ("smollm2", "gemma", "SmolLM2-135M → gemma-3-270m"),
    ("smollm2", "classifier-many", "SmolLM2-135M → label classifier"),
    ("gemma", "classifier-many", "gemma-3-270m → label classifier"),
    ("tiny-cheap", "tiny-strong", "tiny trained LM → larger one"),
    ("classifier-few", "classifier-many", "label classifier: few rows → many"),
)
CHAT = Chat(model="", messages=())
PRIOR, HAS_LOGPROBS = FEATURES.index("prior"), FEATURES.index("has_logprobs")
HAS_AGREEMENT = FEATURES.index("has_agreement")
LOGPROB_COLUMNS = [n for n, name in enumerate(FEATURES) if "logprob" in name or name == "low_share"]
# What a verifier for other tasks learns here. The rest keeps the weights set by hand: answers of eight
# tokens at most say nothing of how length, being cut or the lowest of many tokens counts in long ones.
LEARNED = (
    "prior", "has_logprobs", "mean_logprob", "low_share", "has_agreement", "agreement",
)  # fmt: skip
MIN_ROWS = 60
DATE = "2026-11-24"


@dataclass(frozen=True)
class Case:
    """A pair on a task. `plain` are the features of the cheap answers, `agreed` those with a second
    sample (None where none was drawn); their `prior` is the shipped router's logit."""

    group: str
    task: str
    texts: list[str]
    cheap: Floats
    strong: Floats
    plain: Floats
    agreed: Floats | None
    shipped: Floats = field(
        repr=False
    )  # The shipped router's order: how far the strong one is needed.

    @property
    def family(self) -> str:
        """What must be left out with it: the same texts, or the same kind of question."""
        return self.task.removeprefix("labels-").removesuffix("-tiny").removeprefix("synthetic_")


def rows_of(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in paths
        if path.exists()
        for line in path.read_text("utf-8").splitlines()
    ]


def make_cases(rows: Sequence[Mapping[str, Any]], prompts: Iterable[Prompt]) -> list[Case]:
    """Give the cases for which both models have answered, of at least 60 prompts."""
    by_key = {(each.task, each.number): each for each in prompts}
    answers: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for row in rows:
        if (row["task"], row["number"]) in by_key:
            answers[row["model"], row["task"]][row["number"]] = row
    found = []
    for cheap, strong, group in PAIRS:
        for task in sorted({task for model, task in answers if model == cheap}):
            one, other = answers[cheap, task], answers[strong, task]
            both = sorted(one.keys() & other.keys())
            if len(both) >= MIN_ROWS:
                texts = [by_key[task, n].text for n in both]
                found.append(
                    _case(group, task, texts, [one[n] for n in both], [other[n] for n in both])
                )
    return found


def _case(
    group: str,
    task: str,
    texts: list[str],
    cheap: Sequence[Mapping[str, Any]],
    strong: Sequence[Mapping[str, Any]],
) -> Case:
    router = default_classifier()
    ability = router.ability(str(cheap[0]["model"]))
    readings = [router.read(text) for text in texts]
    priors = [success_logit(each, ability) for each in readings]
    drawn = all(row["samples"] for row in cheap)
    plain = [features(row, prior, None) for row, prior in zip(cheap, priors, strict=True)]
    agreed = [
        features(row, prior, agreement([row["answer"], *row["samples"]]))
        for row, prior in zip(cheap, priors, strict=True)
    ]
    return Case(
        group,
        task,
        texts,
        np.array([float(row["right"]) for row in cheap]),
        np.array([float(row["right"]) for row in strong]),
        np.array(plain),
        np.array(agreed) if drawn else None,
        np.array([-router.estimate(text).p_weak for text in texts]),
    )


def features(row: Mapping[str, Any], prior: float, agreed: float | None) -> tuple[float, ...]:
    """The verifier's features of a recorded answer."""
    tokens = row["tokens"] or (0, 1)
    attempt = Attempt(
        str(row["model"]),
        text=str(row["answer"]).strip(),
        finish_reason=row["finish"],
        logprobs=tuple(TokenLogprob(token="", logprob=value) for value in row["logprobs"]),
        usage=Usage(input_tokens=tokens[0], output_tokens=tokens[1]),
    )
    return answer_features(attempt, CHAT, prior, agreed)


def shown(case: Case, prior: Floats | None = None) -> tuple[Floats, Floats]:
    """Rows to learn from: each answer with what was measured of it, and again without its
    log-probabilities, as of a provider that gives none."""
    parts = [case.plain] if case.agreed is None else [case.plain, case.agreed]
    parts = [part.copy() for part in parts]
    if prior is not None:
        for part in parts:
            part[:, PRIOR] = prior
    hidden = [part.copy() for part in parts]
    for part in hidden:
        part[:, HAS_LOGPROBS] = 0.0
        part[:, LOGPROB_COLUMNS] = 0.0
    every = [*parts, *hidden]
    return np.concatenate(every), np.tile(case.cheap, len(every))


def fit_many(cases: Sequence[Case], source: str) -> Verifier:
    """A verifier for all of these cases alike, started from the weights that are set by hand."""
    pairs = [shown(case) for case in cases]
    x = np.concatenate([rows for rows, _ in pairs])
    y = np.concatenate([right for _, right in pairs])
    x[:, [n for n, name in enumerate(FEATURES) if name not in LEARNED]] = 0.0
    return train_verifier(x, y, source=source, date=DATE, ridge=RIDGE, start=hand_set())


# Chosen beforehand: so much evidence as this many answers stands behind each weight set by hand.
RIDGE = 10.0


def hand_set() -> Verifier:
    """The weights that no answers stand behind."""
    names = {
        "prior": 0.8, "has_logprobs": 0.5, "mean_logprob": 1.2, "min_logprob": 0.1, "low_share": -1.0,
        "first_logprob": 0.1, "has_agreement": -1.2, "agreement": 2.4, "empty": -5.0, "truncated": -1.5,
        "refused": -3.0, "filtered": -4.0, "format_wrong": -4.0, "call_wrong": -4.0, "hedged": -0.8,
        "repeated": -2.0,
    }  # fmt: skip
    shape = default_verifier()
    weights = tuple(names.get(name, 0.0) for name in shape.features)
    zeros, ones = (0.0,) * len(weights), (1.0,) * len(weights)
    return Verifier(shape.features, weights, zeros, ones, 0.0, "set by hand", 0, DATE)


def judged(verifier: Verifier, rows: Floats) -> Floats:
    return np.array([verifier.p_good(row) for row in rows.tolist()])


def score_case(case: Case, others: Sequence[Case], seed: int) -> tuple[Scored, dict[str, Floats]]:
    """The orders in which each way sends a case's prompts up, each prompt held out; and p_good by verifier."""
    n = len(case.cheap)
    matrix, fold = prompt_matrix(case.texts), folds(n, seed)
    names = ("router trained", "cascade own", "cascade2 own", "cascade perfect")
    orders = {name: np.zeros(n) for name in names}
    p_own = np.zeros(n)
    outright, asked = (np.zeros((n, len(WEIGHTS)), dtype=bool) for _ in range(2))
    for number in range(FOLDS):
        learned, new = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        weak = learn_prompts(matrix[learned], case.cheap[learned], matrix[new])
        able = learn_prompts(matrix[learned], case.strong[learned], matrix[new])
        p_strong = _sigmoid(able.new)
        orders["router trained"][new] = p_strong - _sigmoid(weak.new)
        orders["cascade perfect"][new] = p_strong - 2.0 * case.cheap[new]
        for name, rows in (("cascade own", case.plain), ("cascade2 own", case.agreed)):
            if rows is None:
                continue
            held = rows.copy()
            held[learned, PRIOR], held[new, PRIOR] = weak.learned, weak.new
            verifier = _own(held[learned], case.cheap[learned])
            p = judged(verifier, held[new]) if verifier else _sigmoid(weak.new)
            orders[name][new] = p_strong - p
            if rows is case.plain:
                p_own[new] = p
                known = judged(verifier, held[learned]) if verifier else _sigmoid(weak.learned)
                outright[new], asked[new] = choose_first(
                    _sigmoid(weak.new), p_strong, p, (_sigmoid(weak.learned), known), RATIO
                )
    if case.agreed is None:
        del orders["cascade2 own"]
    foreign = fit_many([each for each in others if each.family != case.family], "other tasks")
    by_hand = judged(hand_set(), case.plain)
    p_foreign = judged(foreign, case.plain)
    orders["router shipped"] = case.shipped
    orders["cascade other tasks"] = -p_foreign
    orders["cascade by hand"] = -by_hand
    orders["cascade mean logprob"] = -case.plain[:, FEATURES.index("mean_logprob")]
    if case.agreed is not None:
        orders["cascade2 other tasks"] = -judged(foreign, case.agreed)
    spent = asked + np.where(outright, 0.0, 1.0 / RATIO)
    gained = np.where(asked, case.strong[:, None], case.cheap[:, None])
    scored = Scored(case.cheap, case.strong, orders, np.zeros(n, dtype=np.int64), spent, gained)
    return scored, {"own": p_own, "other tasks": p_foreign, "by hand": by_hand}


def _own(rows: Floats, right: Floats) -> Verifier | None:
    if len(rows) < 50 or not 0.0 < right.mean() < 1.0:
        return None
    return train_verifier(rows, right, source="this task", date=DATE, ridge=1.0)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -30, 30))))


def together(parts: Sequence[Scored]) -> Scored:
    """Cases as one stream of traffic; only the ways that all of them have."""
    names = set.intersection(*(set(part.orders) for part in parts))
    return Scored(
        np.concatenate([part.cheap for part in parts]),
        np.concatenate([part.strong for part in parts]),
        {name: np.concatenate([part.orders[name] for part in parts]) for name in sorted(names)},
        np.concatenate([np.full(len(part.cheap), n) for n, part in enumerate(parts)]),
        np.concatenate([part.spent for part in parts]),
        np.concatenate([part.gained for part in parts]),
    )
