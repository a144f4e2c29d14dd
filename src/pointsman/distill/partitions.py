"""Bulk labelling, the map: a part of a file's texts goes in, its labels come out.

A part is labelled by `run_part`, a function of its arguments and of the teacher's answers, in this
process, in a pool or on a cluster alike. Each part has a journal of its own, in a folder that all
workers share: whoever takes up a part whose worker died reads there what was paid already, and asks
for the rest.
"""

from __future__ import annotations

import asyncio
import fcntl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from msgspec import Struct

from pointsman import __version__
from pointsman.distill.teacher.asking import Price, Teacher
from pointsman.distill.teacher.budget import Budget, Limits, bound_usd
from pointsman.distill.teacher.caller import Asker, Caller
from pointsman.distill.teacher.label import (
    BlindLabel,
    LabelQuestion,
    chunks_of,
    label_question,
    read_labels,
)
from pointsman.distill.teacher.ledger import Ledger
from pointsman.distill.teacher.plan import Plan, Task
from pointsman.distill.teacher.prompts import prompts_sha256
from pointsman.errors import DistillError, PointsmanError, ProviderError

__all__ = [
    "NOT_ASKED",
    "Failure",
    "Part",
    "PartResult",
    "Teachers",
    "Work",
    "journal_of",
    "made_by",
    "most_of",
    "parts_of",
    "run_part",
]

NO_LABEL = "no blind label"
NOT_ASKED = "not asked, for a cap"
DIFFERENT = "blind labels differ"
EMPTY = "empty"
STAGE = "label"
# How long a part waits for its journal. A worker that was killed lets go of it at once on the same
# machine; a file server takes a while to notice.
LOCK_WAIT_S = 60.0
LOCK_POLL_S = 0.2
# What a text that is left out of an answer is asked for in all.
ROUNDS = 2

Teachers = Callable[[], AbstractAsyncContextManager[Teacher]]
"""What opens the teacher where the part is labelled; it is pickled, so it is no closure."""


class Part(Struct, frozen=True):
    """Some of a file's texts in their order; `number` counts the parts from 0."""

    number: int
    texts: tuple[str, ...]


class Work(Struct, frozen=True, kw_only=True):
    """What is the same for all parts.

    `votes` is how many blind labels of a text have to be equal. `parallel` is how many requests a
    part has under way at a time. `folder` holds the journals. `made_by` says whose code it is.
    """

    task: Task
    plan: Plan
    seed: int
    votes: int
    parallel: int
    folder: str
    made_by: str


class Failure(Struct, frozen=True, kw_only=True):
    """Why a part came to nothing: an error as a value, which survives any way home."""

    message: str
    provider: str | None = None
    status: int | None = None

    def error(self) -> PointsmanError:
        """Give it as an error to raise."""
        if self.provider is not None and self.status is not None:
            return ProviderError(self.message, provider=self.provider, status=self.status)
        return DistillError(self.message)


class PartResult(Struct, frozen=True, kw_only=True):
    """What came of a part. `labels` and `reasons` are as long as its texts, one of the two given.

    Money, calls and tokens are all that the part's journal holds, earlier runs included. `stopped`
    says that the part's limits ended it. With a `failure` there are no labels; what was paid is in
    the journal.
    """

    labels: tuple[BlindLabel | None, ...] = ()
    reasons: tuple[str | None, ...] = ()
    cost_usd: float = 0.0
    lost_usd: float = 0.0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    damaged_lines: int = 0
    stopped: bool = False
    failure: Failure | None = None


def made_by() -> str:
    """Say whose code this is: the version, and the prompts."""
    return f"{__version__} {prompts_sha256()[:16]}"


def parts_of(texts: Iterable[str], rows: int) -> Iterator[Part]:
    """Cut texts into parts of `rows` each, the last one shorter, holding one at a time."""
    held: list[str] = []
    number = 0
    for text in texts:
        held.append(text)
        if len(held) == rows:
            yield Part(number, tuple(held))
            held, number = [], number + 1
    if held:
        yield Part(number, tuple(held))


def journal_of(folder: str | Path, number: int) -> Path:
    """Where a part's journal is."""
    return Path(folder) / f"{number:08d}.jsonl"


def most_of(part: Part, work: Work, price: Price | None, share: float = 1.0) -> tuple[float, int]:
    """Give the most, in dollars and in calls, that a part is expected to need: no text twice in vain."""
    texts = _distinct(part.texts)
    questions = _questions(list(texts), range(len(texts)), work, 0, logprobs=True)
    usd = sum(bound_usd(each.question.chat, price, share) for each in questions)
    return ROUNDS * work.votes * usd, ROUNDS * work.votes * len(questions)


def run_part(part: Part, work: Work, teachers: Teachers, limits: Limits) -> PartResult:
    """Label a part; what was paid for it before is taken from its journal.

    Raises nothing of Pointsman's own: see `PartResult.failure`.
    """
    try:
        _check_place(work)
        _wait_for(journal_of(work.folder, part.number))
        return asyncio.run(_run(part, work, teachers, limits))
    except ProviderError as error:
        failure = Failure(message=error.message, provider=error.provider, status=error.status)
        return PartResult(failure=failure)
    except PointsmanError as error:
        return PartResult(failure=Failure(message=error.message))


def _check_place(work: Work) -> None:
    here = made_by()
    if work.made_by != here:
        raise DistillError(
            f"a worker has another version of Pointsman ({here}) than the one that asks"
            f" ({work.made_by}): install the same one everywhere"
        )
    if not Path(work.folder).is_dir():
        raise DistillError(
            f"a worker does not find {work.folder}: --out has to be on a disk that all workers"
            " share, under the same name"
        )


async def _run(part: Part, work: Work, teachers: Teachers, limits: Limits) -> PartResult:
    path = journal_of(work.folder, part.number)
    with Ledger(path) as ledger:
        async with teachers() as teacher:
            budget = Budget(limits, teacher.price, ledger.spent_usd, ledger.calls)
            caller = Caller(teacher, ledger, budget, seed=work.seed, parallel=work.parallel)
            found, reasons = await _label(part.texts, work, caller, teacher.logprobs)
        usages = [each.answer.usage for each in ledger.answers() if each.answer.usage is not None]
        return PartResult(
            labels=tuple(found.get(text) for text in part.texts),
            reasons=tuple(reasons.get(text) for text in part.texts),
            cost_usd=ledger.spent_usd,
            lost_usd=ledger.lost_usd,
            calls=ledger.calls,
            input_tokens=sum(each.input_tokens for each in usages),
            output_tokens=sum(each.output_tokens for each in usages),
            damaged_lines=ledger.damaged_lines,
            stopped=caller.stopped is not None,
        )


def _wait_for(path: Path) -> None:
    """Wait while another worker holds the journal: it may be one that has just been killed.

    If it never lets go, the ledger says so.
    """
    until_s = time.monotonic() + LOCK_WAIT_S
    while not _is_free(path) and time.monotonic() < until_s:
        time.sleep(LOCK_POLL_S)


def _is_free(path: Path) -> bool:
    try:
        with path.open("ab") as file:  # A file server locks only what is open for writing.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # Whatever it is, it is for the ledger to say.
    return True


async def _label(
    texts: Sequence[str], work: Work, caller: Caller, logprobs: bool
) -> tuple[dict[str, BlindLabel], dict[str, str]]:
    """The labels by text, and why the others have none. A text that is there twice is asked once."""
    distinct = _distinct(texts)
    found: dict[str, BlindLabel] = {}
    reasons = {text: EMPTY for text in texts if not text.strip()}
    index = 0
    for vote in range(work.votes):
        pool = distinct if vote == 0 else [text for text in distinct if text in found]
        given: dict[str, BlindLabel] = {}
        stopped = False
        for _ in range(ROUNDS):
            left = [at for at, text in enumerate(pool) if text not in given]
            questions = _questions(pool, left, work, index, logprobs=logprobs)
            index += len(questions)
            told = await _ask(caller, questions)
            given |= {
                pool[at]: label
                for at, label in told.items()
                if work.task.multi or len(label.labels) == 1
            }
            stopped = caller.stopped is not None
            if stopped:
                break
        for text in pool:
            label = given.get(text)
            if label is None:
                reasons[text] = NOT_ASKED if stopped else NO_LABEL
                found.pop(text, None)
            elif vote == 0:
                found[text] = label
            elif set(label.labels) != set(found[text].labels):
                reasons[text] = DIFFERENT
                del found[text]
        if stopped:
            break
    return found, reasons


async def _ask(caller: Asker, questions: Sequence[LabelQuestion]) -> Mapping[int, BlindLabel]:
    answers = await caller.ask([each.question for each in questions])
    found: dict[int, BlindLabel] = {}
    for question, answer in zip(questions, answers, strict=True):
        if answer is not None:
            found |= read_labels(question, answer)
    return found


def _questions(
    pool: Sequence[str], left: Iterable[int], work: Work, index: int, *, logprobs: bool
) -> list[LabelQuestion]:
    """The questions for the texts at these places; `index` sets apart those for a text asked again."""
    places = list(left)
    return [
        label_question(
            {places[at]: pool[places[at]] for at in chunk},
            work.task,
            work.plan,
            stage=STAGE,
            index=index + number,
            seed=work.seed,
            logprobs=logprobs,
        )
        for number, chunk in enumerate(chunks_of([pool[at] for at in places]))
    ]


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text.strip()))
