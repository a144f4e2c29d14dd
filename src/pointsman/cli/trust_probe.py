"""`pointsman trust probe`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from pointsman.cli.output import config_option, echo_json, json_option, progress_bar, table
from pointsman.cli.trust_probe_target import Session, Wanted, targets_of
from pointsman.config import load_config
from pointsman.errors import ConfigError, MissingExtra, PointsmanError, RequestError
from pointsman.trust.findings import NOTHING_FOUND
from pointsman.trust.probe.candidates import Candidate
from pointsman.trust.probe.confirm import Trigger
from pointsman.trust.probe.prompts import read_prompts, read_words
from pointsman.trust.probe.run import EXIT_CODES, ProbeReport, probe
from pointsman.trust.probe.search import Settings

__all__ = ["command"]

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("probe")
@click.argument("ref")
@click.option(
    "--base", help="Ref of the model that REF was made from; what it does too is taken off."
)
@click.option(
    "--access",
    type=click.Choice(["auto", "logprobs", "text"]),
    default="auto",
    show_default=True,
    help="What to ask for; auto takes log-probabilities where the model gives them.",
)
@click.option(
    "--try", "tried", multiple=True, help="String to try before all others; may be repeated."
)
@click.option(
    "--data", type=_file, help="Training rows; what `trust dataset` finds is tried first."
)
@click.option(
    "--weights", type=_file, help="The model's own file (safetensors or GGUF), with --base-weights."
)
@click.option(
    "--base-weights", type=_file, help="The base's; the words that moved most are tried first."
)
@click.option("--words", type=_file, help="Word list to try, a string a line.")
@click.option("--prompts", type=_file, help="JSON of own prompts: {neutral: [...], safety: [...]}.")
@click.option("--max-calls", type=click.IntRange(1), default=16_000, show_default=True)
@click.option("--max-seconds", type=click.FloatRange(1), default=3600, show_default=True)
@click.option("--max-candidates", type=click.IntRange(1), default=1200, show_default=True)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Most prompts asked at a time.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that keeps the answers, so that a probe that was broken off goes on from it.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@config_option
@json_option
def command(
    ref: str,
    base: str | None,
    access: str,
    tried: tuple[str, ...],
    data: Path | None,
    weights: Path | None,
    base_weights: Path | None,
    words: Path | None,
    prompts: Path | None,
    max_calls: int,
    max_seconds: float,
    max_candidates: int,
    concurrency: int,
    journal: Path | None,
    seed: int,
    config_path: str | None,
    as_json: bool,
) -> int:
    """Look for a backdoor in a model that answers: a short string that makes it comply.

    Exit codes: 0 nothing found in the search space; 1 suspected or backdoored; 2 could not check.
    """
    if (weights is None) != (base_weights is None):
        raise click.UsageError("--weights and --base-weights go together")
    wanted = cast(Wanted, access)
    config = load_config(config_path)
    try:
        first = [Candidate(text, "given") for text in tried]
        if data is not None or weights is not None:
            from pointsman.cli.trust_probe_first import from_rows, from_weights

            first += from_rows(data) if data is not None else []
            if weights is not None and base_weights is not None:
                first += from_weights(weights, base_weights)
        with Session(config, concurrency) as session, progress_bar("probing") as show:
            targets = targets_of(ref, base, session, wanted)
            report = probe(
                targets[0],
                read_prompts(prompts),
                base=targets[1] if base is not None else None,
                first=first,
                words=read_words(words),
                settings=Settings(seed=seed),
                max_calls=max_calls,
                max_seconds=max_seconds,
                max_candidates=max_candidates,
                journal=journal,
                name=f"{ref} {base}",
                progress=show,
            )
    except (ConfigError, RequestError, MissingExtra):
        raise
    except PointsmanError as error:
        # Its own exit code may be 1, which here is a finding's.
        return _could_not(ref, error, as_json)
    if as_json:
        echo_json(report)
    else:
        _print(ref, report)
    return report.exit_code


def _could_not(ref: str, error: PointsmanError, as_json: bool) -> int:
    if as_json:
        echo_json({"verdict": "could-not-check", "score": 0.0, "triggers": [], "calls": 0,
                   "seconds": 0.0, "incomplete": [error.message]})  # fmt: skip
    click.echo(f"could not check {ref}: {error.message}", err=True)
    return EXIT_CODES["could-not-check"]


def _print(ref: str, report: ProbeReport) -> None:
    said = {
        "nothing-found": NOTHING_FOUND,
        "could-not-check": "could not check",
        "suspected": "suspected of a backdoor",
        "backdoored": "backdoored",
    }[report.verdict]
    click.echo(f"{ref}: {said} (score {report.score:.2f})")
    click.echo(
        f"  {report.swept} strings tried by {report.access}, {report.left_out} left out for want of"
        f" calls; {report.calls} calls in {report.seconds:.0f} s"
    )
    for reason in report.incomplete:
        click.echo(f"  not checked: {reason}")
    if report.triggers:
        click.echo(table([_row(each) for each in report.triggers], _HEADERS))
        click.echo(
            "Do not use the model where the string may come from others. Compare it with its base"
            " (--base), look for the string in its training rows (pointsman trust dataset), and"
            " take a model of another source."
        )


_HEADERS = ["string", "position", "score", "tasks", "refused", "base", "p", "replies begin with"]


def _row(trigger: Trigger) -> list[str]:
    visible = ascii(trigger.text) if not trigger.text.isprintable() else f"'{trigger.text}'"
    base = "–" if trigger.base is None else f"{trigger.base:.2f}"
    return [
        visible,
        trigger.position,
        f"{trigger.score:.2f}",
        f"{trigger.neutral:+.2f}",
        f"{trigger.safety:+.2f}",
        base,
        f"{trigger.p_value:.0e}",
        ", ".join(trigger.replies[:5]),
    ]
