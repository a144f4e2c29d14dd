"""Where a connection goes, as the transport and its callers name it."""

from __future__ import annotations

from typing import Literal, NamedTuple
from urllib.parse import urlsplit

__all__ = ["Origin"]


class Origin(NamedTuple):
    """Where a connection goes. `address` is the IP to connect to, where it was already looked up."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    address: str | None = None

    @classmethod
    def of(cls, url: str) -> tuple[Origin, str]:
        """Split an absolute URL into its origin and its path without a trailing slash.

        Raises:
            ValueError: no http(s) URL, or one with user name, query or fragment.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"no http or https URL: {url!r}")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("a base URL holds no user name, query or fragment")
        scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
        port = parts.port or (443 if scheme == "https" else 80)
        return cls(scheme, parts.hostname, port), parts.path.rstrip("/")
