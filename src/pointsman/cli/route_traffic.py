"""`pointsman route replay|calibrate`: a route over recorded traffic."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import click
import msgspec

from pointsman.cli.output import config_option, echo_json, json_option, progress_bar, table
from pointsman.config import Config, load_config
from pointsman.curves import report_of
from pointsman.distill.engines import Engine, Here, Pool
from pointsman.door import Door
from pointsman.errors import RequestError
from pointsman.outcome_store import Store, read_learner, read_outcomes
from pointsman.outcomes import reward_said
from pointsman.relearn import Relearned, merged, relearn, told_by_file, told_by_store
from pointsman.replay import Record, Replayed, Work, read_traffic, replay, stored
from pointsman.router.online import LearnerState
from pointsman.router.outcomes import Feedback, Outcome

__all__ = ["calibrate_command", "replay_command"]

DIALS = "0,0.25,0.5,0.75,1"
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
DAY_S = 86_400.0
MAX_LEARNER_BYTES = 64 * 1024 * 1024
# Below this a pool costs more than it saves.
POOL_FROM = 2000

_file = click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
_route = click.option("-m", "--model", "ref", default="auto", show_default=True, help="The route.")
_days = click.option(
    "--days",
    type=click.FloatRange(0, min_open=True),
    help="Only the last so many days of the store.",
)


@click.command("replay")
@_file
@_route
@_days
@click.option(
    "--dials", default=DIALS, show_default=True, help="Settings of the dial, 0 to 1, with commas."
)
@click.option(
    "--learner",
    "learner_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A learner written by `route calibrate --out`; the default is the store's.",
)
@click.option("--no-learner", is_flag=True, help="Without what outcomes have taught.")
@click.option(
    "--processes", type=click.IntRange(1, 256), help="Processes; the default is one a core."
)
@config_option
@json_option
def replay_command(
    file: Path | None,
    ref: str,
    days: float | None,
    dials: str,
    learner_path: Path | None,
    no_learner: bool,
    processes: int | None,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Say where recorded requests would have gone, at what cost, and how well.

    FILE has a request a line (JSON: `messages` or `prompt`, and in `models` each ref's score, where
    known); without it, the requests are those that the gateway has recorded. Nothing is sent.
    """
    config = load_config(config_path)
    plan = Door(config).resolver.resolve(ref)
    if plan.route is None:
        raise RequestError(f"'{ref}' is no route: it has nothing to choose", param="model")
    if file is not None:
        records: list[Record] = list(read_traffic(file))
    else:
        rows = _rows(config, plan.route, days)
        records = list(stored((outcome, reward_said(said)) for outcome, said in rows))
    if not records:
        raise RequestError(f"there is no recorded request: {_whence(config, file)}")
    learner = None if no_learner else _learner(config, learner_path)
    work = Work(plan=plan, dials=_dials(dials), learner=learner)
    with progress_bar("replaying") as show:
        found = replay(records, work, _engine(len(records), processes), show)
    if as_json:
        echo_json({"route": plan.route, "policy": plan.policy, "dials": found})
        return
    click.echo(_replayed(found))
    if plan.policy in ("cascade", "consistency", "judge"):
        click.echo(f"policy={plan.policy}: what is decided before anything is asked", err=True)


@click.command("calibrate")
@_file
@_route
@_days
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the learner to this file instead of the store.",
)
@config_option
@json_option
def calibrate_command(
    file: Path | None,
    ref: str,
    days: float | None,
    out: Path | None,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Learn from recorded outcomes how well each candidate does here, and keep that.

    FILE has a request a line, with each ref's score in `models`; without it, the outcomes are those
    that the gateway has recorded, with the feedback on them.
    """
    config = load_config(config_path)
    door = Door(config)
    plan = door.resolver.resolve(ref)
    if plan.route is None:
        raise RequestError(f"'{ref}' is no route: it has nothing to choose", param="model")
    if file is not None:
        told = told_by_file(read_traffic(file), plan, config)
    else:
        told = told_by_store(_rows(config, plan.route, days))
    learner, report = relearn(plan.route, told)
    if not report.rewards:
        raise RequestError(
            f"of {report.outcomes} requests nobody said how well they went: {_whence(config, file)}"
        )
    where = _keep(config, plan.route, learner.state, out)
    # Where the dial stands on this very traffic, by what was promised in it.
    bench = door.routing.bench(plan)
    curve = report_of(plan, bench, [(each.outcome, None) for each in told], plan.dial, LEVELS)
    if as_json:
        more = {"written": str(where), "dial": curve.week.levels, "weighed": curve.week.weighed}
        echo_json(msgspec.to_builtins(report) | more)
        return
    click.echo(_relearned(report))
    for level in curve.week.levels:
        click.echo(f"dial {level.dial:g}: quality {level.quality:.3f}, {level.cost_usd:.4f} USD")
    click.echo(f"written to {where}")


def _rows(
    config: Config, route: str, days: float | None
) -> list[tuple[Outcome, tuple[Feedback, ...]]]:
    since_s = 0.0 if days is None else time.time() - days * DAY_S
    try:
        return list(read_outcomes(_store_path(config), route=route, since_s=since_s))
    except (OSError, sqlite3.Error) as error:
        raise RequestError(f"{_store_path(config)} cannot be read: {error}") from error


def _store_path(config: Config) -> Path:
    return Path(config.home) / "outcomes.sqlite"


def _whence(config: Config, file: Path | None) -> str:
    if file is not None:
        return f"{file} has none of them"
    return f"the gateway keeps outcomes in {_store_path(config)}, or give a FILE"


def _learner(config: Config, path: Path | None) -> bytes | None:
    try:
        if path is not None:
            if path.stat().st_size > MAX_LEARNER_BYTES:
                raise RequestError(f"{path} is over {MAX_LEARNER_BYTES} bytes")
            state: LearnerState | None = msgspec.json.decode(path.read_bytes(), type=LearnerState)
        else:
            state = read_learner(_store_path(config))[0]
    except (OSError, sqlite3.Error, msgspec.MsgspecError) as error:
        raise RequestError(f"the learner cannot be read: {error}; try --no-learner") from error
    return None if state is None else msgspec.json.encode(state)


def _keep(config: Config, route: str, state: LearnerState, out: Path | None) -> Path:
    if out is not None:
        out.write_bytes(msgspec.json.encode(state))
        return out
    path = _store_path(config)
    try:
        old = read_learner(path)[0]
    except (OSError, sqlite3.Error, msgspec.MsgspecError):
        old = None  # What cannot be read is written anew.
    store = Store(path)
    store.keep(msgspec.json.encode(merged(route, old, state)))
    written = store.flush()
    store.close()
    if not written:
        raise RequestError(f"{path} could not be written; give --out FILE")
    return path


def _dials(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(each) for each in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0.0 <= each <= 1.0 for each in found):
        raise click.BadParameter("numbers from 0 to 1 with commas between", param_hint="--dials")
    return found


def _engine(count: int, processes: int | None) -> Engine:
    slots = processes or os.cpu_count() or 1
    return Here() if slots == 1 or (processes is None and count < POOL_FROM) else Pool(slots)


def _replayed(found: list[Replayed]) -> str:
    rows = []
    for each in found:
        refs = ", ".join(f"{ref} {count}" for ref, count in list(each.refs.items())[:4])
        rows.append(
            [
                "route's" if each.dial is None else f"{each.dial:g}",
                f"{each.cost_usd:.4f}",
                _quality(each.quality, each.quality_95),
                f"{_quality(each.recorded_quality, each.recorded_quality_95)} of {each.recorded}",
                str(each.failed),
                refs,
            ]
        )
    heads = ["dial", "USD", "expected quality", "recorded quality", "unserved", "who answers"]
    return table(rows, heads)


def _quality(mean: float | None, interval: tuple[float, float] | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.3f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")


def _relearned(report: Relearned) -> str:
    rows = [
        [
            each.ref,
            str(each.outcomes),
            f"{each.reward:.3f}",
            f"{each.p_prompt:.3f}",
            f"{each.p_learned:.3f}",
            f"{each.offset:+.2f}",
            str(each.changes),
        ]
        for each in report.candidates
    ]
    heads = ["candidate", "outcomes", "reward", "p before", "p learned", "offset", "changes"]
    return (
        f"{table(rows, heads)}\n"
        f"log loss {report.loss_prompt} before, {report.loss_learned} learned; calibration error"
        f" {report.error_prompt} before, {report.error_learned} learned"
    )
