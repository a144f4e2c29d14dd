"""Holds a payload to a client's own types: every type right, and no field that they lack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel


def unknown_fields(value: Any, path: str = "$") -> Iterator[str]:
    """The paths of fields that the types do not know."""
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from unknown_fields(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from unknown_fields(each, f"{path}[{index}]")


def check(kind: type[BaseModel], payload: Any, but: tuple[str, ...] = ()) -> None:
    """Fail unless the payload is one of the kind, to the last field."""
    found = list(unknown_fields(kind.model_validate(payload)))
    assert [path for path in found if path.rpartition(".")[2] not in but] == []
