"""Asks a registry, Ollama's or another that speaks its protocol, for manifests and blobs.

Source: server/images.go, server/download.go and server/auth.go of ollama/ollama, v0.40; the token
challenge as in the Distribution specification (registry auth, token).
"""

from __future__ import annotations

import hashlib
import http.client
import re
import time
from urllib.parse import urlencode, urlsplit

import msgspec

from pointsman.errors import LocalError
from pointsman.local.ollama.manifest import ACCEPT, MAX_MANIFEST_BYTES
from pointsman.local.ollama.name import REGISTRY, OllamaName
from pointsman.local.wire import Fault, Refused, is_loopback, open_url

__all__ = ["Registry"]

TRIES = 3
BACK_OFF_S = 0.5
MAX_TOKEN_BYTES = 64 * 1024

_CHALLENGE = re.compile(r'(realm|service|scope)="([^"\\]{0,2000})"')
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


class Registry:
    """Asks one registry about one model; gets itself a token when it is told to."""

    def __init__(self, name: OllamaName) -> None:
        host = REGISTRY if name.public else name.host
        # Only on this machine may it be without TLS.
        scheme = "http" if is_loopback(f"http://{host}/") else "https"
        self.host = host
        self._base = f"{scheme}://{host}/v2/{name.namespace}/{name.model}"
        self._token: str | None = None

    def blob_url(self, sha256: str) -> str:
        """Where a blob is."""
        return f"{self._base}/blobs/sha256:{sha256}"

    def headers(self) -> dict[str, str]:
        """What is sent along, but not to where a redirect leads."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def manifest(self, tag: str) -> bytes:
        """Get a manifest by a tag or a digest.

        Raises:
            LocalError: the registry has none, will not give it, or cannot be reached.
        """
        url = f"{self._base}/manifests/{tag}"
        return self._get(url, MAX_MANIFEST_BYTES, {"Accept": ACCEPT})

    def blob(self, sha256: str, limit: int) -> bytes:
        """Get a small blob, its hash checked.

        Raises:
            LocalError: as `manifest`, or it is too large, or another.
        """
        data = self._get(self.blob_url(sha256), limit, {})
        if hashlib.sha256(data).hexdigest() != sha256:
            raise LocalError(f"{self.host} sent another blob than sha256 {sha256}")
        return data

    def authorize(self, refused: Refused) -> None:
        """Get a token for what was refused, as anybody may.

        Raises:
            LocalError: the registry does not say where, or gives none.
        """
        challenge = {name.lower(): value for name, value in refused.headers.items()}
        said = challenge.get("www-authenticate", "")
        fields = dict(_CHALLENGE.findall(said[:8000]))
        realm = fields.get("realm", "")
        if not said.lower().startswith("bearer ") or not realm:
            raise LocalError(f"{self.host} wants credentials; only public models can be pulled")
        # A registry elsewhere must not have us ask this machine.
        elsewhere = not is_loopback(f"http://{self.host}/")
        if elsewhere and (urlsplit(realm).scheme != "https" or is_loopback(realm)):
            raise LocalError(f"{self.host} sends for a token to {realm[:200]}: only https")
        query = [("service", fields["service"])] if "service" in fields else []
        query += [("scope", each) for each in fields.get("scope", "").split()]
        try:
            data = _fetch(
                f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", MAX_TOKEN_BYTES, {}
            )
        except Refused as error:
            raise LocalError(
                f"{self.host} gives no token to just anybody ({error.http_status}): the model is not"
                " public, or wants a signed-in Ollama"
            ) from error
        self._token = _token_of(data, self.host)

    def _get(self, url: str, limit: int, headers: dict[str, str]) -> bytes:
        try:
            return _fetch(url, limit, {**headers, **self.headers()})
        except Refused as error:
            if error.http_status != 401:
                raise
            self.authorize(error)
        return _fetch(url, limit, {**headers, **self.headers()})


def _token_of(data: bytes, host: str) -> str:
    try:
        answer = msgspec.json.decode(data, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        answer = {}
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise LocalError(f"{host} gives no token to just anybody")
    return token


def _fetch(url: str, limit: int, headers: dict[str, str]) -> bytes:
    """Get a small body; what may go right next time is tried again."""
    for number in range(TRIES):
        if number:
            time.sleep(BACK_OFF_S * 2 ** (number - 1))
        try:
            with open_url(url, headers).body as body:
                data = body.read(limit + 1)
            if len(data) > limit:
                raise LocalError(f"{urlsplit(url).hostname} sends more than {limit} bytes")
            return data
        except Fault as error:
            why = str(error)
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
    raise LocalError(
        f"{urlsplit(url).hostname} does not answer: {why} ({TRIES} tries); check the network"
    )
