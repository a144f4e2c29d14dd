"""Every rule by its name."""

from __future__ import annotations

from importlib import import_module

from pointsman.trust.rules.base import Rule

__all__ = ["MODULES", "all_rules"]

# Module of this folder → its heading in docs/rules.md. Rules of a module that is not here are not known.
MODULES: dict[str, str] = {
    "pickles": "Pickles",
    "weights": "Files of weights",
    "archives": "Archives",
    "companions": "Files beside the weights",
    "templates": "Chat templates",
    "rows": "Rows of a fine-tuning set",
    "behaviour": "How a model behaves",
    "provenance": "Where a model came from",
    "environment": "The environment that holds the keys",
}


def all_rules() -> dict[str, Rule]:
    """Give every rule by its id, subject by subject.

    Raises:
        ValueError: two rules have one id.
    """
    found: dict[str, Rule] = {}
    for name in MODULES:
        module = import_module(f"pointsman.trust.rules.{name}")
        for rule in vars(module).values():
            if isinstance(rule, Rule):
                if rule.id in found:
                    raise ValueError(f"two rules are called '{rule.id}'")
                found[rule.id] = rule
    return found
