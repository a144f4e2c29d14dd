"""Signatures of models in Sigstore's form (OpenSSF model signing), by offline keys or keyless.

Source: model-signing 1.1 (docs/model_signing_format.md): a Sigstore bundle with an in-toto statement of
every file's SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from pointsman.errors import MissingExtra, TrustError

__all__ = ["SIGNATURE_FILE", "Signer", "check_signature", "is_available", "sign_model"]

SIGNATURE_FILE = "model.sig"
MAX_SIGNATURE_BYTES = 64 * 1024 * 1024

T = TypeVar("T")


class Signer:
    """Who signed: the holder of a key, or an identity (an e-mail, a workflow) that an issuer vouches for.

    Raises:
        TrustError: it is neither, or both.
    """

    def __init__(
        self, public_key: Path | None = None, identity: str | None = None, issuer: str | None = None
    ) -> None:
        if (public_key is None) == (identity is None) or (identity is None) != (issuer is None):
            raise TrustError("say whose signature it must be: a public key, or identity and issuer")
        self.public_key = public_key
        self.identity = identity
        self.issuer = issuer

    def __str__(self) -> str:
        """Name it."""
        return (
            f"the key {self.public_key}" if self.public_key else f"{self.identity} ({self.issuer})"
        )


def is_available() -> bool:
    """Whether what signs is installed; model-signing 1.1 needs pyOpenSSL, and does not say so."""
    return find_spec("model_signing") is not None and find_spec("OpenSSL") is not None


def sign_model(
    path: Path,
    signature: Path,
    *,
    private_key: Path | None = None,
    password: str | None = None,
    identity_token: str | None = None,
) -> None:
    """Sign a file, or a folder with all in it but the signature itself and Git's own files.

    With `private_key` (PEM, elliptic curve) nothing leaves the machine. Without one it is signed
    keyless: the identity comes from `identity_token` or a browser, and is public for ever in
    Sigstore's log.

    Raises:
        MissingExtra: model-signing is not installed.
        TrustError: there is nothing to sign, the key is none, or the signature cannot be made or written.
    """
    _needed()
    from model_signing import hashing, signing

    config = signing.Config()
    if private_key is not None:
        key = private_key
        config = _told(
            f"{key} cannot be used as a key",
            lambda: config.use_elliptic_key_signer(private_key=key, password=password),
        )
    else:
        config = config.use_sigstore_signer(identity_token=identity_token)
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=_ignored(path, signature)))
    _told(f"{path} could not be signed", lambda: config.sign(path, signature))


def check_signature(path: Path, signature: Path, signer: Signer) -> None:
    """Hold a model against its signature: every file as signed, none added, by that signer.

    Raises:
        MissingExtra: model-signing is not installed.
        TrustError: there is no signature, it is not that signer's, or a file is not as it was signed.
    """
    _needed()
    from model_signing import hashing, verifying

    try:
        size = signature.stat().st_size
    except OSError as error:
        raise TrustError(f"there is no signature at {signature}") from error
    if size > MAX_SIGNATURE_BYTES:
        raise TrustError(f"{signature} is over {MAX_SIGNATURE_BYTES} bytes: that is no signature")
    config = verifying.Config()
    if signer.public_key is not None:
        key = signer.public_key
        config = _told(
            f"{key} cannot be used as a public key",
            lambda: config.use_elliptic_key_verifier(public_key=key),
        )
    else:
        config = config.use_sigstore_verifier(identity=signer.identity, oidc_issuer=signer.issuer)
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=_ignored(path, signature)))
    _told(
        f"{path} is not what {signer} signed in {signature}", lambda: config.verify(path, signature)
    )


def _ignored(path: Path, signature: Path) -> Sequence[Path]:
    # The library takes paths relative to the model; a signature that lies elsewhere is not of it.
    root, own = path.resolve(), signature.resolve()
    return [own.relative_to(root)] if root.is_dir() and own.is_relative_to(root) else []


def _needed() -> None:
    if not is_available():
        raise MissingExtra("a model's signature", "sign")


def _told(what: str, work: Callable[[], T]) -> T:
    """Do a step of the library; whatever it raises on hostile or wrong input is one error of ours."""
    try:
        return work()
    except Exception as error:
        why = str(error).strip().splitlines()
        raise TrustError(f"{what}: {why[0] if why else type(error).__name__}") from error
