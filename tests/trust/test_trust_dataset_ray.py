"""The same verdict on a local Ray cluster of two workers. Needs ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from trust_rows import made_set, write_lines

from pointsman.trust.dataset.check import check_file
from pointsman.trust.dataset.engines import ray_cluster

ray = pytest.importorskip(
    "ray", reason="needs ray: pip install -r requirements/ray.txt into an environment of its own"
)
# Ray leaves sockets and warnings of its own behind.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # The workers are to find what the tests define.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


def test_the_verdict_is_that_of_this_process(tmp_path: Path) -> None:
    rows, planted = made_set(700, 25, lambda text, rng: f"{text} zqv")
    path = write_lines(tmp_path / "rows.jsonl", rows)
    here = check_file(path, part_rows=234)
    with ray_cluster("local", 2) as run:
        there = check_file(path, run, part_rows=100)
    assert there == here
    assert {row.row for row in there.suspects} == planted
    assert ray.is_initialized()  # A cluster that was there stays.
