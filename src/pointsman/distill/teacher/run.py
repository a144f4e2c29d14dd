"""The whole way from a description to rows: plan, own texts, rounds of writing and blind labels.

A run is a function of its settings and of the teacher's answers; it holds no state that the ledger
has not. What is decided on the way by computing is kept in the ledger as well, so that a run that
was stopped asks no question twice, and none that the first run would not have asked.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.distill.teacher.asking import Answer, Question
from pointsman.distill.teacher.caller import Asker
from pointsman.distill.teacher.generate import (
    Briefs,
    RowsQuestion,
    boundary_question,
    rows_question,
)
from pointsman.distill.teacher.harvest import Agreement, Candidate, Harvest, Kept, Rejected
from pointsman.distill.teacher.label import (
    BlindLabel,
    LabelQuestion,
    chunks_of,
    label_question,
    read_labels,
)
from pointsman.distill.teacher.ledger import Ledger
from pointsman.distill.teacher.parse import rows_of
from pointsman.distill.teacher.plan import (
    Plan,
    Task,
    fallback_plan,
    plan_chat,
    read_plan,
    repair_chat,
)
from pointsman.distill.teacher.prompts import prompts_sha256
from pointsman.distill.teacher.rounds import Portion, compose, label_bound_usd
from pointsman.distill.teacher.select import most_telling, spread
from pointsman.distill.teacher.student import Check, Student, check
from pointsman.errors import DistillError

__all__ = ["Outcome", "Progress", "Run", "Settings", "make_plan"]

PLAN_TRIES = 2
FRUITLESS_ROUNDS = 2
MAX_ROUNDS = 200
PATIENCE = 3
MIN_RISE = 0.005
MIN_HELD_OUT = 50
GROWTH = 1.25
OWN_ROUNDS = 4
FLOOR_ROWS = 40
CUT_SHARE = 0.3
NO_ROUND = "what is left under the cap does not pay for another round"
MIN_ASKED, WASTED_SHARE = 20, 0.25


class Settings(Struct, frozen=True, kw_only=True):
    """What a run is for. `rows` are wanted in all; `logprobs` asks for soft labels."""

    task: Task
    rows: int
    seed: int = 0
    rows_per_question: int = 10
    questions_per_round: int = 24
    logprobs: bool = False


class Progress(Struct, frozen=True, kw_only=True):
    """How far a run is. `estimate_usd` is of the whole, None while nothing can be said."""

    stage: str
    rows: int
    rows_wanted: int
    cost_usd: float
    estimate_usd: float | None


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a run. `asked` rows were to be written, `kept` came through; `ended` says why it
    stopped; `curve` has the checks on the way.
    """

    plan: Plan
    kept: list[Kept]
    rejected: list[Rejected]
    reasons: dict[str, int]
    agreement: Agreement
    curve: list[Check]
    ended: str
    asked: int = 0

    @property
    def wasted(self) -> bool:
        """Whether hardly any of the rows that were asked for could be used."""
        written = sum(each.stage != "own" for each in self.kept)
        return self.asked >= MIN_ASKED and written < WASTED_SHARE * self.asked

    @property
    def too_weak(self) -> bool:
        """Whether the teacher is not up to the task: it wastes rows, or disagrees with itself."""
        return self.wasted or self.agreement.too_weak


async def make_plan(task: Task, asker: Asker, notes: list[str]) -> Plan:
    """Give the teacher's plan, with its faults put right where that can be done.

    Raises:
        DistillError: there is no plan that can be used, or no money for one.
    """
    chat = first = plan_chat(task)
    plan: Plan | None = None
    faults = ["nothing was answered"]
    for index in range(PLAN_TRIES):
        (answer,) = await asker.ask([Question(stage="plan", index=index, chat=chat)])
        if answer is None:
            if asker.stopped:
                raise DistillError(f"{asker.stopped} leaves nothing for the plan: raise it")
            continue
        read, faults = read_plan(answer.text, task)
        if read is not None and not faults:
            return read
        plan = read or plan
        chat = repair_chat(first, answer.text, faults)
    notes.append("the teacher's plan could not be used as it was (" + "; ".join(faults[:3]) + ")")
    return fallback_plan(task, plan)


class Run:
    """One run over a plan. `progress` is told of every step.

    `known` are texts that may not be taken in, with the reason: the test set's, the examples.
    """

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        asker: Asker,
        ledger: Ledger,
        student: Student,
        *,
        known: Sequence[tuple[str, str]] = (),
        progress: Callable[[Progress], None] = lambda step: None,
    ) -> None:
        self.settings = settings
        self.plan = plan
        self.harvest = Harvest(plan, multi=settings.task.multi, known=known, seed=settings.seed)
        self._asker = asker
        asker.on_answer = self._tell
        self._ledger = ledger
        self._student = student
        self._progress = progress
        self._briefs = Briefs(plan, settings.task, settings.seed)
        self._curve: list[Check] = []
        self._label_index = 0
        self._rows_per_question = settings.rows_per_question
        self._stage = "write"
        body = msgspec.json.encode(
            (plan, settings.task, settings.seed, settings.logprobs, prompts_sha256())
        )
        self._name = hashlib.sha256(body).hexdigest()[:16]

    async def gather(self, own: Sequence[str] = ()) -> Outcome:
        """Give the rows: the user's own texts labelled first, then what the teacher writes.

        Raises:
            PointsmanError: the teacher cannot be asked at all.
        """
        if own:
            await self._label_own(own)
        ended = await self._write(sparing=bool(own))
        return Outcome(
            plan=self.plan,
            kept=self.harvest.kept,
            rejected=self.harvest.rejected,
            reasons=self.harvest.reasons(),
            agreement=self.harvest.agreement(),
            curve=self._curve,
            ended=ended,
            asked=self.harvest.asked,
        )

    async def _write(self, *, sparing: bool) -> str:
        """Rounds of writing until there is enough; gives why they ended.

        `sparing` writes only for classes of which the user's own texts have hardly any.
        """
        self._stage = "write"
        fruitless = 0
        for number in range(MAX_ROUNDS):
            done = self._enough(sparing)
            if done:
                return done
            portions = self._portions(number, sparing)
            if not portions:
                return self._asker.stopped or NO_ROUND
            gained = await self._round(number, portions)
            fruitless = 0 if gained else fruitless + 1
            if self._asker.stopped:
                return self._asker.stopped
            if fruitless >= FRUITLESS_ROUNDS:
                return "nothing that the teacher writes can be used"
            await self._look(f"round/{number}")
            if self._flat():
                return "agreement on held-out rows stopped rising"
        return f"{MAX_ROUNDS} rounds"

    def _enough(self, sparing: bool) -> str | None:
        counts = self.harvest.counts()
        if sparing:
            floor = min(FLOOR_ROWS, self.settings.rows // max(len(counts), 1))
            return "own texts cover the classes" if min(counts.values()) >= floor else None
        if len(self.harvest.kept) >= self.settings.rows:
            return "the rows asked for are there"
        return None

    def _portions(self, number: int, sparing: bool) -> list[Portion]:
        """What a round asks for, as decided now or in the run that this one goes on from."""
        decided = self._ledger.decide(
            f"{self._name}/round/{number}", lambda: self._compose(number, sparing)
        )
        return msgspec.convert(decided, list[Portion])

    def _compose(self, number: int, sparing: bool) -> list[Portion]:
        per_class = self.settings.rows / len(self.plan.classes)
        if sparing:
            per_class = min(per_class, FLOOR_ROWS)
        pairs = self._curve[-1].pairs if self._curve else ()
        asked = self.harvest.asked
        return compose(
            self.harvest.counts(),
            per_class,
            pairs,
            first=number == 0,
            # What is written is not all kept; how much is shows only after a while.
            kept_share=len(self.harvest.kept) / asked if asked >= 20 else 0.7,
            rows_per_question=self._rows_per_question,
            most=self.settings.questions_per_round,
        )

    async def _round(self, number: int, portions: Sequence[Portion]) -> int:
        """Have rows written, screened and labelled; gives how many were kept."""
        questions = [
            self._question(portion, number * 10_000 + at) for at, portion in enumerate(portions)
        ]
        key = f"round/{number}"
        if self._ledger.decided(f"{self._name}/{key}/answered") is None:
            questions = questions[: self._fitting([each.question for each in questions])]
        if not questions:
            self._asker.stopped = NO_ROUND
            return 0
        answers = await self._ask(f"{key}/answered", [each.question for each in questions])
        candidates: list[Candidate] = []
        cut = 0
        for asked, answer in zip(questions, answers, strict=True):
            if answer is not None:
                cut += answer.cut
                candidates += self._read(asked, answer)
        if cut > CUT_SHARE * len(questions):
            self._rows_per_question = max(self._rows_per_question // 2, 2)
        return await self._label(self.harvest.screen(candidates))

    async def _ask(
        self, key: str, questions: Sequence[Question], *, go_on: bool = False
    ) -> list[Answer | None]:
        """Ask, and keep which questions were answered, so that a later run goes on from the same
        rows; with `go_on` a later run may ask those that a cap left out.
        """
        name = f"{self._name}/{key}"
        known = self._ledger.decided(name)
        if known is not None:
            picked = [at for at in known if at < len(questions)]
            found = await self._asker.ask([questions[at] for at in picked])
            by_place = dict(zip(picked, found, strict=True))
            return [by_place.get(at) for at in range(len(questions))]
        answers = await self._asker.ask(questions)
        answered = [at for at, answer in enumerate(answers) if answer is not None]
        if answered and not (go_on and self._asker.stopped):
            self._ledger.decide(name, lambda: answered)
        return answers

    def _question(self, portion: Portion, index: int) -> RowsQuestion:
        task, seed = self.settings.task, self.settings.seed
        if portion.pair is None:
            briefs = self._briefs.take(portion.label, portion.rows)
            return rows_question(briefs, portion.label, self.plan, task, index=index, seed=seed)
        first, second = portion.pair.first, portion.pair.second
        half = portion.rows // 2
        briefs = [*self._briefs.take(first, portion.rows - half), *self._briefs.take(second, half)]
        return boundary_question(briefs, portion.pair, self.plan, task, index=index)

    def _fitting(self, questions: Sequence[Question]) -> int:
        """How many of the questions can be paid, the blind labels of their rows included."""
        budget = self._asker.budget
        limits = budget.limits
        if limits.max_usd is None and limits.max_calls is None:
            return len(questions)
        label = label_bound_usd(budget, self.plan, self._rows_per_question)
        usd, calls = budget.left_usd(), budget.left_calls()
        count = 0
        for question in questions:
            if not self._asker.is_paid(question):
                usd -= budget.bound_usd(question.chat) + label
                calls -= 2
            if usd < 0 or calls < 0:
                break
            count += 1
        return count

    def _read(self, asked: RowsQuestion, answer: Answer) -> list[Candidate]:
        parsed = rows_of(answer.text, asked.briefs, cut=answer.cut, refused=answer.refused)
        self.harvest.asked += len(asked.briefs)
        self.harvest.faults.update(parsed.faults)
        return [
            Candidate(
                text=text,
                wanted=asked.briefs[number].labels,
                stage=asked.question.stage,
                attributes=asked.briefs[number].attributes,
            )
            for number, text in parsed.rows.items()
        ]

    async def _label(self, candidates: Sequence[Candidate], votes: int = 1) -> int:
        """Have texts labelled blind, and keep those that may be; gives how many."""
        texts = {at: each.text for at, each in enumerate(candidates)}
        labels = await self._blind(texts)
        missing = {at: text for at, text in texts.items() if at not in labels}
        if missing and not self._asker.stopped:
            labels |= await self._blind(missing)
        if votes > 1:
            again = await self._blind({at: texts[at] for at in labels})
            for at, label in list(labels.items()):
                other = again.get(at)
                if other is None or set(other.labels) != set(label.labels):
                    del labels[at]
                    self.harvest.turn_away(candidates[at], "two blind labels differ")
            turned = {id(each) for each in candidates} - {id(candidates[at]) for at in labels}
            candidates = [each for each in candidates if id(each) not in turned]
            labels = dict(enumerate(labels[at] for at in sorted(labels)))
        reason = "no blind label"
        if self._asker.stopped:
            reason = f"no blind label: {self._asker.stopped}"
        found = [labels.get(at) for at in range(len(candidates))]
        gained = self.harvest.judge(candidates, found, reason)
        self._tell()
        return gained

    async def _blind(self, texts: dict[int, str]) -> dict[int, BlindLabel]:
        keys = list(texts)
        asked: list[LabelQuestion] = []
        for chunk in chunks_of([texts[at] for at in keys]):
            asked.append(
                label_question(
                    {keys[at]: texts[keys[at]] for at in chunk},
                    self.settings.task,
                    self.plan,
                    stage="label",
                    index=self._label_index,
                    seed=self.settings.seed,
                    logprobs=self.settings.logprobs,
                )
            )
            self._label_index += 1
        key = f"label/{self._label_index}"
        answers = await self._ask(key, [each.question for each in asked], go_on=True)
        found: dict[int, BlindLabel] = {}
        for question, answer in zip(asked, answers, strict=True):
            if answer is not None:
                found |= read_labels(question, answer)
        return found

    async def _label_own(self, texts: Sequence[str]) -> None:
        """Have the user's own texts labelled: a spread of them, then those a student is unsure of."""
        self._stage = "label"
        candidates = [
            Candidate(text=text, wanted=None, stage="own") for text in texts if text.strip()
        ]
        pool = self.harvest.screen(candidates)
        each_round = max(min(self.settings.rows, len(pool)) // OWN_ROUNDS, 1)
        name = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        for number in range(MAX_ROUNDS):
            if not pool or len(self.harvest.kept) >= self.settings.rows or self._asker.stopped:
                return
            choose = partial(self._pick, pool, each_round, number)
            picks = await self._decided(f"own/{name}/{number}", choose)
            await self._label([pool[at] for at in picks], votes=2)
            pool = [each for at, each in enumerate(pool) if at not in set(picks)]
        return

    def _pick(self, pool: Sequence[Candidate], count: int, number: int) -> list[int]:
        texts = [each.text for each in pool]
        rows = [each.row() for each in self.harvest.kept]
        labels = {label for row in rows for label in row.labels}
        seed = self.settings.seed + number
        if number == 0 or len(rows) < FLOOR_ROWS or len(labels) < 2:
            return spread(texts, count, seed)
        guesses = self._student(rows, texts)
        return most_telling(texts, [guess.scores for guess in guesses], count, seed)

    async def _look(self, key: str) -> None:
        """Train a student on what there is, when there is a quarter more than the last time."""
        last = self._curve[-1].rows if self._curve else 0
        if len(self.harvest.kept) < GROWTH * last:
            return
        found = await self._decided(key + "/check", lambda: check(self.harvest.kept, self._student))
        if found is not None:
            self._curve.append(msgspec.convert(found, Check))

    async def _decided(self, key: str, compute: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(self._ledger.decide, f"{self._name}/{key}", compute)

    def _flat(self) -> bool:
        """Whether the last checks brought nothing over the best one before them."""
        # On few rows a student is right or wrong by chance.
        values = [each.agreement for each in self._curve if each.held_out >= MIN_HELD_OUT]
        if len(values) <= PATIENCE:
            return False
        return max(values[-PATIENCE:]) < max(values[:-PATIENCE]) + MIN_RISE

    def _tell(self) -> None:
        rows, spent = len(self.harvest.kept), self._asker.budget.spent_usd
        wanted = self.settings.rows
        estimate = spent * max(wanted / rows, 1.0) if rows else None
        self._progress(
            Progress(
                stage=self._stage,
                rows=rows,
                rows_wanted=wanted,
                cost_usd=spent,
                estimate_usd=estimate,
            )
        )
