from __future__ import annotations

import numpy as np
import pytest

from pointsman.distill.fit import Network, Plan, fit, logits, matrix, scales, start
from pointsman.distill.ngrams import scheme

HOW = scheme(500)
TEXTS = [b"the sun is warm", b"snow and ice", b"warm sunny day", b"icy cold snow"] * 10
TARGETS = np.eye(2, dtype=np.float32)[[0, 1, 0, 1] * 10]
WEIGHTS = np.ones(40, np.float32)
PLAN = Plan(epochs=30, batch_rows=8, dropout=0.3, seed=3)


def features(texts: list[bytes] = TEXTS):
    return matrix(texts, HOW)


def told(network: Network, counts):
    return logits(network, counts, scales(counts))


def learned(plan: Plan = PLAN, *, multi: bool = False, weights=WEIGHTS, **more) -> Network:
    network = start(HOW.buckets, 2, 8, plan.seed)
    fit(network, features(), scales(features()), TARGETS, weights, plan, multi=multi, **more)
    return network


@pytest.mark.parametrize("multi", [False, True])
def test_what_is_plain_is_learned(multi: bool) -> None:
    found = told(learned(multi=multi), features([b"sunny and warm", b"cold snow"]))
    assert found.argmax(axis=1).tolist() == [0, 1]


def test_the_same_seed_gives_the_same_network_and_another_one_another() -> None:
    one, same, other = (learned(Plan(epochs=2, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.table, same.table)
    assert not np.array_equal(one.table, other.table)


def test_a_row_of_no_weight_teaches_nothing() -> None:
    weights = np.array([1, 0, 1, 0] * 10, np.float32)
    found = told(learned(weights=weights), features([b"cold snow"]))
    assert found.argmax() == 0


def test_rows_that_no_text_has_stay_as_they_were() -> None:
    before = start(HOW.buckets, 2, 8, PLAN.seed).table
    absent = np.asarray(features().sum(axis=0)).ravel() == 0
    assert np.array_equal(learned().table[absent], before[absent])


def test_the_table_is_left_alone_when_asked() -> None:
    plan = Plan(epochs=2, learn_table=False, seed=3)
    assert np.array_equal(learned(plan).table, start(HOW.buckets, 2, 8, 3).table)


def test_the_forward_pass_takes_the_table_as_it_will_be_stored() -> None:
    seen = []

    def residual(table):
        seen.append(table.copy())
        return -table  # As stored, the table is all zeros: nothing can be told of a text.

    found = learned(Plan(epochs=3, seed=3, dropout=0.0), residual=residual)
    assert len(seen) == 3
    blank = Network(np.zeros_like(found.table), found.shift, found.weights, found.bias)
    assert told(blank, features()) == pytest.approx(told(blank, features())[:1].repeat(40, 0))


def test_progress_is_told_by_epoch() -> None:
    told = []
    learned(Plan(epochs=2), progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2), (2, 2)]
