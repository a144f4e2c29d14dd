"""`pointsman trust verify`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import click
import msgspec

from pointsman import __version__
from pointsman.cli.output import config_option, echo_json, json_option, progress_bar
from pointsman.cli.trust_output import report_lines, write_json_file
from pointsman.cli.trust_parts import behaviour_report, opinions_report, rows_report, tools_of
from pointsman.cli.trust_target import find_subject, ref_of
from pointsman.config import Config, load_config
from pointsman.errors import TrustError
from pointsman.local.admission import lock_place, state_of
from pointsman.local.host import store_of
from pointsman.local.verification import keep_verdict
from pointsman.trust.findings import Report, make_report, merge
from pointsman.trust.lock import LOCK_FILE, read_lock
from pointsman.trust.policy import Policy, load_policy
from pointsman.trust.signing import Signer
from pointsman.trust.subject import Subject
from pointsman.trust.verify import Part, Verified, scan_subject, verify

__all__ = ["command"]

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_new_file = click.Path(dir_okay=False, path_type=Path)


@click.command("verify")
@click.argument("target")
@click.option(
    "--policy", "policy_file", type=_file, help="The policy; else trust.policy's, else ours."
)
@click.option(
    "--lock",
    "lock_file",
    type=_new_file,
    help="The lock file; else pointsman.lock here, and for a local model the one that the gate uses.",
)
@click.option("--name", help="Name in the lock; the default is the target's own.")
@click.option(
    "--base", type=click.Path(exists=True, path_type=Path), help="The base model's files."
)
@click.option("--signature", type=_new_file, help="Its signature; else model.sig beside it.")
@click.option("--public-key", type=_file, help="The key that it must be signed with.")
@click.option("--identity", help="Who must have signed it keyless.")
@click.option("--issuer", help="Who vouches for --identity.")
@click.option("--data", type=_file, help="Its training set, to be looked at too.")
@click.option("--probe/--no-probe", default=None, help="Look at its behaviour; else by the policy.")
@click.option("--base-ref", help="Ref of the base model, for --probe.")
@click.option("--sarif", type=_new_file, help="Write the findings as SARIF 2.1.0 to this file.")
@click.option("--bom", type=_new_file, help="Write a CycloneDX ML-BOM to this file.")
@config_option
@json_option
def command(
    target: str,
    policy_file: Path | None,
    lock_file: Path | None,
    name: str | None,
    base: Path | None,
    signature: Path | None,
    public_key: Path | None,
    identity: str | None,
    issuer: str | None,
    data: Path | None,
    probe: bool | None,
    base_ref: str | None,
    sarif: Path | None,
    bom: Path | None,
    config_path: str | None,
    as_json: bool,
) -> int:
    """Say whether a model may be used: all checks that apply, by a policy.

    TARGET is a file, a folder, or a model of this machine. Its files are scanned and held against the
    lock, if it has an entry there, and against its signature, if one is asked for; its training rows
    are looked at with --data, its behaviour with --probe.

    Exit codes: 0 nothing found in the search space; 1 findings; 2 could not check. Findings win over
    what could not be checked, and neither is a pass.
    """
    config = load_config(config_path)
    try:
        policy = load_policy(policy_file or _configured(config))
        found = find_subject(target, config)
        subject = Subject(name or found.name, found.paths, found.source, found.commit)
        signer = Signer(public_key, identity, issuer) if public_key or identity or issuer else None
        others = _others(found, policy, config, data, probe, base_ref)
        with progress_bar("verifying") as show:
            done = verify(
                subject, policy,
                locked=read_lock(_lock_of(lock_file, found, config)).find(subject.name), signature=signature, signer=signer,
                base=base, others=others, progress=show,
            )  # fmt: skip
        done = _with_opinions(done, subject, policy)
        _keep(done, found, config)
        _write_files(done, subject, sarif, bom)
    except TrustError as error:
        raise click.ClickException(error.message) from error
    if as_json:
        _print_json(done)
    else:
        _print(done, target)
    return done.report.exit_code


def _configured(config: Config) -> Path | None:
    return Path(config.trust.policy).expanduser() if config.trust.policy else None


def _lock_of(given: Path | None, subject: Subject, config: Config) -> Path:
    here = given or Path(LOCK_FILE)
    if given is None and not here.exists() and subject.name.startswith("local:"):
        return lock_place(config)
    return here


def _others(
    subject: Subject,
    policy: Policy,
    config: Config,
    data: Path | None,
    probe: bool | None,
    base_ref: str | None,
) -> dict[Part, Report]:
    others: dict[Part, Report] = {}
    if data is not None:
        others["rows"] = rows_report(data)
    if probe or (probe is None and policy.probe.require):
        # What a model that is not safe to load would do is known without loading it.
        first = scan_subject(subject, None, None, hashes=False).report
        if policy.apply(first)[0].status == "clean":
            others["probe"] = behaviour_report(ref_of(subject, config), base_ref, policy, config)
    return others


def _with_opinions(done: Verified, subject: Subject, policy: Policy) -> Verified:
    """Add what other scanners say of files with pickles, where there are some."""
    theirs = opinions_report(done.scanned, subject.paths[0])
    if theirs is None:
        return done
    whole = merge([done.report, Report(theirs.status, theirs.findings, theirs.incomplete)])
    report, accepted = policy.apply(whole)
    return msgspec.structs.replace(done, report=report, accepted=(*done.accepted, *accepted))


def _keep(done: Verified, subject: Subject, config: Config) -> None:
    """Write a local model's verdict down for the gate, accepted findings too: a policy may change."""
    if not subject.name.startswith("local:"):
        return
    store = store_of(config)
    report = done.report
    raw = make_report([*report.findings, *done.accepted], report.incomplete)
    model = store.get(subject.name.removeprefix("local:"))
    keep_verdict(model, store, raw, state_of(config), tools_of(None))


def _write_files(done: Verified, subject: Subject, sarif: Path | None, bom: Path | None) -> None:
    if sarif is not None:
        from pointsman.trust.sarif import sarif_log

        write_json_file(sarif, sarif_log(done.report, __version__))
    if bom is not None:
        from pointsman.trust.bom import ml_bom

        write_json_file(
            bom,
            ml_bom(
                subject.name, done.scanned.files, done.scanned.templates, done.report,
                version=__version__, now=datetime.now(UTC), serial=uuid4(),
            ),
        )  # fmt: skip


def _print_json(done: Verified) -> None:
    report = done.report
    echo_json(
        {
            "status": report.status,
            "files": done.files,
            "findings": report.findings,
            "incomplete": report.incomplete,
            "accepted": done.accepted,
            "parts": done.parts,
        }
    )


def _print(done: Verified, target: str) -> None:
    for part, said in done.parts.items():
        click.echo(f"{part.ljust(11)} {said}")
    for each in done.accepted:
        click.echo(f"accepted    {each.rule}: {each.path} (by the policy)")
    click.echo()
    for line in report_lines(done.report, target):
        click.echo(line)
