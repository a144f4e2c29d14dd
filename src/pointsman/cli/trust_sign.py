"""`pointsman trust sign`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pointsman.cli.output import config_option, echo_json, json_option, progress_bar
from pointsman.cli.trust_target import find_subject
from pointsman.config import load_config
from pointsman.errors import TrustError
from pointsman.trust.scan import scan_path
from pointsman.trust.signing import SIGNATURE_FILE, Signer, check_signature, sign_model

__all__ = ["command", "signature_place"]

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("sign")
@click.argument("target")
@click.option("--key", type=_file, help="Private key, PEM, elliptic curve: sign offline.")
@click.option(
    "--password-env", help="Environment variable with the password of --key, if it has one."
)
@click.option("--keyless", is_flag=True, help="Sign through Sigstore, as who you prove to be.")
@click.option(
    "--token-env",
    help="Environment variable with the OpenID token for --keyless; else a browser is opened.",
)
@click.option("--check", is_flag=True, help="Check the signature that is there, and sign nothing.")
@click.option(
    "--public-key", type=_file, help="With --check: the public key it must be signed with."
)
@click.option("--identity", help="With --check: who must have signed it keyless.")
@click.option("--issuer", help="With --check: who vouches for --identity.")
@click.option(
    "--signature",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The signature's file; the default is model.sig, in the folder or beside the file.",
)
@config_option
@json_option
def command(
    target: str,
    key: Path | None,
    password_env: str | None,
    keyless: bool,
    token_env: str | None,
    check: bool,
    public_key: Path | None,
    identity: str | None,
    issuer: str | None,
    signature: Path | None,
    config_path: str | None,
    as_json: bool,
) -> int:
    """Sign a model's files, or check their signature (OpenSSF model signing; needs the extra 'sign').

    TARGET is a file, a folder, or a model of this machine whose files lie in one folder. A keyless
    signature names you in Sigstore's public log, for ever.

    Exit codes: 0 signed, or the signature holds; 1 it does not; 2 it could not be done.
    """
    if check == bool(key or keyless):
        raise click.UsageError("say one of --key, --keyless and --check")
    config = load_config(config_path)
    subject = find_subject(target, config)
    if len(subject.paths) != 1:
        raise click.ClickException(f"{target} has its files in several places: sign one of them")
    path = subject.paths[0]
    place = signature or signature_place(path)
    status, code = "signed", 0
    try:
        if check:
            signer = Signer(public_key, identity, issuer)
            if not place.is_file():
                raise click.ClickException(f"there is no signature at {place}")
            try:
                check_signature(path, place, signer)
                status = "ok"
            except TrustError as error:
                click.echo(error.message, err=True)
                status, code = "changed", 1
        else:
            password = os.environ.get(password_env) if password_env else None
            token = os.environ.get(token_env) if token_env else None
            sign_model(path, place, private_key=key, password=password, identity_token=token)
        with progress_bar("hashing") as show:
            files = scan_path(path, hashes=True, progress=show).files
    except TrustError as error:
        raise click.ClickException(error.message) from error
    rows = [
        {"path": each.name, "sha256": each.sha256, "status": status}
        for each in files
        if Path(each.name).name != SIGNATURE_FILE
    ]
    if as_json:
        echo_json({"status": status, "signature": str(place), "files": rows})
    elif status != "changed":
        said = "signed" if status == "signed" else f"as {signer} signed them"
        click.echo(f"{target}: {len(rows)} files {said} ({place})")
    return code


def signature_place(path: Path) -> Path:
    """Where a model's signature lies unless somebody says."""
    return path / SIGNATURE_FILE if path.is_dir() else path.with_name(SIGNATURE_FILE)
