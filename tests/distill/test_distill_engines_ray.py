"""Bulk labelling on a local Ray cluster of two workers. Needs ray; see docs/distill.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from labelling_site import Killer, labelled, texts_of

from pointsman.distill.engines import Here
from pointsman.distill.engines_ray import RayCluster
from pointsman.distill.partitions_merge import Totals
from pointsman.distill.teacher.budget import Limits
from pointsman.errors import DistillError, ProviderError
from pointsman.testing import FakeProvider, Fault, Faults, ScriptedTeacher

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


def two_workers() -> RayCluster:
    return RayCluster(2, cpus=1.0)


def test_the_rows_are_those_of_this_process_in_the_same_order(tmp_path: Path) -> None:
    found, asked = [], []
    for name, engine in (("here", Here()), ("ray", two_workers())):
        script = ScriptedTeacher("support", Faults(blind_error=0.1, broken=0.1))
        totals = Totals()
        with FakeProvider(script) as fake:
            texts = texts_of(script, 240)
            found.append(labelled(fake.url, texts, tmp_path / name, engine, totals=totals))
        asked.append(script.paid)
        assert totals.labelled > 200 and totals.parts == 6
    assert found[0] == found[1]
    assert asked[0] == asked[1]
    pids = (tmp_path / "ray" / "pids").read_text().split()
    assert len(set(pids)) == 2 and str(os.getpid()) not in pids
    assert ray.is_initialized()  # A cluster that was there stays.


def test_killing_a_worker_loses_no_paid_row(tmp_path: Path) -> None:
    script = ScriptedTeacher("support", delay_s=0.1)
    texts = texts_of(script, 400)
    killer = Killer(script, tmp_path / "pids", answers=9)
    killer.start()
    with FakeProvider(script) as fake:
        rows = labelled(fake.url, texts, tmp_path, two_workers(), part_rows=200)
    killer.join()
    assert len(killer.killed) == 2
    assert len((tmp_path / "pids").read_text().split()) == 4  # Each part was begun twice.
    assert [row.text for row in rows] == texts
    assert sum(row.label is not None for row in rows) == 399
    # Two parts with two requests each were under way: these, and no others, are paid again.
    assert script.paid.total() - len(script.paid) <= 4


def test_a_cap_holds_over_all_workers(tmp_path: Path) -> None:
    script = ScriptedTeacher("support")
    texts = [text for text, _ in script.clean_rows(200, 1)]
    totals = Totals()
    with FakeProvider(script) as fake:
        limits = Limits(max_calls=9)
        labelled(fake.url, texts, tmp_path, two_workers(), limits=limits, totals=totals)
    assert script.paid.total() == totals.calls == 9 and totals.stopped


def test_a_teacher_that_cannot_be_asked_ends_it(tmp_path: Path) -> None:
    with (
        FakeProvider(lambda request: Fault(status=401)) as fake,
        pytest.raises(ProviderError) as caught,
    ):
        labelled(fake.url, ["one", "two"], tmp_path, two_workers(), part_rows=1)
    assert caught.value.status == 401


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "auto"])
def test_where_no_cluster_is_it_is_told_what_to_do(address: str) -> None:
    ray.shutdown()
    with pytest.raises(DistillError, match="ray start --head"), RayCluster(2, address):
        pass
