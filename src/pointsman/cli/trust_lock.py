"""`pointsman trust lock`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from pointsman.cli.output import config_option, echo_json, json_option, progress_bar
from pointsman.cli.trust_output import report_lines
from pointsman.cli.trust_parts import opinions_report, tools_of
from pointsman.cli.trust_target import find_subject
from pointsman.config import load_config
from pointsman.errors import TrustError
from pointsman.trust.findings import merge
from pointsman.trust.lock import LOCK_FILE, read_lock, with_model, write_lock
from pointsman.trust.subject import Subject
from pointsman.trust.verify import locked_model, scan_subject

__all__ = ["command"]


@click.command("lock")
@click.argument("targets", nargs=-1, required=True)
@click.option(
    "--lock",
    "lock_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=LOCK_FILE,
    show_default=True,
    help="The lock file; models that it has under other names stay.",
)
@click.option("--name", help="Name in the lock of a single TARGET; the default is its own.")
@click.option("--source", help="Where a single TARGET came from, such as hf:user/repo.")
@click.option("--commit", help="The exact commit of --source.")
@config_option
@json_option
def command(
    targets: tuple[str, ...],
    lock_file: Path,
    name: str | None,
    source: str | None,
    commit: str | None,
    config_path: str | None,
    as_json: bool,
) -> int:
    """Scan models, and write down what their files are: pin them by hash.

    TARGET is a file, a folder, or a model of this machine. Each file's SHA-256, the source and its
    commit, each chat template's hash and the scan's verdict go into the lock file. What has findings
    is locked with its verdict: a lock says what the files are, not that they are good.

    Exit codes: 0 nothing found in the scan's search space; 1 findings; 2 not all could be checked.
    """
    if len(targets) > 1 and (name or source or commit):
        raise click.UsageError("--name, --source and --commit are of a single TARGET")
    config = load_config(config_path)
    try:
        lock = read_lock(lock_file)
        reports, rows = [], []
        for target in targets:
            found = find_subject(target, config)
            subject = Subject(
                name or found.name, found.paths, source or found.source, commit or found.commit
            )
            with progress_bar(f"locking {subject.name}") as show:
                scanned = scan_subject(subject, None, show)
            opinions = opinions_report(scanned, subject.paths[0])
            report = merge([scanned.report, opinions]) if opinions else scanned.report
            model = locked_model(subject, scanned, report, tools_of(opinions), datetime.now(UTC))
            lock = with_model(lock, model)
            reports.append(report)
            rows += [
                {"path": each.path, "sha256": each.sha256, "status": "locked", "model": model.name}
                for each in model.files
            ]
        write_lock(lock_file, lock)
    except TrustError as error:
        raise click.ClickException(error.message) from error
    whole = merge(reports)
    if as_json:
        echo_json(
            {
                "status": whole.status,
                "lock": str(lock_file),
                "files": rows,
                "findings": whole.findings,
                "incomplete": whole.incomplete,
            }
        )
    else:
        for line in report_lines(whole, ", ".join(targets)):
            click.echo(line)
        click.echo(f"{lock_file}: {len(rows)} files of {len(targets)} locked")
    return whole.exit_code
