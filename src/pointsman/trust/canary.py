"""When a remote model is probed again, what is kept of each probe, and what names its version. Pure.

A fine-tune at a provider can be exchanged behind its name, so one check is not enough. A probe costs money,
so it is small, and so many in 24 hours are the most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from pointsman._sse import EventTooLarge, Parser
from pointsman.trust.canary_record import CanaryRecord, Reason
from pointsman.trust.probe.measure import Probes
from pointsman.trust.probe.run import ProbeReport
from pointsman.trust.probe.search import Settings

__all__ = [
    "Limits", "begun", "due", "finished", "next_s", "probes_of", "settings_of", "stopped",
    "versions_in",
]  # fmt: skip

DAY_S = 86_400.0
# What could not be checked is tried again sooner.
RETRY_S = 3600.0
# Who began a probe and was killed does not hold the others up for longer than this beyond its time.
GRACE_S = 60.0
MAX_VERSIONS = 64
MAX_VERSION_CHARS = 200
# What a probe of the full width would ask too often: docs/trust-guard.md has what this one asks.
FRESH_PROMPTS = 16
SEARCH_PROMPTS = 6


class Limits(Struct, frozen=True):
    """How often a model is probed: seconds from one to the next, probes in 24 hours, seconds of one."""

    every_s: float
    max_per_day: int
    max_seconds: float


def due(
    record: CanaryRecord | None, ref: str, limits: Limits, new: Iterable[str], now_s: float
) -> Reason | None:
    """Say why a model is to be probed now, None if it is not. `new` are versions that were seen."""
    if record is None or record.ref != ref:
        return "first"
    if record.running_s is not None and now_s < record.running_s + limits.max_seconds + GRACE_S:
        return None
    if len(_recent(record, now_s)) >= limits.max_per_day:
        return None
    if record.at_s is None:
        return "first"
    if set(new) - set(record.versions):
        return "version"
    return "schedule" if now_s >= record.at_s + _pause_s(record, limits) else None


def next_s(record: CanaryRecord | None, limits: Limits, now_s: float) -> float:
    """Give the Unix time of the next probe if its version stays; now, if there was none yet."""
    if record is None or record.at_s is None:
        return now_s
    when = record.at_s + _pause_s(record, limits)
    recent = _recent(record, now_s)
    if len(recent) >= limits.max_per_day:
        when = max(when, recent[-limits.max_per_day] + DAY_S)
    return max(when, now_s)


def begun(record: CanaryRecord | None, ref: str, now_s: float) -> CanaryRecord:
    """Give the record as it is while a probe runs."""
    if record is None or record.ref != ref:
        record = CanaryRecord(ref=ref)
    return msgspec.structs.replace(
        record, running_s=now_s, began_s=(*_recent(record, now_s), now_s)
    )


def finished(
    record: CanaryRecord,
    report: ProbeReport | str,
    reason: Reason,
    *,
    versions: Sequence[str],
    cost_usd: float | None,
    at: str,
    now_s: float,
) -> CanaryRecord:
    """Give the record after a probe, or after one that could not be made, for the reason given."""
    known = tuple(dict.fromkeys((*record.versions, *versions)))[-MAX_VERSIONS:]
    common = msgspec.structs.replace(
        record,
        reason=reason,
        at=at,
        at_s=now_s,
        cost_usd=cost_usd,
        versions=known,
        runs=record.runs + 1,
        running_s=None,
    )
    if isinstance(report, str):
        return msgspec.structs.replace(
            common, verdict="could-not-check", score=0.0, incomplete=(report,), triggers=(),
            calls=0, seconds=0.0,
        )  # fmt: skip
    return msgspec.structs.replace(
        common,
        verdict=report.verdict,
        score=report.score,
        triggers=tuple(each.text for each in report.triggers),
        calls=report.calls,
        seconds=report.seconds,
        incomplete=report.incomplete,
    )


def stopped(record: CanaryRecord) -> CanaryRecord:
    """Give the record after a probe that was broken off: it is due again, and counts for its day."""
    return msgspec.structs.replace(record, running_s=None)


def settings_of(seed: int) -> Settings:
    """The settings of a small probe: known forms, at all places at once, and no phrases grown."""
    return Settings(
        seed=seed,
        search_prompts=SEARCH_PROMPTS,
        sweep_prompts=2,
        places=("all",),
        base_look=24,
        second_look=8,
        trimmed=3,
        max_words=1,
        confirmed=2,
    )


def probes_of(every: Probes, seed: int) -> Probes:
    """Give as many of the prompts as a small probe asks with; others each time."""
    return every.split(SEARCH_PROMPTS + FRESH_PROMPTS, seed)[0]


class _Inner(Struct):
    model: str | None = None


class _Answer(Struct):
    """Where the formats say what answered: OpenAI's, Anthropic's and Gemini's, whole or as an event."""

    model: str | None = None
    system_fingerprint: str | None = None
    modelVersion: str | None = None
    message: _Inner | None = None
    response: _Inner | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def versions_in(data: bytes) -> tuple[str, ...]:
    """Give what an answer, or the first part of a stream, says of the version of its model.

    Source: OpenAI's chat completions (`model`, `system_fingerprint`), Anthropic's messages (`model`,
    `message_start`), Gemini's generateContent (`modelVersion`), read 2026-11.
    """
    if data.lstrip()[:1] == b"{":
        return _of_answer(data)
    try:
        for event in Parser().feed(data):
            if found := _of_answer(event.data):
                return found
    except EventTooLarge:
        return ()
    return ()


def _of_answer(data: bytes | str) -> tuple[str, ...]:
    try:
        said = _ANSWER.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return ()
    inner = said.message or said.response
    model = said.model or said.modelVersion or (inner.model if inner else None)
    found = [f"model {model}"] if model else []
    if said.system_fingerprint:
        found.append(f"fingerprint {said.system_fingerprint}")
    return tuple(ascii(each)[1:-1][:MAX_VERSION_CHARS] for each in found)


def _recent(record: CanaryRecord, now_s: float) -> tuple[float, ...]:
    return tuple(each for each in record.began_s if now_s - DAY_S < each <= now_s)


def _pause_s(record: CanaryRecord, limits: Limits) -> float:
    retried = record.verdict == "could-not-check"
    return min(limits.every_s, RETRY_S) if retried else limits.every_s
