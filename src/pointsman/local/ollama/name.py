"""The names of Ollama's models: `[host/][namespace/]model[:tag]`.

Source: types/model/name.go and manifest/paths.go of ollama/ollama, v0.40.
"""

from __future__ import annotations

import re

from msgspec import Struct

from pointsman.errors import RequestError

__all__ = ["PUBLIC_HOSTS", "OllamaName", "parse_name"]

REGISTRY, NAMESPACE, TAG = "registry.ollama.ai", "library", "latest"
# One registry: the older name, and the one that the newer layout of the store uses.
PUBLIC_HOSTS = (REGISTRY, "ollama.com")

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,349}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-.]{0,79}")


class OllamaName(Struct, frozen=True):
    """A model's name in full."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def public(self) -> bool:
        """Whether it is of Ollama's own registry."""
        return self.host.lower() in PUBLIC_HOSTS

    @property
    def shown(self) -> str:
        """The name as Ollama lists it: what is usual is left out, but never the tag."""
        if not self.public:
            return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"
        if self.namespace.lower() != NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"

    @property
    def local(self) -> str:
        """The name that it gets here: as `shown`, with the colon before a port made a dash."""
        head, _, tag = self.shown.rpartition(":")
        return f"{head.replace(':', '-')}:{tag}"


def parse_name(text: str) -> OllamaName:
    """Read a name, what is left out filled in: `registry.ollama.ai`, `library`, `latest`.

    Raises:
        RequestError: it is none.
    """
    head, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:  # The colon is of a port.
        head, tag = text, TAG
    parts = head.split("/")
    parts = [*(REGISTRY, NAMESPACE)[: max(0, 3 - len(parts))], *parts]
    good = len(parts) == 3 and _HOST.fullmatch(parts[0]) and ".." not in text
    if not good or not all(map(_PART.fullmatch, (*parts[1:], tag))):
        raise RequestError(
            f"'{text[:200]}' is no name of an Ollama model: [host/][namespace/]model[:tag]"
        )
    return OllamaName(parts[0], parts[1], parts[2], tag)
