"""The examples of the fake provider's page and docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_pages_example():
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert (result.attempted > 5, result.failed) == (True, 0)


def test_the_example_of_example():
    # Not `pointsman.testing.example`: as an attribute that name is the function.
    result = doctest.testmod(importlib.import_module("pointsman.testing.example"))
    assert (result.attempted > 0, result.failed) == (True, 0)
