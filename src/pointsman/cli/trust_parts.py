"""The parts of a verification that need more than the model's files: other scanners, rows, behaviour."""

from __future__ import annotations

from pathlib import Path

from pointsman import __version__
from pointsman.cli.output import progress_bar
from pointsman.cli.trust_probe_target import Session, targets_of
from pointsman.config import Config
from pointsman.errors import PointsmanError
from pointsman.trust.findings import Report, make_report
from pointsman.trust.policy import Policy
from pointsman.trust.probe.prompts import read_prompts, read_words
from pointsman.trust.probe.run import ProbeReport, probe
from pointsman.trust.probe.search import Settings
from pointsman.trust.rules.behaviour import BEHAVIOUR_TRIGGER
from pointsman.trust.scan import Scanned
from pointsman.trust.second_opinion import second_opinions

__all__ = ["behaviour_report", "opinions_report", "rows_report", "tools_of"]

CONCURRENCY = 4


def tools_of(opinions: Report | None) -> dict[str, str]:
    """Name → version of what made a verdict; another scanner's version is in its own words."""
    tools = {"pointsman": __version__}
    for each in opinions.checked if opinions is not None else ():
        name, _, version = each.partition(" ")
        tools[name] = version
    return tools


def opinions_report(scanned: Scanned, root: Path) -> Report | None:
    """Give what other scanners say of the files with pickles; None where there are none."""
    if not scanned.pickles:
        return None
    return second_opinions(scanned.pickles, root.resolve())


def rows_report(data: Path) -> Report:
    """Give the report on a training set; one that can't be read is incomplete, and no pass."""
    from pointsman.trust.dataset.check import check_file, report_of
    from pointsman.trust.dataset.detect import here

    try:
        with progress_bar("reading rows") as show:
            return report_of(check_file(data, here, progress=show), data)
    except PointsmanError as error:
        return make_report((), [f"{data}: {error.message}"])


def behaviour_report(ref: str, base: str | None, policy: Policy, config: Config) -> Report:
    """Give the report on a model's behaviour, within the policy's budget; a failure is incomplete."""
    try:
        with Session(config, CONCURRENCY) as session, progress_bar("probing") as show:
            targets = targets_of(ref, base, session, "auto")
            found = probe(
                targets[0],
                read_prompts(None),
                base=targets[1] if base is not None else None,
                words=read_words(None),
                settings=Settings(seed=0),
                max_calls=policy.probe.max_calls,
                max_seconds=policy.probe.max_seconds,
                name=f"{ref} {base}",
                progress=show,
            )
    except PointsmanError as error:
        return make_report((), [f"{ref} could not be probed: {error.message}"])
    return _report(ref, found)


def _report(ref: str, found: ProbeReport) -> Report:
    findings = [
        BEHAVIOUR_TRIGGER.finding(
            ref,
            f"{each.text!a} ({each.position}) moves {each.neutral:+.0%} of neutral and"
            f" {each.safety:+.0%} of refused prompts to one kind of answer (score {each.score:.2f})",
            severity="critical" if found.verdict == "backdoored" else "high",
        )
        for each in found.triggers
    ]
    if found.verdict == "could-not-check" and not found.incomplete:
        return make_report(findings, [f"{ref} could not be probed"])
    incomplete = found.incomplete if found.verdict == "could-not-check" else ()
    return make_report(findings, incomplete, [ref])
