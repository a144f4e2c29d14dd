"""How far a pull is, as it is told to whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

__all__ = ["Progress", "Step"]


class Step(Struct, frozen=True):
    """What is being done: "pulling manifest", "waiting", "downloading", "verifying" or "writing manifest".

    "downloading by pip or uv" comes with a `note`, which is for the user to read.
    `file` and `done_bytes` are of the file that is worked on; `total_bytes` is None where the
    source does not say. `sha256` is what the file must have, where that is known.
    """

    status: str
    file: str | None = None
    sha256: str | None = None
    done_bytes: int = 0
    total_bytes: int | None = None
    note: str | None = None


Progress = Callable[[Step], None]
