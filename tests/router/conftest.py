"""A small set of real outcomes, and a router learned from it once."""

from __future__ import annotations

from pathlib import Path

import pytest
from router_pair import STRONG, WEAK

from pointsman.router.classifier import OnnxClassifier
from pointsman.router.recorded import pair_rows
from pointsman.router.rows import Row
from pointsman.router.train import Trained, train


@pytest.fixture(scope="session")
def outcomes() -> Path:
    return Path(__file__).parent / "data" / "outcomes.jsonl"


@pytest.fixture(scope="session")
def pair(outcomes: Path) -> tuple[list[Row], list[Row]]:
    return pair_rows(outcomes, STRONG, WEAK)


@pytest.fixture(scope="session")
def trained(pair: tuple[list[Row], list[Row]]) -> Trained:
    rows, others = pair
    return train([*rows, *others], STRONG, WEAK, licence="MIT", created="2026-11-24")


@pytest.fixture(scope="session")
def router(trained: Trained) -> OnnxClassifier:
    return OnnxClassifier.load(trained.model, "the fixture")
