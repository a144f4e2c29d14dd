"""`pointsman distill new`: from a description to a classifier, with rows that a teacher writes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from pointsman.cli.distill import learn_and_write, training_options
from pointsman.cli.distill_teacher import ClientTeacher, as_answer, check_price, prepared
from pointsman.cli.output import config_option, echo_json, json_option
from pointsman.client import AsyncClient
from pointsman.config import Config, load_config
from pointsman.dialects import get_dialect
from pointsman.distill.folder import make_folder, write_file
from pointsman.distill.rows import read_texts
from pointsman.distill.sample import Sample, read_scored
from pointsman.distill.teacher.asking import Teacher
from pointsman.distill.teacher.batch import BatchCaller
from pointsman.distill.teacher.batch_wire import batch_host
from pointsman.distill.teacher.budget import BATCH_SHARE, Budget, Limits, expected_usd
from pointsman.distill.teacher.caller import Asker, Caller
from pointsman.distill.teacher.ledger import Ledger
from pointsman.distill.teacher.plan import Plan, Task, read_plan
from pointsman.distill.teacher.proxy import quick_student
from pointsman.distill.teacher.run import Outcome, Progress, Run, Settings, make_plan
from pointsman.distill.teacher.summary import (
    Summary,
    check_rows,
    json_lines,
    summary_of,
    training_rows,
)
from pointsman.door import Door
from pointsman.errors import DistillError, ProviderError, RequestError
from pointsman.resolve import Plan as RefPlan

__all__ = ["new"]

MAX_EXAMPLES = 200
MAX_OWN_TEXTS = 200_000
ROWS_PER_CLASS, MIN_ROWS, MAX_ROWS = 150, 600, 6_000
BATCH_QUESTIONS = 400
# A model that runs here has little room: fewer rows fit into one question.
SMALL_ROWS, ROWS = 3, 10
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


class Wanted(Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    task: Task
    ref: str
    out: Path
    rows: int | None
    seed: int
    parallel: int
    limits: Limits
    batch: bool
    plan_only: bool
    sure: bool


@click.command("new")
@click.argument("words", metavar="TASK")
@click.option("--teacher", "ref", required=True, help="Ref of the model that writes and labels.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to fill."
)
@click.option(
    "--labels", help="Names of the classes, with commas; else the teacher's plan names them."
)
@click.option("--multi", is_flag=True, help="A text may have several labels, or none.")
@click.option("--other", is_flag=True, help="Add a class for texts that are none of the others.")
@click.option("--languages", help="Languages of the texts as tags with commas, such as en,de,zh.")
@click.option(
    "--rows",
    type=click.IntRange(20, 100_000),
    help=f"Rows wanted; the default is {ROWS_PER_CLASS} a class, {MIN_ROWS} at least.",
)
@click.option("--max-usd", type=click.FloatRange(0, min_open=True), help="Most that may be spent.")
@click.option("--max-calls", type=click.IntRange(1), help="Most requests to the teacher.")
@click.option("--seed-examples", type=_file, help="Real texts that show the style.")
@click.option("--unlabelled", type=_file, help="Your own texts, for the teacher to label.")
@click.option("--test", type=_file, help="Labelled rows to score the model on; never learned from.")
@training_options
@click.option(
    "--parallel",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Requests at a time.",
)
@click.option("--batch", is_flag=True, help="Use the provider's batch API: half the price, hours.")
@click.option("--plan-only", is_flag=True, help="Write OUT/plan.json, to be looked at, and stop.")
@click.option("--yes", "sure", is_flag=True, help="Ask nothing, even where the price is unknown.")
@config_option
@json_option
def new(words: str, ref: str, out: Path, **options: Any) -> None:
    """Have a teacher write rows for TASK, learn a classifier from them and write it to OUT.

    Stop it at any time and run the same command again: it goes on, and pays no answer twice. The
    plan, OUT/plan.json, may be edited before the rows are written. The rows are in OUT/data.jsonl,
    those turned away, with the reason, in OUT/rejected.jsonl.
    """
    make_folder(out)
    wanted = _wanted(words, ref, out, options)
    own = list(_texts(options["unlabelled"], MAX_OWN_TEXTS)) if options["unlabelled"] else []
    test = options["test"]
    test_sample = read_scored(test, seed=wanted.seed) if test else None
    known = [(text, "copies an example") for text in wanted.task.examples]
    known += [(row.text, "in the test set") for row in test_sample.rows] if test_sample else []
    config = prepared(load_config(options["config_path"]), ref)
    with Ledger(out / "journal.jsonl") as ledger:
        try:
            found = asyncio.run(_teach(wanted, config, ledger, own, known))
        except ProviderError as error:
            error.message += "; what was paid is kept: run the same command again to go on"
            error.args = (error.message,)
            raise
        except KeyboardInterrupt:
            click.echo(
                "stopped; run the same command again to go on: what was paid is kept", err=True
            )
            raise click.Abort from None
        if isinstance(found, Plan):
            _say_plan(found, out, options["as_json"])
            return
        outcome, summary = found
        _write(out, outcome, summary)
        check_rows(outcome, summary.teacher, str(out))
        rows = tuple(training_rows(outcome, wanted.seed))
        learn_and_write(
            out,
            Sample(rows=rows, seen=len(rows)),
            data=str(out / "data.jsonl"),
            settings={
                "size_bytes": options["size_bytes"],
                "seed": wanted.seed,
                "other": wanted.task.other,
                "quick": options["quick"],
                "budget_s": options["budget_s"],
            },
            test=test,
            test_sample=test_sample,
            as_json=options["as_json"],
            teacher=msgspec.to_builtins(summary),
            task=wanted.task.words,
            licence=options["licence"],
            more_notes=_notes(summary),
        )


def _wanted(words: str, ref: str, out: Path, options: dict[str, Any]) -> Wanted:
    if not words.strip():
        raise click.UsageError("TASK is empty: say in a sentence what is to be told apart")
    examples = options["seed_examples"]
    task = Task(
        words=words.strip(),
        labels=_listed(options["labels"]),
        multi=options["multi"],
        other=options["other"],
        languages=_listed(options["languages"]),
        examples=tuple(_texts(examples, MAX_EXAMPLES)) if examples else (),
    )
    if len(task.labels) == 1 and not (task.multi or task.other):
        raise click.UsageError("--labels names one class: name two, or add --other")
    share = BATCH_SHARE if options["batch"] else 1.0
    return Wanted(
        task=task,
        ref=ref,
        out=out,
        rows=options["rows"],
        seed=options["seed"],
        parallel=options["parallel"],
        limits=Limits(max_usd=options["max_usd"], max_calls=options["max_calls"], share=share),
        batch=options["batch"],
        plan_only=options["plan_only"],
        sure=options["sure"],
    )


def _listed(value: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.strip() for each in (value or "").split(",") if each.strip()))


def _texts(path: Path, most: int) -> Iterator[str]:
    for number, text in enumerate(read_texts(path)):
        if number >= most:
            return
        if text.strip():
            yield text


async def _teach(
    wanted: Wanted,
    config: Config,
    ledger: Ledger,
    own: list[str],
    known: list[tuple[str, str]],
) -> Plan | tuple[Outcome, Summary]:
    door = Door(config)
    meant = door.resolver.resolve(wanted.ref)
    async with aclosing(door), AsyncClient(config) as client:
        teacher = ClientTeacher(client, config, meant)
        check_price(wanted.ref, wanted.limits, teacher.price, sure=wanted.sure)
        budget = Budget(wanted.limits, teacher.price, ledger.spent_usd, ledger.calls)
        with _bar() as show:
            asker = _asker(wanted, teacher, ledger, budget, door, meant)
            notes: list[str] = []
            plan = await _plan(wanted, asker, notes)
            if wanted.plan_only:
                return plan
            rows = wanted.rows or min(max(ROWS_PER_CLASS * len(plan.classes), MIN_ROWS), MAX_ROWS)
            _confirm(wanted, teacher, rows, own)
            settings = Settings(
                task=wanted.task,
                rows=rows,
                seed=wanted.seed,
                rows_per_question=SMALL_ROWS if teacher.small else ROWS,
                questions_per_round=BATCH_QUESTIONS if wanted.batch else 24,
                logprobs=teacher.logprobs and not wanted.batch,
            )
            run = Run(settings, plan, asker, ledger, quick_student, known=known, progress=show)
            outcome = await run.gather(own)
        summary = summary_of(
            outcome,
            ledger,
            teacher=wanted.ref,
            seed=wanted.seed,
            price_known=teacher.price is not None,
            notes=notes,
        )
    return outcome, summary


def _confirm(wanted: Wanted, teacher: Teacher, rows: int, own: list[str]) -> None:
    if teacher.price is None or wanted.sure or wanted.limits.max_usd is not None:
        return
    about = expected_usd(teacher.price, rows, own=bool(own), share=wanted.limits.share)
    if about > 0 and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"{rows:,} rows will cost about ${about:.2f}. Go on?", abort=True, err=True)


def _asker(
    wanted: Wanted,
    teacher: ClientTeacher,
    ledger: Ledger,
    budget: Budget,
    door: Door,
    meant: RefPlan,
) -> Asker:
    if not wanted.batch:
        return Caller(teacher, ledger, budget, seed=wanted.seed, parallel=wanted.parallel)
    if meant.route is not None or meant.candidates[0].local:
        raise RequestError("--batch needs one provider's model: give provider:model as the teacher")
    candidate = meant.candidates[0]
    binding = door.dispatcher.binding(candidate.provider)
    host = batch_host(
        binding,
        get_dialect(binding.dialect),
        candidate.model,
        door.dispatcher.fetch,
        lambda completion: as_answer(completion, candidate.card),
    )
    return BatchCaller(teacher, host, ledger, budget, seed=wanted.seed)


async def _plan(wanted: Wanted, asker: Asker, notes: list[str]) -> Plan:
    """The plan in the folder, or a new one, which is put there."""
    path = wanted.out / "plan.json"
    if path.exists():
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DistillError(f"{path} cannot be read: {error}") from error
        plan, faults = read_plan(text, wanted.task)
        if plan is None or faults:
            raise DistillError(
                f"{path} cannot be used: {'; '.join(faults)}; put it right, or delete it to have a"
                " new one made"
            )
        return plan
    plan = await make_plan(wanted.task, asker, notes)
    fields = msgspec.to_builtins(plan)
    body = msgspec.json.encode({"task": wanted.task.words, **fields})
    write_file(path, msgspec.json.format(body, indent=2) + b"\n")
    return plan


def _write(out: Path, outcome: Outcome, summary: Summary) -> None:
    write_file(out / "data.jsonl", json_lines(outcome.kept))
    write_file(out / "rejected.jsonl", json_lines(outcome.rejected))
    write_file(out / "teacher.json", msgspec.json.format(msgspec.json.encode(summary)) + b"\n")


def _notes(summary: Summary) -> list[str]:
    cost = f"${summary.cost_usd:.4f}" if summary.price_known else "a cost that is not known"
    reasons = ", ".join(f"{count} {reason}" for reason, count in summary.reasons.items())
    return [
        f"{summary.teacher}: {summary.calls} answers for {cost}; {summary.rows} rows kept,"
        f" {summary.rejected} turned away ({reasons or 'none'}); it ended because: {summary.ended}",
        *summary.notes,
    ]


def _say_plan(plan: Plan, out: Path, as_json: bool) -> None:
    if as_json:
        echo_json({"plan": plan, "path": str(out / "plan.json")})
        return
    for each in plan.classes:
        click.echo(f"{each.name}: {each.definition}")
    click.echo(
        f"\nLook at {out / 'plan.json'}, edit it if need be, and run again without --plan-only."
    )


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows how far a run is; silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    with click.progressbar(length=1, file=sys.stderr, show_eta=False) as bar:

        def show(step: Progress) -> None:
            whole = "" if step.estimate_usd is None else f" of about ${step.estimate_usd:.2f}"
            bar.label = (
                f"{step.stage} {step.rows}/{step.rows_wanted} rows, ${step.cost_usd:.2f}{whole}"
            )
            bar.length = max(step.rows_wanted, step.rows, 1)
            bar.update(step.rows - bar.pos)

        yield show
