"""A run of the teacher's way against a scripted teacher: one place for what the tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointsman.cli.distill_teacher import ClientTeacher, prepared
from pointsman.client import AsyncClient
from pointsman.config import Config, parse_config
from pointsman.distill.rows import Row
from pointsman.distill.teacher.budget import Budget, Limits
from pointsman.distill.teacher.caller import Caller
from pointsman.distill.teacher.ledger import Ledger
from pointsman.distill.teacher.plan import Task
from pointsman.distill.teacher.proxy import quick_student
from pointsman.distill.teacher.run import Outcome, Run, Settings, make_plan
from pointsman.distill.teacher.student import Student
from pointsman.door import Door

LABELS = ("billing", "technical", "sales")
WORDS = "Route support tickets to billing, technical or sales"
REF = "teacher"


def config_for(url: str, *, price: bool = True, dialect: str = "openai") -> Config:
    base = f"{url}/v1beta" if dialect == "gemini" else f"{url}/v1"
    priced = "price = { input = 1.0, output = 4.0 }\n" if price else ""
    return parse_config(
        f'[providers.fake]\nbase_url = "{base}"\ndialect = "{dialect}"\n'
        f'[models.teacher]\nref = "fake:writer-1"\n{priced}'
    )


def accuracy(
    rows: Sequence[Row], test: Sequence[tuple[str, str]], student: Student = quick_student
) -> float:
    """The accuracy on a test set of what a student learns from rows."""
    guesses = student(rows, [text for text, _ in test])
    return sum(g.labels == (label,) for g, (_, label) in zip(guesses, test, strict=True)) / len(
        test
    )


async def short_sleep(seconds: float) -> None:
    """A pause of the caller's, shortened: the fake provider asks for none in earnest."""
    await asyncio.sleep(seconds / 100)


def teach(url: str, out: Path, **options: Any) -> Outcome:
    return asyncio.run(teaching(url, out, **options))


async def teaching(
    url: str,
    out: Path,
    *,
    rows: int = 150,
    seed: int = 0,
    limits: Limits | None = None,
    parallel: int = 4,
    own: Sequence[str] = (),
    task: Task | None = None,
    price: bool = True,
    dialect: str = "openai",
    known: Sequence[tuple[str, str]] = (),
    **settings: Any,
) -> Outcome:
    config = prepared(config_for(url, price=price, dialect=dialect), REF)
    task = task or Task(words=WORDS, labels=LABELS)
    notes: list[str] = []
    async with AsyncClient(config) as client:
        teacher = ClientTeacher(client, config, Door(config).resolver.resolve(REF))
        with Ledger(out / "journal.jsonl") as ledger:
            budget = Budget(limits or Limits(), teacher.price, ledger.spent_usd, ledger.calls)
            caller = Caller(
                teacher, ledger, budget, seed=seed, parallel=parallel, sleep=short_sleep
            )
            plan = await make_plan(task, caller, notes)
            chosen = Settings(task=task, rows=rows, seed=seed, **settings)
            run = Run(chosen, plan, caller, ledger, quick_student, known=known)
            return await run.gather(own)
