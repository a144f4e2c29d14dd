"""What a type cannot say of some tables of the configuration: guards, canaries, local models. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from pointsman._http.transport import Origin

if TYPE_CHECKING:
    from pointsman.config import CanaryConfig, ClassifierConfig, GuardConfig, LocalConfig

__all__ = ["check_canaries", "check_guards", "check_labels", "check_local"]

# Told where and what; it raises.
Fail: TypeAlias = Callable[[tuple[str, ...], str], None]
# Fewer calls leave no room for what follows a sweep; with a base, both models are asked.
MIN_CANARY_CALLS = 1000
MIN_CANARY_S = 60.0


def check_labels(
    path: tuple[str, ...],
    classifier: str,
    labels: Iterable[str],
    known: Mapping[str, ClassifierConfig],
    fail: Fail,
) -> None:
    """Return if a classifier is there and labels are asked of it."""
    if classifier not in known:
        near = difflib.get_close_matches(classifier, known, 1, 0.3)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        fail(path, f"there is no [classifiers.{classifier}]{hint}")
    if not list(labels):
        fail(path, "needs at least one label")


def check_guards(
    guards: Mapping[str, GuardConfig], known: Mapping[str, ClassifierConfig], fail: Fail
) -> None:
    """Return if each guard goes by a classifier or by triggers, and its keys go together."""
    for name, guard in guards.items():
        path = ("guards", name)
        by_triggers = bool(guard.triggers or guard.triggers_file or guard.invisible)
        if by_triggers == (guard.classifier is not None):
            fail(path, "needs a classifier, or triggers (triggers, triggers_file or invisible)")
        if guard.classifier is not None:
            check_labels(path, guard.classifier, guard.labels, known, fail)
            if guard.action in ("strip", "cross_check"):
                fail((*path, "action"), f"'{guard.action}' is for triggers: block or flag")
            if guard.scope == "all":
                fail((*path, "scope"), "'all' is for triggers: last or user")
        elif guard.labels:
            fail((*path, "labels"), "labels are a classifier's: name it, or leave them out")
        if guard.action == "cross_check" and not guard.second:
            fail((*path, "action"), "needs the ref of the model to ask: set second")
        if guard.action != "cross_check" and guard.second is not None:
            fail((*path, "second"), 'is only asked with action = "cross_check"')


def check_canaries(canaries: Mapping[str, CanaryConfig], fail: Fail) -> None:
    """Return if each canary's limits make sense."""
    for name, row in canaries.items():
        path = ("trust", "canary", name)
        for ref in (row.ref, row.base or ""):
            if ref.startswith("local:"):
                fail(path, f"'{ref}' is a model of this machine: pointsman trust probe {ref}")
        if row.every_s < MIN_CANARY_S:
            fail((*path, "every_s"), f"must be at least {MIN_CANARY_S:g}")
        least = MIN_CANARY_CALLS if row.base is None else 2 * MIN_CANARY_CALLS
        if row.max_calls < least:
            fail(
                (*path, "max_calls"),
                f"must be at least {least}" + (" with a base" if row.base else ""),
            )
        if row.max_seconds <= 0:
            fail((*path, "max_seconds"), "must be above 0")
        if row.max_cost_usd is not None and row.max_cost_usd <= 0:
            fail((*path, "max_cost_usd"), "must be above 0")
        if row.max_per_day < 1:
            fail((*path, "max_per_day"), "must be at least 1")


def check_local(local: LocalConfig, fail: Fail) -> None:
    """Return if the local models' limits make sense, and each has one place to come from."""
    for key in ("memory_bytes", "slots", "threads"):
        value = getattr(local, key)
        if value is not None and value < 1:
            fail(("local", key), "must be at least 1")
    if local.start_timeout_s <= 0:
        fail(("local", "start_timeout_s"), "must be above 0")
    for name, row in local.models.items():
        path = ("local", "models", name)
        if sum(each is not None for each in (row.path, row.ref, row.url)) != 1:
            fail(path, "needs exactly one of path, ref and url")
        for key in ("context", "slots"):
            value = getattr(row, key)
            if value is not None and value < 1:
                fail((*path, key), "must be at least 1")
        if row.url is not None:
            try:
                Origin.of(row.url)
            except ValueError as error:
                fail((*path, "url"), str(error))
