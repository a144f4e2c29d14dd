"""Recorded traffic through a route's policy: what would have gone where, at what cost, how well.

The policy is the generator that the gateway drives; only who answers is not asked. A part of the traffic
is replayed by a pure function of it, in this process or in a pool, and the parts' sums are merged. A
conversation stays in one part and goes in its order, so that what keeps it with its model counts as well.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import msgspec
from msgspec import Struct, field

from pointsman.calibration import Bench
from pointsman.config import Config
from pointsman.dialects import get_client_dialect
from pointsman.distill.engines import Engine
from pointsman.errors import PointsmanError, RequestError, RouteError
from pointsman.outcomes import Outcomes
from pointsman.resolve import Plan
from pointsman.router.conversation import Conversation
from pointsman.router.decision import Decision, View
from pointsman.router.dial import Gauge
from pointsman.router.facts import Facts, facts_of
from pointsman.router.online import Learner, LearnerState
from pointsman.router.outcomes import Outcome
from pointsman.router.outlook import outlook
from pointsman.router.policy import classifier, order
from pointsman.router.prognosis import Level, Prognosis, prognosis_of, settle
from pointsman.router.ranking import Situation
from pointsman.router.steps import Classify, Done
from pointsman.router.trajectory import trajectory_of
from pointsman.routing import NOBODY, Routing
from pointsman.types import Chat, Message, PromptReading, Text, Usage

__all__ = [
    "Record",
    "Replayed",
    "Tally",
    "Work",
    "by_ref",
    "read_traffic",
    "replay",
    "replay_part",
    "stored",
]

MAX_LINE_BYTES = 16 * 1024 * 1024
# Conversations are kept together, so the requests are in memory at once: a file has no more than this.
MAX_TRAFFIC_BYTES = 1024 * 1024 * 1024
PART_RECORDS = 250
# What an answer is taken to have where there is no router to tell.
USUAL_ANSWER_TOKENS = 300
# Conversations that a part remembers at a time.
MAX_TALKS = 16_384
Z95 = 1.96


class Scored(Struct, frozen=True):
    """What a recorded model got on a request: `s` of at most `scale`."""

    s: float
    scale: float = 1.0


class Record(Struct, kw_only=True):
    """One recorded request: the chat itself, or a stored outcome's numbers.

    `scores` are by ref, 0 to 1, where they are known.
    """

    chat: Chat | None = None
    outcome: Outcome | None = None
    scores: dict[str, float] = field(default_factory=dict)
    conversation: str | None = None
    at_s: float = 0.0

    def unit(self, number: int) -> str:
        """Give what belongs together: its conversation, else itself."""
        return self.conversation or f"\n{number}"


class Work(Struct, frozen=True, kw_only=True):
    """What is the same for all parts.

    `dials` None is the setting that was recorded, else the route's own; `learner` is its state; `size`
    says how dear the requests are beside those that the dial was calibrated on.
    """

    plan: Plan
    dials: tuple[float | None, ...]
    learner: bytes | None = None
    size: float = 1.0


class Tally(Struct):
    """Sums over requests at one setting of the dial, to be merged by adding.

    `sure` is the sum of squares of p; `spread` by ref what its ability's sd moves the sum by.
    """

    requests: int = 0
    failed: int = 0
    p: float = 0.0
    sure: float = 0.0
    weighed: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    known: int = 0
    same: int = 0
    recorded: int = 0
    score: float = 0.0
    score2: float = 0.0
    refs: dict[str, int] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Add another part's sums."""
        for name in self.__struct_fields__:
            own, more = getattr(self, name), getattr(other, name)
            if isinstance(own, dict):
                for key, value in more.items():
                    own[key] = own.get(key, 0) + value
            else:
                setattr(self, name, own + more)


class Replayed(Struct, frozen=True):
    """What a setting of the dial would have done.

    `quality` is the mean probability of a good answer, with a 95 % interval for both which requests
    came and what is not known of the candidates' abilities; `recorded_quality` the mean score of those
    `recorded` requests of which the chosen candidate's is known. `same` is the share that went where
    they really went, None where that is not known. `cost_usd` leaves out the `unpriced` requests.
    """

    dial: float | None
    requests: int
    failed: int
    cost_usd: float
    unpriced: int
    quality: float | None
    quality_95: tuple[float, float] | None
    recorded: int
    recorded_quality: float | None
    recorded_quality_95: tuple[float, float] | None
    same: float | None
    refs: dict[str, int]
    reasons: dict[str, int]


def read_traffic(path: Path) -> Iterator[Record]:
    """Yield the requests of a file, JSON lines, gzipped or not.

    A line has `messages` (and what else a chat request has) or `prompt`; `models` has each model's
    score as in a file of outcomes, its keys being refs; `conversation` and `at_s` are optional.

    Raises:
        RequestError: a line is none of that; says which. Or there is more than a gibibyte of them.
    """
    dialect = get_client_dialect("openai")
    with path.open("rb") as raw, _lines(raw, path) as lines:
        number = size = 0
        while line := lines.readline(MAX_LINE_BYTES):
            number += 1
            size += len(line)
            if size > MAX_TRAFFIC_BYTES:
                raise RequestError(f"{path} has over {MAX_TRAFFIC_BYTES} bytes: take a part of it")
            if not line.strip():
                continue
            try:
                row = msgspec.json.decode(line, type=dict[str, Any])
                scores = msgspec.convert(row.pop("models", {}), dict[str, Scored])
                at_s = msgspec.convert(row.pop("at_s", 0.0), float)
                talk = msgspec.convert(row.pop("conversation", None), str | None)
                if "messages" in row:
                    chat = dialect.read_chat({"model": "auto", **row})
                else:
                    prompt = msgspec.convert(row.get("prompt"), str)
                    chat = Chat(model="auto", messages=(Message("user", (Text(prompt),)),))
            except (msgspec.MsgspecError, RecursionError, PointsmanError) as error:
                raise RequestError(f"{path}, line {number}: {error}") from error
            yield Record(
                chat=chat,
                scores={ref: each.s / (each.scale or 1.0) for ref, each in scores.items()},
                conversation=talk,
                at_s=at_s,
            )


def _lines(raw: IO[bytes], path: Path) -> IO[bytes]:
    return gzip.open(raw) if path.suffix == ".gz" else raw  # type: ignore[return-value]


def stored(rows: Iterable[tuple[Outcome, float | None]]) -> Iterator[Record]:
    """Yield recorded outcomes as requests, each with its reward as the score of who answered."""
    for outcome, reward in rows:
        scores = {outcome.ref: reward} if reward is not None and outcome.ref else {}
        yield Record(
            outcome=outcome, scores=scores, conversation=outcome.conversation, at_s=outcome.at_s
        )


def by_ref(record: Record, plan: Plan) -> Record:
    """Give the record with its scores under the route's refs, also where they are under a model's name."""
    names: dict[str, str] = {}
    for each in plan.candidates:
        names |= {each.model: each.card.ref, each.ref: each.card.ref}
    names |= {each.card.ref: each.card.ref for each in plan.candidates}
    scores = {names[name]: score for name, score in record.scores.items() if name in names}
    return msgspec.structs.replace(record, scores=scores)


def replay(
    records: Sequence[Record],
    work: Work,
    engine: Engine,
    show: Callable[[int, int | None], None] = lambda done, total: None,
) -> list[Replayed]:
    """Replay requests on an engine, conversations whole, and give what each dial would have done.

    `show` is told how many parts are done, and of how many.
    """
    # By the records alone, so that the sums are the same to the last digit wherever it runs.
    count = max(1, len(records) // PART_RECORDS)
    work = msgspec.structs.replace(work, size=_size(records, work.plan))
    parts: list[list[Record]] = [[] for _ in range(count)]
    for number, each in enumerate(records):
        record = by_ref(each, work.plan)
        parts[crc32(record.unit(number).encode("utf-8", "replace")) % count].append(record)
    tallies = [Tally() for _ in work.dials]
    with engine:
        waiting = {number for number, part in enumerate(parts) if part}
        for number in waiting:
            engine.submit(number, partial(replay_part, parts[number], work))
        found = {}
        for done in range(1, len(waiting) + 1):
            number, part_tallies = engine.wait()
            found[number] = part_tallies
            show(done, len(waiting))
    for number in sorted(found):
        for tally, part_tally in zip(tallies, found[number], strict=True):
            tally.add(part_tally)
    return [_told(dial, tally) for dial, tally in zip(work.dials, tallies, strict=True)]


def _size(records: Sequence[Record], plan: Plan) -> float:
    bench = Routing(Config(), Outcomes(None)).bench(plan)
    gauge = Gauge()
    for record in records:
        ratio = bench.ratio(_facts(record)[0])
        if ratio is not None:
            gauge.note(ratio)
    return gauge.factor


def _weight(
    record: Record, bench: Bench, plan: Plan, dial: float | None, size: float
) -> tuple[float, float | None]:
    """The dial and what a dollar weighs by it; as it was recorded where no other one is asked for."""
    kept = record.outcome
    if dial is None and kept is not None and kept.dial is not None:
        weight = bench.weight(kept.dial) if kept.per_usd is None else kept.per_usd
        return kept.dial, weight
    at = plan.dial if dial is None else dial
    found = bench.weight(at)
    return at, None if found is None else found / size


def replay_part(records: Sequence[Record], work: Work) -> list[Tally]:
    """Replay some requests in their order; a tally for each dial."""
    routing = Routing(Config(), Outcomes(None))
    learner = None
    if work.learner is not None:
        learner = Learner(msgspec.json.decode(work.learner, type=LearnerState))
    tallies = []
    for dial in work.dials:
        tally = Tally()
        talks: dict[str, Conversation] = {}
        for record in records:
            talk = None
            if record.conversation is not None:
                talk = talks.pop(record.conversation, None) or Conversation()
                talks[record.conversation] = talk
                if len(talks) > MAX_TALKS:
                    del talks[next(iter(talks))]
            _replay_one(routing, learner, record, work, dial, talk, tally)
        tallies.append(tally)
    return tallies


def _replay_one(
    routing: Routing,
    learner: Learner | None,
    record: Record,
    work: Work,
    dial: float | None,
    talk: Conversation | None,
    tally: Tally,
) -> None:
    tally.requests += 1
    plan = work.plan
    situation = _situation(routing, learner, record, work, dial, talk)
    policy = order(situation) if plan.policy == "order" else classifier(situation)
    bench = routing.bench(plan)
    try:
        step = next(policy)
        while isinstance(step, Classify):
            step = policy.send(_reading(record, bench.classifier, step.text))
        raise AssertionError("a deciding policy asks nobody")
    except StopIteration as end:
        done: Done = end.value
    except RouteError:
        tally.failed += 1
        return
    _count(record, done, _promise(bench, record, situation, done), tally)
    if talk is not None:
        kept = record.outcome
        tokens = kept.input_tokens if kept is not None else None
        ended_s = record.at_s + ((kept.latency_s or 0.0) if kept is not None else 0.0)
        talk.answered(done.choice, tokens or situation.facts.prompt_tokens, ended_s)


def _reading(record: Record, router: Any, text: str) -> PromptReading | None:
    """The recorded reading, or the router's of a text that is at hand."""
    outcome = record.outcome
    if outcome is None:
        return None if router is None else router.read(text)
    kept = outcome.reading
    if not kept:
        return None
    return PromptReading(
        outcome.loadings,
        kept.get("difficulty", 0.0),
        kept.get("answer_tokens", 300.0),
        kept.get("rank", 0.5),
        kept.get("familiar", 1.0),
    )


def _situation(
    routing: Routing,
    learner: Learner | None,
    record: Record,
    work: Work,
    dial: float | None,
    talk: Conversation | None,
) -> Situation:
    plan = work.plan
    bench = routing.bench(plan)
    facts, prognosis = _facts(record)
    at, per_usd = _weight(record, bench, plan, dial, work.size)
    level = None
    if prognosis is not None:
        before = talk.level if talk is not None else Level()
        level = settle(before, prognosis)
        if talk is not None:
            talk.level = level
    sticky = talk is not None and plan.spec.sticky
    return Situation(
        facts=facts,
        cards=bench.cards,
        chat=record.chat,
        route=plan.route or "",
        abilities=bench.abilities,
        limits=routing.limits(plan, facts, NOBODY, record.at_s),
        dial=at,
        per_usd=per_usd,
        level=level,
        trouble=prognosis.reasons if prognosis is not None else (),
        offset=learner.offset if learner is not None and learner.state.arms else None,
        current=talk.ref if talk is not None and sticky else None,
        warm=talk.warm_tokens(record.at_s) if talk is not None else {},
    )


def _facts(record: Record) -> tuple[Facts, Prognosis | None]:
    outcome = record.outcome
    if outcome is None:
        chat = record.chat or Chat(model="auto", messages=())
        run = trajectory_of(chat) if len(chat.messages) > 1 else None
        return facts_of(chat), None if run is None else prognosis_of(run)
    kept = outcome.facts
    facts = Facts(
        "",
        round(kept.get("prompt_tokens", 0)),
        round(kept.get("answer_tokens", 0)),
        bool(kept.get("vision")),
        bool(kept.get("tools")),
        bool(kept.get("json_schema")),
    )
    told = outcome.run
    if not told:
        return facts, None
    return facts, Prognosis(told.get("p_fail", 0.5), told.get("excess", 0.0), told.get("sd", 0.3))


class _Promise(Struct, frozen=True):
    p: float | None
    sd: float
    cost_usd: float | None


def _promise(bench: Bench, record: Record, situation: Situation, done: Done) -> _Promise:
    """What the chosen candidate promises, also where the policy did not need to know that."""
    view = _view(done.decision, done.choice)
    if view is not None:
        return _Promise(view.p_success, view.sd, view.cost_usd if view.priced else None)
    card = next(card for card in bench.cards if card.ref == done.choice)
    facts = situation.facts
    reading = _reading(record, bench.classifier, facts.text)
    if reading is None:
        usage = Usage(facts.prompt_tokens, USUAL_ANSWER_TOKENS)
        return _Promise(None, 0.0, 0.0 if card.local else card.cost_usd(usage))
    each = outlook(reading, bench.abilities[card.ref], card, facts)
    return _Promise(each.p_success, each.sd, each.cost_usd)


def _count(record: Record, done: Done, promise: _Promise, tally: Tally) -> None:
    ref = done.choice
    tally.refs[ref] = tally.refs.get(ref, 0) + 1
    if done.reasons:
        why = done.reasons[0]
        tally.reasons[why] = tally.reasons.get(why, 0) + 1
    if promise.p is not None:
        tally.weighed += 1
        tally.p += promise.p
        tally.sure += promise.p**2
        moved = promise.p * (1.0 - promise.p) * promise.sd
        tally.spread[ref] = tally.spread.get(ref, 0.0) + moved
    if promise.cost_usd is None:
        tally.unpriced += 1
    else:
        tally.cost_usd += promise.cost_usd
    if record.outcome is not None:
        tally.known += 1
        tally.same += record.outcome.ref == ref
    score = record.scores.get(ref)
    if score is not None:
        tally.recorded += 1
        tally.score += score
        tally.score2 += score * score


def _view(decision: Decision | None, ref: str) -> View | None:
    views = decision.views if decision is not None else ()
    return next((view for view in views if view.ref == ref), None)


def _told(dial: float | None, tally: Tally) -> Replayed:
    n = tally.weighed
    quality = quality_95 = None
    if n:
        quality = tally.p / n
        drawn = max(tally.sure / n - quality**2, 0.0) / n
        unsure = sum((each / n) ** 2 for each in tally.spread.values())
        quality_95 = _interval(quality, math.sqrt(drawn + unsure))
    k = tally.recorded
    mean = tally.score / k if k else None
    mean_95 = None
    if mean is not None and k > 1:
        mean_95 = _interval(mean, math.sqrt(max(tally.score2 / k - mean**2, 0.0) / (k - 1)))
    return Replayed(
        dial=dial,
        requests=tally.requests,
        failed=tally.failed,
        cost_usd=round(tally.cost_usd, 9),
        unpriced=tally.unpriced,
        quality=None if quality is None else round(quality, 4),
        quality_95=quality_95,
        recorded=k,
        recorded_quality=None if mean is None else round(mean, 4),
        recorded_quality_95=mean_95,
        same=round(tally.same / tally.known, 4) if tally.known else None,
        refs=dict(sorted(tally.refs.items(), key=lambda each: -each[1])),
        reasons=dict(sorted(tally.reasons.items(), key=lambda each: -each[1])),
    )


def _interval(mean: float, error: float) -> tuple[float, float]:
    return round(max(mean - Z95 * error, 0.0), 4), round(min(mean + Z95 * error, 1.0), 4)
