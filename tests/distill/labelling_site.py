"""Bulk labelling against a scripted teacher: one place for what the tests of all engines share."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from msgspec import Struct

from pointsman.cli.distill_label import OpenTeacher
from pointsman.config import Config, parse_config
from pointsman.distill.engines import Engine
from pointsman.distill.partitions import Work, made_by, parts_of
from pointsman.distill.partitions_merge import Labelled, Totals, label_parts
from pointsman.distill.teacher.asking import Price, Teacher
from pointsman.distill.teacher.budget import Limits
from pointsman.distill.teacher.plan import Task, fallback_plan
from pointsman.testing import ScriptedTeacher

LABELS = ("billing", "technical", "sales")
WORDS = "Route support tickets to billing, technical or sales"
REF = "teacher"
PRICE = Price(1.0, 4.0)
PART_ROWS = 40


def config_for(url: str) -> Config:
    return parse_config(
        f'[providers.fake]\nbase_url = "{url}/v1"\ndialect = "openai"\n'
        '[models.teacher]\nref = "fake:writer-1"\nprice = { input = 1.0, output = 4.0 }\n'
    )


class Watched(Struct, frozen=True):
    """A teacher that leaves the id of the process that it is opened in, to be killed by."""

    config: Config
    pids: str

    def __call__(self) -> AbstractAsyncContextManager[Teacher]:
        with Path(self.pids).open("a") as file:
            file.write(f"{os.getpid()}\n")
        return OpenTeacher(self.config, REF)()


def texts_of(script: ScriptedTeacher, count: int) -> list[str]:
    """Texts whose labels the scripted teacher knows, some there twice, one with nothing in it."""
    texts = [text for text, _ in script.clean_rows(count - 3, 1)]
    return [*texts[:20], "  ", *texts[20:], texts[0], texts[5]]


def work_in(folder: Path, *, votes: int = 1, multi: bool = False, parallel: int = 2) -> Work:
    (folder / "journals").mkdir(parents=True, exist_ok=True)
    task = Task(words=WORDS, labels=LABELS, multi=multi)
    return Work(
        task=task,
        plan=fallback_plan(task, None),
        seed=0,
        votes=votes,
        parallel=parallel,
        folder=str(folder / "journals"),
        made_by=made_by(),
    )


def labelled(
    url: str,
    texts: Sequence[str],
    folder: Path,
    engine: Engine,
    *,
    work: Work | None = None,
    limits: Limits | None = None,
    totals: Totals | None = None,
    part_rows: int = PART_ROWS,
) -> list[Labelled]:
    work = work or work_in(folder)
    return list(
        label_parts(
            parts_of(texts, part_rows),
            engine,
            work,
            Watched(config_for(url), str(folder / "pids")),
            limits=limits or Limits(),
            price=PRICE,
            totals=Totals() if totals is None else totals,
        )
    )


class Killer(threading.Thread):
    """Kills (-9) the workers at hand, once, when as many answers are paid."""

    def __init__(self, script: ScriptedTeacher, pids: Path, answers: int) -> None:
        super().__init__(daemon=True)
        self.killed: list[int] = []
        self._script, self._pids, self._answers = script, pids, answers

    def run(self) -> None:
        until_s = time.monotonic() + 60
        while self._script.paid.total() < self._answers and time.monotonic() < until_s:
            time.sleep(0.002)
        for pid in {int(line) for line in self._pids.read_text().split()}:
            os.kill(pid, signal.SIGKILL)
            self.killed.append(pid)
