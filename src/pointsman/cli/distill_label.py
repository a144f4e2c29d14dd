"""`pointsman distill label`: a teacher labels the texts of a file, on one machine or on many."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TextIO

import click
import msgspec
from msgspec import Struct

from pointsman.cli.distill_teacher import ClientTeacher, check_price, prepared
from pointsman.cli.output import config_option, echo_json, json_option, progress_bar, table
from pointsman.client import AsyncClient
from pointsman.config import Config, load_config
from pointsman.distill.engines import Engine, Here, Pool
from pointsman.distill.engines_ray import RayCluster
from pointsman.distill.folder import make_folder
from pointsman.distill.partitions import Work, made_by, parts_of
from pointsman.distill.partitions_merge import Labelled, Totals, label_parts
from pointsman.distill.rows import read_texts
from pointsman.distill.teacher.asking import Price, Teacher
from pointsman.distill.teacher.budget import Limits
from pointsman.distill.teacher.ledger import Ledger
from pointsman.distill.teacher.plan import Plan, Task, fallback_plan, faults_of, read_plan
from pointsman.door import Door
from pointsman.errors import DistillError, ProviderError

__all__ = ["OpenTeacher", "label"]

PART_ROWS = 1000
RAY_WORKERS = 4
JOURNALS = "journals"
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


class OpenTeacher(Struct, frozen=True):
    """Opens a teacher wherever it is called; `pointsman.distill.partitions.Teachers`.

    The configuration travels without the environment that it was loaded with: keys are those of the
    environment of whoever opens it.
    """

    config: Config
    ref: str

    def __call__(self) -> AbstractAsyncContextManager[Teacher]:
        """Give the teacher as an asynchronous context manager."""
        return _opened(self.config, self.ref)


@asynccontextmanager
async def _opened(config: Config, ref: str) -> AsyncIterator[Teacher]:
    own = msgspec.structs.replace(config, secrets=dict(os.environ))
    async with AsyncClient(own) as client:
        yield ClientTeacher(client, own, Door(own).resolver.resolve(ref))


@click.command("label")
@click.argument("data", metavar="FILE", type=_file)
@click.option("--teacher", "ref", required=True, help="Ref of the model that labels.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to fill."
)
@click.option("--task", "words", help="What is to be told apart, in a sentence.")
@click.option("--labels", help="Names of the classes, with commas.")
@click.option(
    "--plan", "plan_path", type=_file, help="A plan.json with the classes and what they mean."
)
@click.option("--multi", is_flag=True, help="A text may have several labels, or none.")
@click.option("--other", is_flag=True, help="Add a class for texts that are none of the others.")
@click.option(
    "--votes",
    type=click.IntRange(1, 5),
    default=1,
    show_default=True,
    help="How many blind labels of a text have to be equal.",
)
@click.option("--max-usd", type=click.FloatRange(0, min_open=True), help="Most that may be spent.")
@click.option("--max-calls", type=click.IntRange(1), help="Most requests to the teacher.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where the work is done: on this machine, or on a Ray cluster.",
)
@click.option(
    "--ray-address",
    default="auto",
    show_default=True,
    help="Address of the cluster; 'local' starts one of this machine alone.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 10_000),
    help=f"Parts of the file at a time: 1 (in this process) unless told, with ray {RAY_WORKERS}.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 100_000),
    default=8,
    show_default=True,
    help="Requests at a time, all workers together.",
)
@click.option(
    "--part-rows",
    type=click.IntRange(1, 100_000),
    default=PART_ROWS,
    show_default=True,
    help="Texts to a part of the file.",
)
@click.option("--encoding", help="Encoding of a file that is not UTF-8 and does not say so.")
@click.option("--yes", "sure", is_flag=True, help="Go on even where the price is unknown.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed.")
@config_option
@json_option
def label(data: Path, ref: str, out: Path, as_json: bool, **options: Any) -> None:
    """Have a teacher label the texts of FILE, and write the rows to OUT/data.jsonl in its order.

    Give --labels and --task, or a --plan as `distill new --plan-only` makes one. Texts without a
    label go to OUT/unlabelled.jsonl, with the reason. Stop it at any time and run the same command
    again: it goes on, and pays no answer twice. With --engine ray, OUT has to be on a disk that all
    workers share, and each node needs this version of Pointsman and the teacher's key.
    """
    task, plan = _asked(options)
    engine = _engine(options)
    config = prepared(load_config(options["config_path"]), ref)
    limits = Limits(max_usd=options["max_usd"], max_calls=options["max_calls"])
    teachers = OpenTeacher(msgspec.structs.replace(config, secrets={}), ref)
    price = asyncio.run(_price(teachers))
    check_price(ref, limits, price, sure=options["sure"])
    make_folder(out)
    out = out.resolve()
    (out / JOURNALS).mkdir(exist_ok=True)
    work = Work(
        task=task,
        plan=plan,
        seed=options["seed"],
        votes=options["votes"],
        parallel=max(options["parallel"] // engine.slots, 1),
        folder=str(out / JOURNALS),
        made_by=made_by(),
    )
    with Ledger(out / "journal.jsonl") as ledger:
        _check_settings(ledger, ref, work, options["part_rows"])
        texts = read_texts(data, encoding=options["encoding"])
        parts = parts_of(texts, options["part_rows"])
        totals, counts = Totals(), Counter[str]()
        with progress_bar("labelling") as show, _files(out) as (labelled, unlabelled):
            rows = label_parts(
                parts,
                engine,
                work,
                teachers,
                limits=limits,
                price=price,
                totals=totals,
                progress=lambda now: show(now.rows, None),
            )
            try:
                _write(rows, labelled, unlabelled, counts, multi=task.multi)
            except ProviderError as error:
                error.message += "; what was paid is kept: run the same command again to go on"
                error.args = (error.message,)
                raise
            except KeyboardInterrupt:
                click.echo("stopped; run the same command again to go on", err=True)
                raise click.Abort from None
    _say(out, totals, counts, _notes(ref, price, totals), price is not None, as_json)


def _asked(options: Mapping[str, Any]) -> tuple[Task, Plan]:
    """The task and its classes, from a plan or from their names."""
    path, labels = options["plan_path"], options["labels"]
    if (path is None) == (labels is None):
        raise click.UsageError("give the classes: either --labels with --task, or --plan")
    flags = {"multi": options["multi"], "other": options["other"]}
    if path is None:
        names = tuple(dict.fromkeys(name.strip() for name in labels.split(",") if name.strip()))
        task = Task(words=(options["words"] or "").strip(), labels=names, **flags)
        if not task.words:
            raise click.UsageError("--labels needs --task: say in a sentence what is told apart")
        if len(names) < (1 if task.multi or task.other else 2):
            raise click.UsageError("--labels names too few classes: name two, or add --other")
        return task, fallback_plan(task, None)
    text = path.read_text("utf-8", "replace")
    task = Task(words=(options["words"] or _words_of(text)).strip(), **flags)
    plan, faults = read_plan(text, task)
    if plan is not None:
        # What its texts are about is for writing them.
        known = tuple(msgspec.structs.replace(each, situations=("-",) * 3) for each in plan.classes)
        faults = faults_of(msgspec.structs.replace(plan, classes=known), task)
    if plan is None or faults:
        raise DistillError(f"{path} cannot be used: {'; '.join(faults)}")
    if not task.words:
        raise click.UsageError(f"{path} does not say what its task is: add --task")
    return task, plan


def _words_of(text: str) -> str:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return ""  # That it is no plan is said where it is read.
    words = found.get("task") if isinstance(found, dict) else None
    return words if isinstance(words, str) else ""


def _engine(options: Mapping[str, Any]) -> Engine:
    workers = options["workers"]
    if options["engine"] == "ray":
        return RayCluster(workers or RAY_WORKERS, options["ray_address"])
    return Pool(workers) if workers and workers > 1 else Here()


async def _price(teachers: OpenTeacher) -> Price | None:
    async with teachers() as teacher:
        return teacher.price


def _check_settings(ledger: Ledger, ref: str, work: Work, part_rows: int) -> None:
    """Refuse to go on with other settings than those begun with: answers would be paid anew."""
    now: dict[str, Any] = {
        "teacher": ref,
        "task": msgspec.to_builtins(work.task),
        "plan": msgspec.to_builtins(work.plan),
        "seed": work.seed,
        "part_rows": part_rows,
        # Other prompts are other questions.
        "version of Pointsman": work.made_by,
    }
    begun = ledger.decide("label", lambda: now)
    same = msgspec.json.decode(msgspec.json.encode(now))
    changed = [name for name in now if begun.get(name) != same[name]]
    if changed:
        raise DistillError(
            f"{ledger.path.parent} was begun with another {', '.join(changed)}: use the same again, or"
            " another --out"
        )


@contextmanager
def _files(out: Path) -> Iterator[tuple[TextIO, TextIO]]:
    """The two files of the result, put in place at the end, whole."""
    names = ("data.jsonl", "unlabelled.jsonl")
    scratch = [out / f".{name}.new" for name in names]
    try:
        with (
            scratch[0].open("w", encoding="utf-8") as labelled,
            scratch[1].open("w", encoding="utf-8") as unlabelled,
        ):
            yield labelled, unlabelled
            for file in (labelled, unlabelled):
                file.flush()
                os.fsync(file.fileno())
        for path, name in zip(scratch, names, strict=True):
            path.replace(out / name)
    finally:
        for path in scratch:
            path.unlink(missing_ok=True)


def _write(
    rows: Iterator[Labelled],
    labelled: TextIO,
    unlabelled: TextIO,
    counts: Counter[str],
    *,
    multi: bool,
) -> None:
    for each in rows:
        line: dict[str, Any] = {"text": each.text}
        if each.label is None:
            line |= {"reason": each.reason, "row": each.row}
        else:
            counts.update(each.label.labels)
            names = each.label.labels
            line |= {"labels": names} if multi else {"label": names[0]}
            if each.label.soft is not None:
                line["soft"] = each.label.soft
            line["row"] = each.row
        file = unlabelled if each.label is None else labelled
        file.write(msgspec.json.encode(line).decode() + "\n")


def _notes(ref: str, price: Price | None, totals: Totals) -> list[str]:
    notes = []
    if totals.stopped:
        notes.append("the cap was reached before the end: raise it and run again to go on")
    if price is None:
        notes.append(f"the price of {ref} is not known, and so is not what this cost")
    if totals.lost_usd:
        notes.append(
            f"${totals.lost_usd:.4f} of the cost is the upper bound of requests whose answers never came"
        )
    if totals.damaged_lines:
        notes.append(
            f"{totals.damaged_lines} lines of the journals are damaged: what they held may have been"
            " paid again"
        )
    return notes


def _say(
    out: Path,
    totals: Totals,
    counts: Counter[str],
    notes: Sequence[str],
    price_known: bool,
    as_json: bool,
) -> None:
    if not totals.rows:
        raise DistillError("the file has no texts")
    value = {
        "data": str(out / "data.jsonl"),
        "rows": totals.rows,
        "labelled": totals.labelled,
        "unlabelled": totals.rows - totals.labelled,
        "reasons": dict(totals.reasons),
        "labels": dict(counts.most_common()),
        "parts": totals.parts,
        "calls": totals.calls,
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "cost_usd": round(totals.cost_usd, 6) if price_known else None,
        "stopped": totals.stopped,
        "notes": notes,
    }
    if as_json:
        echo_json(value)
        return
    click.echo(f"{value['data']}: {totals.labelled:,} of {totals.rows:,} texts are labelled\n")
    click.echo(table([[name, f"{n:,}"] for name, n in counts.most_common()], ["label", "texts"]))
    if totals.reasons:
        rows = [[name, f"{n:,}"] for name, n in totals.reasons.most_common()]
        click.echo("\n" + table(rows, ["without a label because", "texts"]))
    cost = f", ${totals.cost_usd:.4f}" if price_known else ""
    click.echo(f"\n{totals.calls:,} answers{cost}")
    for note in notes:
        click.echo(f"note: {note}", err=True)
